//! The commands of the binary, each in a few steps.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use kaneda::cli::{self, Cli, Command, Journal};
use kaneda::config::{Config, Environment};
use kaneda::daemon;
use kaneda::logging;
use kaneda::protocol::Limits;

/// It failed, or a line was refused.
const FAILED: u8 = 1;
/// Wrong usage, or mistakes in the configuration; clap ends with the same.
const USAGE: u8 = 2;

/// How much longer than `sync_timeout` the daemon may take with letters: for receiving and answering.
const REPLAY_PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let done = match Cli::of_process() {
        Command::Run(file) => run(&file),
        Command::Check(args) => check(&args),
        Command::Send(args) => send(&args),
        Command::Replay(args) => replay(&args),
        Command::Parse(args) => parse(&args),
        Command::Journal(what) => journal(&what),
        Command::Import(args) => import(&args),
        Command::Health(args) => health(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has seen enough, as `head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kaneda: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(file: &cli::File) -> anyhow::Result<u8> {
    // Before there is a second thread.
    let passed = daemon::passed()?;
    let Some(config) = load(file) else { return Ok(USAGE) };
    if let Err(mistake) = logging::start(&config.logging) {
        eprintln!("kaneda: {mistake}");
        return Ok(USAGE);
    }
    daemon::run(&config, daemon::Inherited::assign(passed, &config)?)?;
    Ok(0)
}

fn check(args: &cli::Check) -> anyhow::Result<u8> {
    let passed = daemon::passed()?;
    let Some(config) = load(&args.file) else { return Ok(USAGE) };
    let mut out = io::stdout().lock();
    // What takes no I/O to find out; the rest is for --connect, and for the start.
    if let Err(mistakes) = daemon::check(&config) {
        eprintln!("{mistakes}");
        return Ok(USAGE);
    }
    let inherited = daemon::Inherited::assign(passed, &config)?;
    cli::check::describe(&config, &inherited, &mut out)?;
    if !args.connect {
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sinks = config.sinks.iter().map(|sink| cli::check::Tried {
        name: &sink.name,
        sink: daemon::build(sink),
        letters: sink.drain.letters(&sink.name),
    });
    let journal = config.journal.enabled.then_some(config.journal.path.as_path());
    let all = runtime.block_on(cli::check::connect(journal, sinks, &mut out))?;
    // A file system that does not answer must not keep it.
    runtime.shutdown_background();
    Ok(if all { 0 } else { FAILED })
}

fn send(args: &cli::Send) -> anyhow::Result<u8> {
    let lines = match args.lines.as_slice() {
        [one] if one == "-" => cli::send::read(io::stdin().lock()).context("standard input")?,
        lines => lines.iter().map(|line| line.clone().into_bytes()).collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(cli::send::run(&args.to, &lines, Duration::from_secs(args.timeout))) {
        Ok(report) => {
            println!("{report}");
            Ok(if report.is_good() { 0 } else { FAILED })
        }
        Err(error) => {
            eprintln!("kaneda: {}: {error}", args.to);
            Ok(FAILED)
        }
    }
}

fn replay(args: &cli::Replay) -> anyhow::Result<u8> {
    let Some(config) = load(&args.file) else { return Ok(USAGE) };
    let daemon = cli::replay::Daemon {
        authority: cli::health::reachable(config.admin.listen).to_string(),
        token: config.admin.token()?.map(|token| token.to_string()),
        max_body: daemon::replay_body(&config),
        timeout: config.general.sync_timeout.get() + REPLAY_PATIENCE,
        all: args.all,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    let all = runtime.block_on(cli::replay::run(&daemon, &args.letters, &mut out))?;
    Ok(if all { 0 } else { FAILED })
}

fn parse(args: &cli::Parse) -> anyhow::Result<u8> {
    let limits = match &args.config {
        Some(_) => match load(&cli::File { config: args.config.clone() }) {
            Some(config) => config.limits.protocol,
            None => return Ok(USAGE),
        },
        None => Limits::default(),
    };
    let input: Box<dyn Read> = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) if file.is_dir() => {
            eprintln!("kaneda: {}: a folder, not a file of lines", file.display());
            return Ok(USAGE);
        }
        Some(file) => match File::open(file) {
            Ok(input) => Box::new(input),
            Err(error) => {
                eprintln!("kaneda: {}: {error}", file.display());
                return Ok(USAGE);
            }
        },
        None => Box::new(io::stdin().lock()),
    };
    let (out, err) = (io::BufWriter::new(io::stdout().lock()), io::stderr().lock());
    let refused = cli::parse::run(args.dialect.into(), limits, BufReader::new(input), out, err)?;
    Ok(if refused { FAILED } else { 0 })
}

fn journal(what: &Journal) -> anyhow::Result<u8> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut is_good = true;
    let done = match what {
        Journal::Ls(folder) => cli::journal::ls(&folder.path, &mut out),
        Journal::Cat(folder) => cli::journal::cat(&folder.path, &mut out),
        Journal::Verify(folder) => cli::journal::verify(&folder.path, &mut out).map(|good| is_good = good),
        Journal::Forget { is_source: false, name, folder } => {
            cli::journal::forget(name, &folder.path, &mut out)
        }
        Journal::Forget { is_source: true, name, folder } => {
            cli::journal::forget_source(name, &folder.path, &mut out)
        }
    };
    out.flush()?;
    match done {
        // As everywhere: whoever read the output has seen enough.
        Err(cli::journal::Error::Io(error)) => Err(error.into()),
        done => done.map(|()| if is_good { 0 } else { FAILED }).map_err(Into::into),
    }
}

fn import(args: &cli::Import) -> anyhow::Result<u8> {
    let file = args.file.display().to_string();
    let bytes = match std::fs::read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("kaneda: {file}: {error}");
            return Ok(USAGE);
        }
    };
    match cli::import::text(bytes) {
        Ok(text) => {
            let environment = Environment::of_process();
            let all = cli::import::run(&file, &text, &environment, io::stdout().lock(), io::stderr().lock())?;
            Ok(if all { 0 } else { FAILED })
        }
        Err(line) => {
            eprintln!(
                "kaneda: {file}:{line}: this line is not UTF-8: save the file as UTF-8, and import it again"
            );
            Ok(USAGE)
        }
    }
}

fn health(args: &cli::Health) -> anyhow::Result<u8> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => {
            let Some(config) = load(&args.file) else { return Ok(USAGE) };
            cli::health::url(config.admin.listen)
        }
    };
    print!("{}", cli::health::run(&url).map_err(anyhow::Error::msg)?);
    Ok(0)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    cli::completions(shell, &mut script);
    io::stdout().write_all(&script)?;
    Ok(0)
}

fn man(command: Option<&str>) -> anyhow::Result<u8> {
    match cli::man(command, &mut io::stdout().lock()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("kaneda: {error}");
            Ok(USAGE)
        }
        written => written.map(|()| 0).map_err(Into::into),
    }
}

/// None: there were mistakes, and they have been told.
fn load(file: &cli::File) -> Option<Config> {
    match Config::load(file.config.as_deref(), &Environment::of_process()) {
        Ok(config) => Some(config),
        Err(mistakes) => {
            eprintln!("{}", daemon::complete(mistakes));
            None
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
