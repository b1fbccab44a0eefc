//! The drain: takes chunks off a ring and sees every record through its sink.

mod backoff;
mod config;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::lane::{Health, Lane};
use super::ledger::Drop;
use super::letter::DeadLetter;
use super::window::{Fate, Window};
use crate::record::Batch;
use crate::record::batch::Range;
use crate::sink::{Outcome, Rejection, Sink, Verdict};
use crate::status::State;
pub use config::Config;

/// How long a sink may take to close behind the deadline.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// When to end: at this instant at the latest, once it is set.
pub type Deadline = watch::Receiver<Option<Instant>>;

/// Drains one lane into one sink. It is the only place where timer, batching, retry, splitting and counting are done.
pub struct Drain {
    lane: Arc<Lane>,
    sink: Arc<dyn Sink>,
    config: Config,
    letters: Arc<dyn DeadLetter>,
    window: Window,
    /// When what waits has waited for `flush_interval`.
    flush_at: Option<Instant>,
    /// Chunks up to this sequence number are sent although they fill no batch.
    flush_to: Option<u64>,
    /// Batches to be sent again, in order.
    again: Vec<Again>,
    flights: JoinSet<Outcome>,
    in_hand: HashMap<Id, Again>,
    outage: Option<Outage>,
}

/// A batch that was sent before, or is being sent.
struct Again {
    batch: Batch,
    /// Not before this.
    due: Instant,
    /// How often it was sent in vain.
    attempt: u32,
}

/// The store takes nothing: one batch at a time is tried.
struct Outage {
    due: Instant,
    attempt: u32,
}

impl Drain {
    /// A drain of `lane` into `sink`.
    pub fn new(lane: Arc<Lane>, sink: Arc<dyn Sink>, config: Config, letters: Arc<dyn DeadLetter>) -> Self {
        Drain {
            lane,
            sink,
            config,
            letters,
            window: Window::default(),
            flush_at: None,
            flush_to: None,
            again: Vec::new(),
            flights: JoinSet::new(),
            in_hand: HashMap::new(),
            outage: None,
        }
    }

    /// Drains until `deadline` is set and all is decided, or it has come. Returns how many records were left.
    pub async fn run(mut self, mut deadline: Deadline) -> usize {
        loop {
            let stop = *deadline.borrow_and_update();
            self.take_in(stop.is_some());
            self.send_due();
            self.observe();
            if let Some(at) = stop
                && (self.is_done() || Instant::now() >= at)
            {
                break;
            }
            let wake = [self.next_due(), stop].into_iter().flatten().min();
            tokio::select! {
                Some(joined) = self.flights.join_next_with_id() => self.finish(joined),
                () = self.lane.ring.work() => {}
                () = at(wake) => {}
                changed = deadline.changed(), if stop.is_none() => {
                    if changed.is_err() {
                        break;
                    }
                    self.try_at_once();
                }
            }
        }
        self.end().await
    }

    /// Moves chunks from the ring to the window: when they are to be sent, or to keep the ring open.
    fn take_in(&mut self, stopping: bool) {
        let ring = &self.lane.ring;
        let now = Instant::now();
        let hurry = ring.take_urgent() || stopping;
        let waiting = ring.records() + self.window.unsent_records();
        let waiting_bytes = ring.line_bytes() + self.window.unsent_bytes();
        if waiting > 0 && self.flush_at.is_none() {
            self.flush_at = Some(now + self.config.flush_interval.get());
        }
        let timer = self.flush_at.is_some_and(|at| at <= now);
        let (records, bytes) = (self.config.batch_max_records(), self.config.batch_max_bytes());
        let fills_batch = (self.window.unsent_records() < records && waiting >= records)
            || (self.window.unsent_bytes() < bytes && waiting_bytes >= bytes);
        // What is not needed stays in the ring: an empty ring's next chunk would wake the drain again.
        if hurry || timer || fills_batch || ring.is_pressed() {
            while self.window.bytes() < self.config.backlog_bytes() {
                let Some(parcel) = ring.pop() else { break };
                self.window.push(parcel);
            }
        }
        ring.set_backlog_full(self.window.bytes() >= self.config.backlog_bytes());
        if hurry || timer {
            self.flush_to = self.window.last();
            // A chunk that found no room, or is just being pushed, has its own time to wait.
            self.flush_at = (ring.records() > 0).then(|| now + self.config.flush_interval.get());
            if hurry && ring.records() > 0 {
                ring.hurry_again();
            }
        }
    }

