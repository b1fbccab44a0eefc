//! What it costs to take reports off Kaneda's queues: the daemon with the null sink, beside a consumer that only takes and
//! acknowledges, at the same broker in the same run, and the original's own worker.
//!
//! `cargo bench --bench queues -- [zmq|redis|rabbitmq|rq].. [--rounds N] [--reports N]`. The queue is full before anybody
//! begins; what starting costs is not counted. Messages are those that PyPI kaneda 1.0 was recorded to send, each with an id
//! of its own. What the broker spends is not counted as anybody's CPU, but it shares the cores.

#[allow(clippy::unwrap_used, reason = "made for tests")]
#[path = "../../tests/queues/broker.rs"]
mod broker;
mod daemon;
mod message;
#[path = "../load/meter.rs"]
mod meter;
mod original;
mod rabbitmq;
mod redis;
mod rq;
mod zmq;

use std::error::Error;

use crate::broker::Broker;
use crate::meter::Spent;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A queue at its broker, and how to take what is in it.
trait Queue {
    /// Its `type`, and the broker.
    fn name(&self) -> &'static str;

    /// Makes so many reports ready. There are none.
    fn fill(&mut self, reports: usize) -> Result<()>;

    /// Consumers that only take and acknowledge; the first is the one that others are compared with.
    fn bare(&self) -> &'static [&'static str];

    /// Takes all reports by one of these.
    fn take(&mut self, bare: usize, reports: usize) -> Result<Spent>;

    /// The `[[source]]`, and which of its counters says how many are done with.
    fn source(&self) -> (String, &'static str);

    /// How the original's worker is started, without `python`, and the address that its settings have.
    fn worker(&self) -> (Vec<String>, String);

    /// All were taken: what is left of them goes.
    fn clear(&mut self) -> Result<()>;
}

/// What was asked for.
struct Asked {
    queues: Vec<String>,
    rounds: usize,
    /// None: what each queue has by default.
    reports: Option<usize>,
}

impl Asked {
    fn read() -> Result<Asked> {
        let mut asked = Asked { queues: Vec::new(), rounds: 3, reports: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number =
                || words.next().ok_or("a number is missing")?.parse().map_err(Box::<dyn Error>::from);
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--rounds" => asked.rounds = number()?,
                "--reports" => asked.reports = Some(number()?),
                _ => asked.queues.push(word),
            }
        }
        Ok(asked)
    }

    fn wants(&self, queue: &str) -> bool {
        self.queues.is_empty() || self.queues.iter().any(|asked| asked == queue)
    }
}

fn main() -> Result<()> {
    let asked = Asked::read()?;
    println!(
        "{} cores, shared with the broker; {} rounds",
        std::thread::available_parallelism()?,
        asked.rounds
    );
    let tools = original::have();
    if asked.wants("zmq") {
        match tools {
            true => measure(&mut zmq::Zmq::new()?, &asked, 2_000_000, 20_000)?,
            false => println!("zmq: skipped, the application needs PyPI kaneda: scripts/test-tools.sh"),
        }
    }
    if let Some(server) = start("redis", "redis", &asked)? {
        measure(&mut redis::Celery::new(server)?, &asked, 100_000, 4000)?;
    }
    if let Some(server) = start("rabbitmq", "rabbitmq", &asked)? {
        measure(&mut rabbitmq::Celery::new(server)?, &asked, 60_000, 4000)?;
    }
    if let Some(server) = start("redis", "rq", &asked)? {
        // The original has a process for each job.
        measure(&mut rq::Rq::new(server)?, &asked, 50_000, 50)?;
    }
    Ok(())
}

/// A broker for a queue that is asked for, if there is one here.
fn start(kind: &str, queue: &str, asked: &Asked) -> Result<Option<Broker>> {
    if !asked.wants(queue) || !broker::is_there(kind, queue)? {
        return Ok(None);
    }
    Ok(Some(Broker::start(kind, "bench", &[])?))
}

/// All take turns, so that a noisy machine is noisy for all; the original, which is slow, has one turn with `few`.
fn measure(queue: &mut dyn Queue, asked: &Asked, many: usize, few: usize) -> Result<()> {
    let reports = asked.reports.unwrap_or(many);
    let bare = queue.bare();
    let mut rows: Vec<(&str, Vec<Spent>)> = bare.iter().map(|name| (*name, Vec::new())).collect();
    rows.extend([("daemon", Vec::new()), ("daemon, journal off", Vec::new())]);
    for _ in 0..asked.rounds {
        for (at, (_, spent)) in rows.iter_mut().enumerate() {
            queue.fill(reports)?;
            spent.push(match at.checked_sub(bare.len()) {
                None => queue.take(at, reports)?,
                Some(at) => daemon::take(queue, reports, at == 0)?,
            });
            queue.clear()?;
        }
    }
    if original::have() {
        queue.fill(few)?;
        match original::take(queue, few) {
            Ok(spent) => rows.push(("original's worker", vec![spent])),
            // The others have their figures.
            Err(error) => println!("{}: the original's worker: {error}", queue.name()),
        }
        queue.clear()?;
    }
    println!("\n{}: {reports} reports, {few} for the original's worker", queue.name());
    println!("{:<44} {:>10} {:>17} {:>8}  of each round", "", "reports/s", "CPU us a report", "of bare");
    let first = rows[0].1.iter().map(Spent::rate).collect::<Vec<_>>();
    let of_first = Spent::sum(&rows[0].1).rate();
    for (name, spent) in &rows {
        let all = Spent::sum(spent);
        let rounds = spent.iter().zip(&first).map(|(spent, first)| format!("{:.2}", spent.rate() / first));
        let rounds =
            if spent.len() == first.len() { rounds.collect::<Vec<_>>().join(" ") } else { String::new() };
        println!(
            "{name:<44} {:>10.0} {:>17.1} {:>8.3}  {rounds}",
            all.rate(),
            all.cpu_micros(),
            all.rate() / of_first
        );
    }
    Ok(())
}
