//! The commands, what they take, and the help that teaches them.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub mod check;
pub mod health;
pub mod import;
pub mod journal;
pub mod parse;
pub mod replay;
mod request;
pub mod send;

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "kaneda",
    version,
    about = "The metrics daemon: send a line of text, find it as a document in your store",
    long_about = ABOUT,
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: File,
}

const ABOUT: &str = "\
The metrics daemon. Any program, in any language, sends one line of text over UDP, TCP, a Unix socket or HTTP and \
goes on. Kaneda stores every line as one document, and counts whatever is lost.

Without a command it runs the daemon. Without a configuration it listens at 127.0.0.1:8125 (UDP and TCP) and at \
http://127.0.0.1:8126, and stores into ./kaneda-data/reports.db (SQLite).";

const EXAMPLES: &str = "\
Examples:
  kaneda                                    run with the defaults
  kaneda send 'signups:1|c|#plan:pro'       send a report, and wait until it is stored
  echo 'deploy.done:v42|e' | nc -u -w1 127.0.0.1 8125
  sqlite3 kaneda-data/reports.db 'select * from reports'
  echo 'signups:1|c' | kaneda parse         what would be stored, or why not
  kaneda replay kaneda-data/dead/sqlite.jsonl
                                            send again what a store refused
  kaneda journal ls                         what is on disk, and how far each sink has come
  kaneda check -c kaneda.toml               every mistake in a configuration, with its line
  kaneda import kanedasettings.py           the configuration for settings of Kaneda for Python
  curl -s http://127.0.0.1:8126/status      all that the daemon counts

Environment:
  KANEDA_SETTINGS   the configuration file, where -c names none (else ./kaneda.toml, if it is there)
  KANEDA_LOG        the level of the log: error, warn, info, debug, trace
  KANEDA_HOSTNAME   the `host` of reports that send none
  KANEDA_<TABLE>_<KEY>, KANEDA_SINK_<NAME>_<KEY>, KANEDA_SOURCE_<NAME>_<KEY>
                    any key of the configuration, as KANEDA_ADMIN_LISTEN=0.0.0.0:8126

Exit status: 0 done; 1 it failed, or a line was refused; 2 wrong usage, or mistakes in the configuration.";

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the daemon, as `kaneda` alone does.
    #[command(after_help = "SIGTERM and SIGINT end it: sources stop, sinks store what waits, for at most \
        shutdown_timeout. SIGHUP opens log files again.")]
    Run(File),
    /// Reads the configuration, and names every mistake in it.
    #[command(after_long_help = "\
Examples:
  kaneda check -c kaneda.toml
  kaneda check --connect        also ask each store whether it can be reached and written to,
                                and whether its dead letters can, and the journal

Exit status: 0 it is good; 1 a store or a folder cannot be used (--connect); 2 there are mistakes.")]
    Check(Check),
    /// Sends lines to a daemon, and says what became of them.
    #[command(after_long_help = "\
Examples:
  kaneda send 'signups:1|c' 'queue:17|g'
  kaneda send --to udp://127.0.0.1:8125 'signups:1|c'         no answer: UDP has none
  kaneda send --to unix:///run/kaneda/kaneda.sock 'signups:1|c'
  kaneda send --to http://127.0.0.1:8126 'signups:1|c'

Exit status: 0 stored (UDP: sent); 1 refused, not stored in time, or nobody there; 2 wrong usage.")]
    Send(Send),
    /// Hands dead letters to the running daemon again.
    #[command(after_long_help = "\
Each goes to the sink that refused it, with the id and the time that it had: what is stored already is not stored \
again. The letters stay in their files; delete them when all were delivered.

Examples:
  kaneda replay kaneda-data/dead/sqlite.jsonl
  kaneda replay -c kaneda.toml kaneda-data/dead/influxdb.*jsonl
  kaneda replay --all saved.jsonl

Exit status: 0 all were delivered; 1 one was not, or nobody is there; 2 wrong usage.")]
    Replay(Replay),
    /// Shows what lines mean: a JSON document for each record, a reason for each refused line.
    #[command(after_long_help = "\
Documents go to standard output, refused lines as JSON objects to standard error.

Examples:
  echo 'page.load:312|ms|@0.1|#page:home' | kaneda parse
  kaneda parse --dialect statsd captured-lines.txt
  kaneda parse -c kaneda.toml captured-lines.txt    with the [limits] of a daemon

Exit status: 0 all lines were taken; 1 one was refused; 2 wrong usage.")]
    Parse(Parse),
    /// Reads the journal on disk, also without the daemon.
    #[command(
        subcommand,
        after_long_help = "\
Examples:
  kaneda journal ls                                  segments, and how far each sink has come
  kaneda journal cat /var/lib/kaneda/journal | jq .  every record in it, as JSON
  kaneda journal verify                              reads all, and says what is damaged
  kaneda journal forget elasticsearch                a sink that is no more keeps nothing back