    fn send_due(&mut self) {
        loop {
            let now = Instant::now();
            let flights = if self.outage.is_some() { 1 } else { self.config.concurrency.get() };
            if self.in_hand.len() >= flights || self.outage.as_ref().is_some_and(|outage| now < outage.due) {
                return;
            }
            if let Some(place) = self.again.iter().position(|again| again.due <= now) {
                let again = self.again.remove(place);
                self.send(again);
                continue;
            }
            if !self.is_batch_due() {
                return;
            }
            let before = self.window.unsent_records();
            let batch = self.window.take(self.config.batch_max_records(), self.config.batch_max_bytes());
            // It is empty where all records that were taken wait for an earlier one with their id.
            if !batch.is_empty() {
                self.send(Again { batch, due: now, attempt: 0 });
            } else if self.window.unsent_records() == before {
                return;
            }
        }
    }

    /// Whether what is in the window is to be sent now: it fills a batch, or has waited long enough.
    fn is_batch_due(&self) -> bool {
        let Some(first) = self.window.first_unsent() else { return false };
        self.flush_to.is_some_and(|last| first <= last)
            || self.window.unsent_records() >= self.config.batch_max_records()
            || self.window.unsent_bytes() >= self.config.batch_max_bytes()
    }

    fn send(&mut self, again: Again) {
        let (sink, batch) = (Arc::clone(&self.sink), again.batch.clone());
        Health::count(&self.lane.health.batches);
        let flight = self.flights.spawn(async move { sink.send(batch).await });
        self.in_hand.insert(flight.id(), again);
    }

