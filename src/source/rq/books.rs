//! Our part of RQ's books: that we are here, and which jobs are in our hands.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use redis::RedisResult;
use tokio::time::Instant;
use tracing::{info, warn};

use super::abandoned::{Which, reclaim};
use super::broker::{Broker, End, Form, MANY, Settled, State, Taken, Wanted};
use crate::source::Counters;
use crate::source::queue::RECONNECT_PAUSE;
use crate::status;

/// How often the books are looked after.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often it is said that what is in hand is worked on still, as RQ's workers do.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// A job in our hands.
pub(super) struct Open {
    /// Of this time that it was taken.
    pub(super) number: u64,
    pub(super) id: Vec<u8>,
    pub(super) form: Form,
    pub(super) since: Timestamp,
    /// Why it fails; none: its report was taken.
    pub(super) reason: Option<String>,
}

pub(super) struct Books {
    pub(super) broker: Broker,
    counters: Arc<Counters>,
    /// Tells the executions of this run from those of all others.
    run: u64,
    /// Number of the next job that is taken.
    next: u64,
    /// The ids of all jobs in hand, by number.
    in_hand: BTreeMap<u64, Box<[u8]>>,
    is_suspended: bool,
    /// Whether the connection is counted.
    is_counted: bool,
    /// Whether it was connected before.
    was_here: bool,
    /// Whether [`Books::arrive`] was done, if the connection is the same still.
    has_arrived: bool,
    /// When they are to be looked after again.
    at: Instant,
    refresh_at: Instant,
}

impl Books {
    pub(super) fn new(broker: Broker, counters: Arc<Counters>) -> Self {
        Books {
            broker,
            counters,
            run: uuid::Uuid::now_v7().as_u64_pair().1,
            next: 0,
            in_hand: BTreeMap::new(),
            is_suspended: false,
            is_counted: false,
            was_here: false,
            has_arrived: false,
            at: Instant::now(),
            refresh_at: Instant::now(),
        }
    }

    /// Jobs in our hands.
    pub(super) fn held(&self) -> usize {
        self.in_hand.len()
    }

    /// When they are to be looked after again.
    pub(super) fn due(&self) -> Instant {
        self.at
    }

    /// Takes those of these jobs that are in the queue still; they stand about `place`. The number of each; none: it was not
    /// taken.
    pub(super) async fn take(
        &mut self,
        jobs: &[(&[u8], Form)],
        place: usize,
    ) -> RedisResult<Vec<Option<u64>>> {
        let first = self.next;
        self.next += jobs.len() as u64;
        let wanted = (first..).zip(jobs).map(|(number, (id, form))| Wanted {
            id,
            form: *form,
            execution: execution(self.run, number),
        });
        let wanted: Vec<_> = wanted.collect();
        let taken = if wanted.is_empty() { Vec::new() } else { self.broker.take(&wanted, place).await? };
        let mut numbers = Vec::with_capacity(jobs.len());
        for ((number, (id, _)), taken) in (first..).zip(jobs).zip(taken) {
            match taken {
                Taken::Ours => drop(self.in_hand.insert(number, (*id).into())),
                Taken::Gone => count_gone(&self.counters, 1),
                Taken::Not => {}
            }
            numbers.push((taken == Taken::Ours).then_some(number));
        }
        Ok(numbers)
    }

    /// Writes what became of jobs, at most [`MANY`].
    pub(super) async fn settle(&mut self, jobs: &[Open]) -> RedisResult<()> {
        let settled: Vec<_> = jobs
            .iter()
            .map(|open| Settled {
                id: &open.id,
                execution: execution(self.run, open.number),
                form: open.form,
                since: open.since,
                reason: open.reason.as_deref().map(deflate),
            })
            .collect();
        let state = match self.state() {
            State::Busy if self.in_hand.len() == jobs.len() => State::Idle,
            state => state,
        };
        self.broker.settle(&settled, state).await?;
        self.counters.queue.acknowledged.add(jobs.len() as u64);
        self.put_down(jobs);
        Ok(())
    }

    /// Puts jobs back, and no longer has them in hand.
    pub(super) async fn give_back(&mut self, jobs: &[Open], end: End) -> RedisResult<()> {
        let numbers: Vec<_> = jobs.iter().map(|open| open.number).collect();
        self.put_back(&numbers, end).await?;
        self.put_down(jobs);
        Ok(())
    }

    fn put_down(&mut self, jobs: &[Open]) {
        for open in jobs {
            self.in_hand.remove(&open.number);
        }
    }

    /// Puts all jobs back that are in hand. How many were still ours.
    pub(super) async fn give_back_all(&mut self) -> RedisResult<u64> {
        // The last first: the first that was taken is the first again.
        let numbers: Vec<_> = self.in_hand.keys().rev().copied().collect();
        self.put_back(&numbers, End::Next).await
    }

