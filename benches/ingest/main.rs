//! What a line costs from the socket to the null sink, beside the leanest receiver on the same core in the same run.
//!
//! `cargo bench --bench ingest -- [CASE..] [--receiver NAME].. [--rate N] [--seconds S] [--warm S] [--set KEY=VALUE]..`, where
//! a case is `packed`, `single`, `tagged`, `paced` or `idle`; `intake` before others measures them without sockets. The receiver
//! is a process of its own on CPU 1, the sender is on CPU 0, and pays the network stack's part, as on loopback it does.
//! Without `--rate` the first three cases run at the highest rate at which nothing is lost.

mod corpus;
mod intake;
mod receiver;
mod sender;
mod sys;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kaneda::source::udp;

use crate::corpus::{Corpus, Shape};
use crate::receiver::{Receiver, Report};
use crate::sender::Sent;
use crate::sys::Messages;

/// Of all sent; what is under it is called lossless.
const LOSSLESS: f64 = 0.0001;
/// Runs to find the highest rate.
const STEPS: u32 = 6;
/// A sleeping receiver must not be asked before it is asleep.
const SETTLE: Duration = Duration::from_millis(300);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One thing to measure.
struct Case {
    name: &'static str,
    shape: Shape,
    /// Datagrams a second; `None`: the highest without loss.
    rate: Option<f64>,
}

const CASES: [Case; 5] = [
    Case { name: "packed", shape: Shape { tagged: false, packed: true }, rate: None },
    Case { name: "single", shape: Shape { tagged: false, packed: false }, rate: None },
    Case { name: "tagged", shape: Shape { tagged: true, packed: true }, rate: None },
    Case { name: "paced", shape: Shape { tagged: false, packed: false }, rate: Some(30_000.0) },
    Case { name: "idle", shape: Shape { tagged: false, packed: false }, rate: Some(0.0) },
];

/// The case that has no sender and no receiver.
const INTAKE: &str = "intake";

struct Options {
    cases: Vec<String>,
    receivers: Vec<Receiver>,
    rate: Option<f64>,
    time: Duration,
    /// So long it is sent the same before it is measured: a journal begins with new files, and goes on in old ones.
    warm: Duration,
    /// Keys of the source, as TOML.
    keys: Vec<String>,
    /// This is the receiving process.
    receive: Option<Receiver>,
}

fn main() -> Result<()> {
    let options = options()?;
    if let Some(receiver) = options.receive {
        sys::pin(1);
        return Ok(receiver::run(receiver, &config(&options)?)?);
    }
    sys::pin(0);
    if options.cases.iter().any(|case| case == INTAKE) {
        intake::run(&options.cases, options.time);
        return Ok(());
    }
    sys::be_punctual();
    println!(
        "{:<8} {:<8} {:>12} {:>12} {:>8} {:>10} {:>10} {:>8} {:>9}  of bare",
        "case", "receiver", "datagrams/s", "lines/s", "loss %", "us/line", "us/dgram", "cpu %", "peak MiB"
    );
    for case in
        CASES.iter().filter(|case| options.cases.is_empty() || options.cases.iter().any(|c| c == case.name))
    {
        let corpus = Corpus::new(case.shape);
        let mut bare = None;
        for &receiver in &options.receivers {
            let measured = measure(case, receiver, &corpus, &options)?;
            if receiver == Receiver::Bare {
                bare = Some(measured.per_line());
            }
            measured.print(case, receiver, bare);
        }
    }
    println!("cores: {}", std::thread::available_parallelism()?);
    Ok(())
}

fn measure(case: &Case, receiver: Receiver, corpus: &Corpus, options: &Options) -> Result<Measured> {
    let run = |rate: Option<f64>, time| run(receiver, corpus, rate, time, options);
    if let Some(rate) = options.rate.or(case.rate) {
        return run(Some(rate), options.time);
    }
    let search = Duration::from_secs(1);
    let flood = run(None, search)?;
    if flood.loss() < LOSSLESS {
        let longer = run(None, options.time)?;
        if longer.loss() < LOSSLESS {
            return Ok(longer);
        }
    }
    let (mut low, mut high) = (0.0, flood.sent.datagrams as f64 / search.as_secs_f64());
    let mut rate = flood.report.datagrams as f64 / search.as_secs_f64();
    for _ in 0..STEPS {
        if run(Some(rate), search)?.loss() < LOSSLESS {
            low = rate
        } else {
            high = rate
        }
        rate = (low + high) / 2.0;
    }
    // The last rate that was lossless for a second may not be so for longer.
    loop {
        let measured = run(Some(low), options.time)?;
        if measured.loss() < LOSSLESS || low < 1000.0 {
            return Ok(measured);
        }
        low *= 0.97;
    }
}

struct Measured {
    sent: Sent,
    report: Report,
    time: Duration,
}