Exit status: 0 done; 1 it failed, or something is damaged; 2 wrong usage."
    )]
    Journal(Journal),
    /// Prints the configuration for the settings of Kaneda for Python.
    #[command(after_long_help = "\
FILE is a kanedasettings module, or the settings of a Django project (KANEDA_...). Nothing in it is run: assignments of \
literals are read, everything else is named with its line. The configuration has comments: which setting each key comes \
from, and what has no equivalent; what has to be done by hand is on standard error too. Passwords are printed as they are.

Examples:
  kaneda import kanedasettings.py > kaneda.toml
  kaneda import project/settings.py > kaneda.toml && kaneda check --connect -c kaneda.toml

Exit status: 0 all was taken over; 1 something has to be done by hand, or the result does not pass `kaneda check`; 2 wrong usage,
or no file that can be read.")]
    Import(Import),
    /// Asks a running daemon whether it is alive; for the health check of a container.
    #[command(after_help = "Exit status: 0 it answered 200; 1 it did not, or not within 5 seconds.")]
    Health(Health),
    /// Prints completions for a shell.
    #[command(after_help = "Example: kaneda completions bash > /etc/bash_completion.d/kaneda")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints a man page: of kaneda, or of one command.
    #[command(after_help = "Example: kaneda man | man -l -")]
    Man {
        /// The command.
        command: Option<String>,
    },
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration file [default: $KANEDA_SETTINGS, else ./kaneda.toml, else built-in defaults].
    #[arg(short, long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Which configuration.
    #[command(flatten)]
    pub file: File,
    /// Also try whether each store can be reached and written to, its dead letters kept, and the journal written.
    #[arg(long)]
    pub connect: bool,
}

/// The arguments of `send`.
#[derive(Debug, Args)]
pub struct Send {
    /// Where the daemon listens: tcp://, udp://, unix:///path, unixgram:///path, or http://host:port.
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:8125")]
    pub to: send::Target,
    /// Seconds to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub timeout: u64,
    /// Reports, as `name:value|type`; `-` alone: the lines of standard input.
    #[arg(required = true, value_name = "LINE")]
    pub lines: Vec<String>,
}

/// The arguments of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Which configuration says where the daemon's pages are.
    #[command(flatten)]
    pub file: File,
    /// To every sink, not only to the one that each letter came from.
    #[arg(long)]
    pub all: bool,
    /// Files of dead letters, the oldest first.
    #[arg(required = true, value_name = "LETTERS")]
    pub letters: Vec<PathBuf>,
}

/// The arguments of `parse`.
#[derive(Debug, Args)]
pub struct Parse {
    /// Which reading of the lines.
    #[arg(long, default_value = "kaneda")]
    pub dialect: Dialect,
    /// The configuration by whose limits lines are judged [default: the built-in ones].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file to read; standard input if there is none, or `-`.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The dialects by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// A signed gauge is an absolute value.
    Kaneda,
    /// The same.
    Dogstatsd,
    /// Etsy's: a signed gauge is a change, and a line may hold several metrics.
    Statsd,
}

impl From<Dialect> for crate::record::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Kaneda | Dialect::Dogstatsd => crate::record::Dialect::Kaneda,
            Dialect::Statsd => crate::record::Dialect::Statsd,
        }
    }
}

/// What to do with a journal.
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Lists segments and cursors.
    #[command(
        after_help = "`to` is the highest sequence number in a segment; `next`, the lowest that a sink has not \
        got. What waits is part of `accepted`."
    )]
    Ls(JournalFolder),
    /// Prints every record as a line of JSON, as `kaneda parse` does, with its sequence number and its id.
    Cat(JournalFolder),
    /// Reads everything, and says what is damaged, and where.
    #[command(
        after_help = "Exit status: 0 nothing is; 1 something is. What is unfinished at the end is not damage: it \
        is being written, or a crash left it, and the next start cuts it off."
    )]
    Verify(JournalFolder),
    /// Deletes the cursor of a sink that is no more, and what is kept for it alone. Not while a daemon runs.
    Forget {
        /// What is known of the messages of a queue instead: NAME is that of its source.
        #[arg(long = "source")]
        is_source: bool,
        /// The sink.
        name: String,
        /// Where the journal is.
        #[command(flatten)]
        folder: JournalFolder,
    },
}