    async fn put_back(&mut self, numbers: &[u64], end: End) -> RedisResult<u64> {
        let name = self.broker.name().to_owned();
        let mut back = 0;
        for numbers in numbers.chunks(MANY) {
            let executions: Vec<_> = numbers.iter().map(|number| execution(self.run, *number)).collect();
            let held = |(number, execution)| {
                let (number, execution): (&u64, &'_ String) = (number, execution);
                Some((&**self.in_hand.get(number)?, execution.as_bytes(), name.as_str()))
            };
            let jobs: Vec<_> = numbers.iter().zip(&executions).filter_map(held).collect();
            back += self.broker.give_back(&jobs, end).await?;
        }
        Ok(back)
    }

    /// Whether this connection was begun.
    pub(super) fn is_here(&self) -> bool {
        self.has_arrived && self.broker.is_connected()
    }

    /// Begins a connection: registers, and puts back what was left in hands that are gone.
    pub(super) async fn arrive(&mut self) -> RedisResult<()> {
        self.register().await?;
        self.count_connection();
        self.reclaim(if self.was_here { Which::Own } else { Which::All }).await?;
        self.was_here = true;
        self.has_arrived = true;
        self.at = Instant::now() + INTERVAL;
        // What was in hand was not refreshed meanwhile.
        self.refresh_at = self.at.min(self.refresh_at);
        Ok(())
    }

    /// Says that we are here and at work, and does what RQ's workers do now and then, if it is time for that. Whether it was.
    pub(super) async fn look_after(&mut self) -> RedisResult<bool> {
        if Instant::now() < self.at {
            return Ok(false);
        }
        self.say_at_work().await?;
        self.reclaim(Which::Unheard(2 * REFRESH_INTERVAL.as_secs())).await?;
        self.broker.tidy().await?;
        self.at = Instant::now() + INTERVAL;
        Ok(true)
    }

    /// Says that we are here and at work, while there is no time for more. It connects again if need be; then `arrive` is
    /// still to come.
    pub(super) async fn stay(&mut self) {
        self.has_arrived = self.is_here();
        if !self.broker.is_connected() {
            // What was in hand was not refreshed meanwhile.
            self.refresh_at = Instant::now();
        }
        let pause = match self.say_at_work().await {
            Ok(()) => {
                self.counters.queue.condition.set(status::State::Ok);
                INTERVAL
            }
            Err(error) => {
                let place = self.broker.place();
                warn!(place, %error, "RQ cannot be told that its jobs are worked on still");
                self.counters.queue.condition.fail(status::State::Retrying, format!("{place}: {error}"));
                self.broker.disconnect();
                RECONNECT_PAUSE
            }
        };
        self.count_connection();
        self.at = Instant::now() + pause;
    }

    /// Counts whether it is connected now.
    pub(super) fn count_connection(&mut self) {
        let is_connected = self.broker.is_connected();
        if is_connected == self.is_counted {
            return;
        }
        self.is_counted = is_connected;
        if is_connected {
            info!(place = self.broker.place(), worker = self.broker.name(), "connected to the Redis of RQ");
        }
        self.counters.connections.set(u64::from(is_connected));
        self.counters.connections_total.add(u64::from(is_connected));
    }

    async fn say_at_work(&mut self) -> RedisResult<()> {
        self.register().await?;
        let now = Instant::now();
        if now >= self.refresh_at {
            let jobs = self.in_hand.iter().map(|(number, id)| (&**id, execution(self.run, *number)));
            let jobs: Vec<_> = jobs.collect();
            for jobs in jobs.chunks(MANY) {
                self.broker.refresh(jobs).await?;
            }
            self.refresh_at = now + REFRESH_INTERVAL;
        }
        Ok(())
    }

    async fn reclaim(&mut self, which: Which) -> RedisResult<()> {
        let ours = self.in_hand.values().map(|id| &**id).collect();
        let restored = reclaim(&mut self.broker, which, &ours).await?;
        if restored > 0 {
            info!(restored, "jobs that nobody works on any more are back in the queue");
        }
        self.counters.queue.restored.add(restored);
        Ok(())
    }

    /// Notes whether workers are suspended.
    pub(super) async fn suspend(&mut self, is_suspended: bool) -> RedisResult<()> {
        if is_suspended != self.is_suspended {
            info!(is_suspended, "the workers of RQ were suspended or resumed");
            self.is_suspended = is_suspended;
            self.register().await?;
        }
        Ok(())
    }

    async fn register(&mut self) -> RedisResult<()> {
        let state = self.state();
        self.broker.register(state).await
    }

    fn state(&self) -> State {
        match (self.is_suspended, self.in_hand.is_empty()) {
            (true, _) => State::Suspended,
            (false, true) => State::Idle,
            (false, false) => State::Busy,
        }
    }
}

/// Counts jobs that were removed from the queue since they are there no more.
pub(super) fn count_gone(counters: &Counters, gone: u64) {
    counters.queue.messages.add(gone);
    counters.queue.expired.add(gone);
}

/// Names one time that a job was taken, as RQ does: 32 hexadecimal digits.
fn execution(run: u64, number: u64) -> String {
    format!("{run:016x}{number:016x}")
}

/// Deflates a text, as RQ does with the reason of a failure.
fn deflate(text: &str) -> Vec<u8> {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = deflated.write_all(text.as_bytes()).and_then(|()| deflated.finish());
    // Memory does not fail; RQ reads a text as well that is not deflated.
    written.unwrap_or_else(|_| text.as_bytes().to_vec())
}