fn run(
    receiver: Receiver,
    corpus: &Corpus,
    rate: Option<f64>,
    time: Duration,
    options: &Options,
) -> Result<Measured> {
    let mut process = Process::start(receiver, options)?;
    // At a low rate each datagram is sent by itself.
    let mut messages = Messages::new(corpus, rate.is_none_or(|rate| rate > 100_000.0));
    let warm = match options.warm.is_zero() {
        true => Sent::default(),
        false => sender::send(&mut messages, process.address, rate.filter(|rate| *rate > 0.0), options.warm)?,
    };
    process.tell("start")?;
    let sent = match rate {
        Some(0.0) => {
            std::thread::sleep(time);
            Sent { time, ..Sent::default() }
        }
        _ => sender::send(&mut messages, process.address, rate, time)?,
    };
    std::thread::sleep(SETTLE);
    process.tell("stop")?;
    let mut report = process.report()?;
    // What was lost before is taken for what was lost since.
    report.datagrams = report.datagrams.saturating_sub(warm.datagrams);
    if report.datagrams + report.drops != sent.datagrams {
        eprintln!("{}: sent {}, but {report:?}: a loss that nobody counted", receiver.name(), sent.datagrams);
    }
    Ok(Measured { sent, report, time: sent.time })
}

impl Measured {
    /// The part of the lines that did not get through, be it that the kernel dropped them or a full ring.
    fn loss(&self) -> f64 {
        let unread = 1.0 - self.report.datagrams as f64 / (self.sent.datagrams as f64).max(1.0);
        unread + self.report.lost as f64 / (self.sent.lines as f64).max(1.0)
    }

    fn per_line(&self) -> f64 {
        self.report.cpu.as_secs_f64() * 1e6 / (self.sent.lines as f64 * (1.0 - self.loss()))
    }

    fn print(&self, case: &Case, receiver: Receiver, bare: Option<f64>) {
        let seconds = self.time.as_secs_f64();
        let cpu = self.report.cpu.as_secs_f64();
        if self.sent.datagrams == 0 {
            println!(
                "{:<8} {:<8} {:>74.3} {:>9.1}",
                case.name,
                receiver.name(),
                cpu / seconds * 100.0,
                self.report.peak_kib as f64 / 1024.0
            );
            return;
        }
        println!(
            "{:<8} {:<8} {:>12.0} {:>12.0} {:>8.3} {:>10.4} {:>10.4} {:>8.1} {:>9.1}  {}",
            case.name,
            receiver.name(),
            self.sent.datagrams as f64 / seconds,
            self.sent.lines as f64 / seconds,
            self.loss() * 100.0,
            self.per_line(),
            cpu * 1e6 / self.report.datagrams as f64,
            cpu / seconds * 100.0,
            self.report.peak_kib as f64 / 1024.0,
            bare.map(|bare| format!("{:.2}", self.per_line() / bare)).unwrap_or_default()
        );
    }
}

/// A receiver that runs.
struct Process {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Process {
    fn start(receiver: Receiver, options: &Options) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--receive", receiver.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for key in &options.keys {
            command.args(["--set", key]);
        }
        let mut child = command.spawn()?;
        let mut said = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        Ok(Process { child, said, address: line.trim().parse()? })
    }

    fn tell(&mut self, what: &str) -> Result<()> {
        Ok(writeln!(self.child.stdin.as_mut().ok_or("no input")?, "{what}")?)
    }

    fn report(mut self) -> Result<Report> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        self.child.wait()?;
        Report::parse(&line).ok_or_else(|| format!("no report: {line}").into())
    }
}

fn config(options: &Options) -> Result<udp::Config> {
    Ok(toml::from_str(&format!("listen = \"127.0.0.1:0\"\n{}", options.keys.join("\n")))?)
}

fn options() -> Result<Options> {
    let mut options = Options {
        cases: Vec::new(),
        receivers: Vec::new(),
        rate: None,
        time: Duration::from_secs(3),
        warm: Duration::ZERO,
        keys: Vec::new(),
        receive: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} takes a value"));
        match word.as_str() {
            // Cargo's.
            "--bench" => {}
            "--rate" => options.rate = Some(value()?.parse()?),
            "--seconds" => options.time = Duration::from_secs_f64(value()?.parse()?),
            "--warm" => options.warm = Duration::from_secs_f64(value()?.parse()?),
            "--set" => options.keys.push(value()?),
            "--receiver" => options.receivers.push(named(&value()?)?),
            "--receive" => options.receive = Some(named(&value()?)?),
            case if case == INTAKE || CASES.iter().any(|known| known.name == case) => {
                options.cases.push(word)
            }
            _ => {
                return Err(format!(
                    "what is {word}? the cases are packed, single, tagged, paced, idle, intake"
                )
                .into());
            }
        }
    }
    if options.receivers.is_empty() {
        options.receivers = Receiver::ALL.to_vec();
    }
    Ok(options)
}

fn named(name: &str) -> Result<Receiver> {
    let found = Receiver::ALL.into_iter().find(|receiver| receiver.name() == name);
    found.ok_or_else(|| format!("there is no receiver {name}").into())
}