    fn finish(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok(answered) => answered,
            // A sink that panics on a record must not take its neighbours along: look for it by splitting.
            Err(error) => {
                let rejection = Rejection { reason: "panic", detail: format!("the sink panicked: {error}") };
                (error.id(), Outcome::Refused(rejection))
            }
        };
        let Some(sent) = self.in_hand.remove(&id) else { return };
        match outcome {
            Outcome::Retry(error) => return self.back_off(sent, error),
            Outcome::Delivered => {
                let records = self.window.deliver(&sent.batch);
                self.lane.ledger.decide(records, &[]);
                self.window.settle();
            }
            Outcome::Refused(rejection) if sent.batch.len() == 1 => {
                self.settle(&sent, [Verdict::Rejected(rejection)]);
            }
            Outcome::Refused(_) => self.split(&sent),
            Outcome::Each(verdicts) if verdicts.len() != sent.batch.len() => {
                let error = format!("{} verdicts for {} records", verdicts.len(), sent.batch.len());
                return self.back_off(sent, error);
            }
            Outcome::Each(verdicts) => {
                let retries = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Retry(_))).count();
                if let (true, Some(Verdict::Retry(error))) = (retries == verdicts.len(), verdicts.first()) {
                    let error = error.clone();
                    return self.back_off(sent, error);
                }
                self.settle(&sent, verdicts);
            }
        }
        if self.outage.take().is_some() {
            info!(sink = &*self.lane.name, "the sink takes records again");
        }
        self.lane.health.set(State::Ok);
    }

    /// The store is in trouble: the whole batch again, and nothing else before.
    fn back_off(&mut self, sent: Again, error: String) {
        let attempt = self.outage.as_ref().map_or(0, |outage| outage.attempt + 1);
        let due = Instant::now() + self.config.backoff(attempt);
        if attempt == 0 {
            warn!(
                sink = &*self.lane.name,
                error, "the sink is in trouble; its records wait and are sent again"
            );
        }
        self.outage = Some(Outage { due, attempt });
        self.again.insert(0, Again { due, attempt: sent.attempt + 1, ..sent });
        Health::count(&self.lane.health.retries);
        self.lane.health.fail(State::Retrying, error);
    }

    /// Sends each half by itself.
    fn split(&mut self, sent: &Again) {
        Health::count(&self.lane.health.splits);
        let half = sent.batch.len() / 2;
        let mut halves = [Batch::new(), Batch::new()];
        for (place, (chunk, index)) in sent.batch.places().enumerate() {
            let range = Range { chunk: Arc::clone(chunk), first: index, last: index + 1 };
            halves[usize::from(place >= half)].push(range);
        }
        let again = halves.map(|batch| Again { batch, due: sent.due, attempt: sent.attempt });
        self.again.splice(0..0, again);
    }

    /// Takes one verdict a record.
    fn settle(&mut self, sent: &Again, verdicts: impl IntoIterator<Item = Verdict>) {
        let mut delivered = 0;
        let mut rejected = Vec::new();
        let mut retry = Batch::new();
        let mut error = None;
        for ((chunk, index), verdict) in sent.batch.places().zip(verdicts) {
            match verdict {
                Verdict::Delivered => {
                    delivered += self.window.decide(chunk, index, Fate::Delivered, |_| {});
                }
                Verdict::Retry(why) => {
                    retry.push(Range { chunk: Arc::clone(chunk), first: index, last: index + 1 });
                    error.get_or_insert(why);
                }
                Verdict::Rejected(rejection) => {
                    let loss = format!("sink {} rejected a report: {}", self.lane.name, rejection.reason);
                    let records = self.window.decide(chunk, index, Fate::Lost(&loss), |record| {
                        let record = record.chunk.received(record.index);
                        self.letters.bury(&self.lane.name, &record, &rejection);
                    });
                    rejected.push((rejection.reason, records));
                }
            }
        }
        self.lane.ledger.decide(delivered, &rejected);
        self.window.settle();
        if !retry.is_empty() {
            let due = Instant::now() + self.config.backoff(sent.attempt);
            self.again.push(Again { batch: retry, due, attempt: sent.attempt + 1 });
            Health::count(&self.lane.health.retries);
        }
        if let Some(error) = error {
            self.lane.health.fail(State::Ok, error);
        }
    }

    /// A pause spares a store in trouble. Before the end there is no later: what waits is tried without one.
    fn try_at_once(&mut self) {
        let now = Instant::now();
        if let Some(outage) = &mut self.outage {
            *outage = Outage { due: now, attempt: 0 };
        }
        for again in &mut self.again {
            again.due = now;
        }
    }

    /// When there is something to do without anything happening before.
    fn next_due(&self) -> Option<Instant> {
        if let Some(outage) = &self.outage {
            return if self.in_hand.is_empty() { Some(outage.due) } else { self.flush_at };
        }
        let again = self.again.iter().map(|again| again.due).min();
        let again = again.filter(|_| self.in_hand.len() < self.config.concurrency.get());
        [again, self.flush_at].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.window.is_empty() && self.lane.ring.records() == 0
    }

    fn observe(&self) {
        let held = self.lane.ring.bytes() + self.window.bytes();
        self.lane.health.held_bytes.store(held as u64, Ordering::Relaxed);
        #[cfg(test)]
        self.recount();
    }

    /// Counts the waiting records where they are. Tests run on one thread, so nothing changes meanwhile.
    #[cfg(test)]
    fn recount(&self) {
        let terms = self.lane.ledger.terms();
        assert_eq!(terms.waiting, (self.lane.ring.records() + self.window.records()) as u64);
        assert!(terms.balance(), "{terms:?}");
    }

    /// What is undecided is dropped, counted, and the sink closed.
    async fn end(mut self) -> usize {
        // What has an answer is not given up.
        while let Some(joined) = self.flights.try_join_next_with_id() {
            self.finish(joined);
        }
        self.flights.shutdown().await;
        while let Some(parcel) = self.lane.ring.pop() {
            self.window.push(parcel);
        }
        let loss = format!("sink {} dropped reports: {}", self.lane.name, Drop::Shutdown.code());
        let left = self.window.give_up(&loss);
        self.lane.ledger.give_up(left, Drop::Shutdown);
        self.window.settle();
        if timeout(CLOSE_TIMEOUT, self.sink.close()).await.is_err() {
            warn!(sink = &*self.lane.name, "the sink did not close in time");
        }
        self.lane.health.set(State::Stopped);
        self.observe();
        left
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