/// Which journal.
#[derive(Debug, Args)]
pub struct JournalFolder {
    /// The folder that `path` in `[journal]` names.
    #[arg(value_name = "DIR", default_value = "kaneda-data/journal")]
    pub path: PathBuf,
}

/// The arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The settings of Kaneda.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The arguments of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Which configuration says where the daemon's pages are.
    #[command(flatten)]
    pub file: File,
    /// The page to ask for, in place of /health at the address that the configuration says.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

impl Cli {
    /// Reads the command line of this process. Help and wrong usage end it here, with status 0 and 2.
    pub fn of_process() -> Command {
        let cli = Cli::parse();
        cli.command.unwrap_or(Command::Run(cli.run))
    }
}

/// Writes the completions of `shell`.
pub fn completions(shell: clap_complete::Shell, out: &mut impl io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "kaneda", out);
}

/// Writes the man page of kaneda, or of `command`; an error of kind `NotFound` if there is none.
pub fn man(command: Option<&str>, out: &mut impl io::Write) -> io::Result<()> {
    let mut page = Cli::command();
    page.build();
    if let Some(name) = command {
        let found = page.find_subcommand(name).cloned();
        let Some(found) = found else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no command `{name}`")));
        };
        page = found;
    }
    let notes = page.get_after_long_help().or(page.get_after_help()).map(ToString::to_string);
    // Printed by itself: there it would be one paragraph, with all its lines run together.
    let page = page.after_help(None::<&str>).after_long_help(None::<&str>);
    let source = concat!("kaneda ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(page).source(source).manual("Kaneda").render(out)?;
    out.write_all(sections(&notes.unwrap_or_default()).as_bytes())
}

/// What stands behind the help, as sections of a man page: a paragraph that begins with `Word:` is one of this name.
fn sections(notes: &str) -> String {
    let mut page = String::new();
    for paragraph in notes.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let is_word = |head: &str| {
            head.len() < 20 && head.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ')
        };
        let (heading, text) = match paragraph.split_once(':') {
            Some((head, text)) if is_word(head) => (head, text.trim_start_matches(['\n'])),
            _ => ("Notes", paragraph),
        };
        page.push_str(&format!(".SH \"{}\"\n.nf\n", heading.to_uppercase()));
        for line in text.lines() {
            // Else a dot or a quote at its start would be a request, and a dash a hyphen.
            page.push_str("\\&");
            page.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
            page.push('\n');
        }
        page.push_str(".fi\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        let cli = Cli::try_parse_from(words).unwrap();
        cli.command.unwrap_or(Command::Run(cli.run))
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kaneda_alone_runs_the_daemon_with_or_without_a_file() {
        assert!(matches!(command(&["kaneda"]), Command::Run(File { config: None })));
        for words in [&["kaneda", "-c", "a.toml"][..], &["kaneda", "run", "--config", "a.toml"]] {
            let Command::Run(File { config }) = command(words) else { panic!("{words:?}") };
            assert_eq!(config.as_deref(), Some(std::path::Path::new("a.toml")));
        }
    }

    #[test]
    fn send_goes_to_tcp_on_loopback_by_default() {
        let Command::Send(send) = command(&["kaneda", "send", "a:1|c", "b:2|c"]) else { panic!() };
        assert_eq!((send.to, send.lines.len()), (send::Target::Tcp("127.0.0.1:8125".into()), 2));
        assert!(Cli::try_parse_from(["kaneda", "send"]).is_err());
    }

    #[test]
    fn every_command_has_a_man_page_and_is_completed() {
        let mut script = Vec::new();
        completions(clap_complete::Shell::Bash, &mut script);
        let script = String::from_utf8(script).unwrap();
        for sub in Cli::command().get_subcommands() {
            let mut page = Vec::new();
            man(Some(sub.get_name()), &mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            assert!(page.contains(&format!("kaneda {}", sub.get_name()).replace('-', "\\-")), "{page}");
            assert!(
                script.contains(&format!("kaneda__{}", sub.get_name())) || script.contains(sub.get_name())
            );
        }
        let mut page = Vec::new();
        man(Some("send"), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let title = page.lines().find(|line| line.starts_with(".TH kaneda-send 1")).unwrap();
        assert!(title.ends_with(concat!("\"kaneda ", env!("CARGO_PKG_VERSION"), "\" Kaneda")), "{title}");
        // Its lines stay lines.
        assert!(
            page.contains(".SH \"EXAMPLES\"\n.nf\n\\&  kaneda send 'signups:1|c' 'queue:17|g'\n"),
            "{page}"
        );
        assert!(page.contains(".SH \"EXIT STATUS\"\n.nf\n\\& 0 stored") && !page.contains("EXTRA"), "{page}");
        assert_eq!(man(Some("fly"), &mut Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
