//! The drain: takes chunks off a ring and sees every record through its sink.

mod config;
mod follow;
mod trouble;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::lane::{Health, Lane};
use super::ledger::{Drop, Terms};
use super::letter::{self, DeadLetter, Letter};
use super::receipt::Why;
use super::window::Window;
use crate::record::Batch;
use crate::record::batch::Range;
use crate::sink::{Outcome, Sink};
use crate::status::State;
pub use config::Config;
use follow::Follow;
pub use follow::Place;
use trouble::{Again, Flight, Outage};

/// How long a sink may take to close behind the deadline.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A batch that is on its way for so long is trouble. Stores behind a network give up before by themselves, by default.
const LATE: Duration = Duration::from_secs(30);

/// How often the waiting records are counted where they are.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// What was left at the end, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// Lost, and counted so.
    pub dropped: usize,
    /// In the journal, for the next start.
    pub kept: usize,
}

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
    in_hand: HashMap<Id, Flight>,
    /// Records that a new batch may have: fewer than the configuration says after the store was too slow for so many.
    at_once: usize,
    outage: Option<Outage>,
    /// Batches that the store took records of: delivered or rejected some.
    taken: u64,
    /// Rejected records whose letters are not on disk yet.
    burials: JoinSet<Arc<[Letter]>>,
    /// Bytes of what the store said of those.
    detail_bytes: usize,
    /// Where it stands in the journal, if there is one.
    follow: Option<Follow>,
    /// When the waiting records were counted last.
    recounted: Instant,
    /// What the terms were then.
    counted: Terms,
}

impl Drain {
    /// A drain of `lane` into `sink`.
    pub fn new(lane: Arc<Lane>, sink: Arc<dyn Sink>, config: Config, letters: Arc<dyn DeadLetter>) -> Self {
        Drain {
            at_once: config.batch_max_records(),
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
            taken: 0,
            burials: JoinSet::new(),
            detail_bytes: 0,
            follow: None,
            recounted: Instant::now(),
            counted: Terms::default(),
        }
    }

    /// The same drain, reading from the journal, if there is one, what the ring has no room for.
    pub fn with_journal(self, place: Option<Place>) -> Self {
        Drain { follow: place.map(Follow::new), ..self }
    }

    /// Drains until `deadline` is set and all is decided, or it has come.
    pub async fn run(mut self, mut deadline: Deadline) -> Rest {
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
            let follow_due = self.follow.as_ref().and_then(Follow::due);
            let in_time = self.in_hand.values().filter(|flight| !flight.is_late);
            let late_due = in_time.map(|flight| flight.since + LATE).min();
            let is_news = !self.lane.ledger.is(&self.counted);
            let recount_due = is_news.then(|| self.recounted + RECOUNT_INTERVAL);
            let wake = [self.next_due(), follow_due, late_due, recount_due, stop].into_iter().flatten().min();
            tokio::select! {
                Some(joined) = self.flights.join_next_with_id() => self.finish(joined),
                Some(buried) = self.burials.join_next() => self.finish_burial(buried),
                read = read(&mut self.follow) => self.finish_read(read),
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

    /// Moves chunks from the ring to the window: when they are to be sent, or to keep the ring open. While it is behind
    /// they come from the journal.
    fn take_in(&mut self, stopping: bool) {
        self.notice_removals();
        self.fall_behind();
        self.read_on();
        let ring = &self.lane.ring;
        let is_behind = self.follow.as_ref().is_some_and(Follow::is_behind);
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
        if !is_behind && (hurry || timer || fills_batch || ring.is_pressed()) {
            while self.window.bytes() < self.config.backlog_bytes() {
                let Some(parcel) = ring.pop() else { break };
                if let Some(follow) = &mut self.follow {
                    follow.pass(parcel.chunk.position().sequence);
                }
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
            if self.are_letters_late()
                || self.in_hand.len() >= flights
                || self.outage.as_ref().is_some_and(|outage| now < outage.due)
            {
                return;
            }
            let is_doubtful = self.outage.as_ref().is_some_and(|outage| outage.is_doubtful);
            let due = |again: &Again| again.due <= now;
            let others = self.again.iter().position(|again| due(again) && again.trouble.is_none());
            let any = self.again.iter().position(due);
            let place = if is_doubtful && (others.is_some() || self.is_batch_due()) { others } else { any };
            if let Some(place) = place {
                let mut again = self.again.remove(place);
                if again.trouble.is_none() && again.batch.len() > self.at_once {
                    let [first, rest] = cut(&again.batch, self.at_once);
                    self.again.insert(place, Again { batch: rest, ..again });
                    again.batch = first;
                }
                self.send(again);
                continue;
            }
            if !self.is_batch_due() {
                return;
            }
            let before = self.window.unsent_records();
            let batch = self.window.take(self.at_once, self.config.batch_max_bytes());
            // It is empty where all records that were taken wait for an earlier one with their id.
            if !batch.is_empty() {
                self.send(Again { batch, due: now, attempt: 0, trouble: None });
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
        self.in_hand.insert(flight.id(), Flight { sent: again, since: Instant::now(), is_late: false });
    }

    /// A sink that has not answered for long is in trouble, also one that never gives up: a pipe that nobody reads.
    fn tell_late(&mut self) {
        let now = Instant::now();
        for flight in self.in_hand.values_mut().filter(|flight| !flight.is_late && flight.since + LATE <= now)
        {
            flight.is_late = true;
            let error = format!("it has not answered for {} s", LATE.as_secs());
            warn!(sink = &*self.lane.name, error, "the sink is in trouble");
            self.lane.health.condition.fail(State::Retrying, error);
        }
    }

    /// A pause spares a store in trouble. Before the end there is no later: what waits is tried without one.
    fn try_at_once(&mut self) {
        let now = Instant::now();
        if let Some(outage) = &mut self.outage {
            (outage.due, outage.attempt) = (now, 0);
        }
        for again in &mut self.again {
            again.due = now;
        }
    }

    /// Whether so many letters wait that nothing more is sent.
    fn are_letters_late(&self) -> bool {
        self.lane.letters.waiting.get() >= letter::WAITING
    }

    /// When there is something to do without anything happening before.
    fn next_due(&self) -> Option<Instant> {
        if self.are_letters_late() {
            return self.flush_at;
        }
        if let Some(outage) = &self.outage {
            return if self.in_hand.is_empty() { Some(outage.due) } else { self.flush_at };
        }
        let again = self.again.iter().map(|again| again.due).min();
        let again = again.filter(|_| self.in_hand.len() < self.config.concurrency.get());
        [again, self.flush_at].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        let is_behind = self.follow.as_ref().is_some_and(Follow::is_behind);
        self.window.is_empty() && self.lane.ring.records() == 0 && !is_behind
    }

    fn observe(&mut self) {
        self.tell_late();
        let held = self.lane.ring.bytes() + self.window.bytes();
        self.lane.health.held_bytes.store(held as u64, Ordering::Relaxed);
        if cfg!(test) || self.recounted.elapsed() >= RECOUNT_INTERVAL {
            self.recounted = Instant::now();
            self.recount();
        }
        self.tell_cursor(false);
    }

    /// What is undecided stays in the journal, or is dropped, counted; and the sink is closed.
    async fn end(mut self) -> Rest {
        // What has an answer is not given up.
        while let Some(joined) = self.flights.try_join_next_with_id() {
            self.finish(joined);
        }
        self.flights.shutdown().await;
        while let Some(buried) = self.burials.try_join_next() {
            self.finish_burial(buried);
        }
        self.burials.shutdown().await;
        if let Some(follow) = &mut self.follow
            && timeout(CLOSE_TIMEOUT, follow.ended()).await.is_err()
        {
            warn!(sink = &*self.lane.name, "the journal is still being read");
        }
        let is_behind = self.follow.as_ref().is_some_and(Follow::is_behind);
        while let Some(parcel) = self.lane.ring.pop() {
            // Behind, what comes before it in the journal was not read yet.
            if !is_behind && let Some(follow) = &mut self.follow {
                follow.pass(parcel.chunk.position().sequence);
            }
            self.window.push(parcel);
        }
        let letters = &self.lane.letters;
        letters.lost.add(letters.waiting.get());
        letters.waiting.set(0);
        let follow = self.follow.as_ref();
        let kept = |sequence| follow.is_some_and(|follow| follow.holds(sequence));
        let dropped = self.window.give_up(kept, &self.lane.loss(Why::Dropped(Drop::Shutdown)));
        self.lane.ledger.give_up(dropped, Drop::Shutdown);
        self.window.settle();
        self.tell_cursor(true);
        if timeout(CLOSE_TIMEOUT, self.sink.close()).await.is_err() {
            warn!(sink = &*self.lane.name, "the sink did not close in time");
        }
        self.lane.health.condition.set(State::Stopped);
        self.recount();
        let kept = self.lane.ledger.terms().waiting as usize;
        Rest { dropped, kept }
    }
}

/// The first `records` of a batch, and the others.
fn cut(batch: &Batch, mut records: usize) -> [Batch; 2] {
    let mut parts = [Batch::new(), Batch::new()];
    for Range { chunk, first, last } in batch.ranges() {
        let middle = (first + records).min(*last);
        records -= middle - first;
        for (part, (first, last)) in parts.iter_mut().zip([(*first, middle), (middle, *last)]) {
            if first < last {
                part.push(Range { chunk: Arc::clone(chunk), first, last });
            }
        }
    }
    parts
}

/// The next answer of the journal, if there is one.
async fn read(follow: &mut Option<Follow>) -> Option<follow::Read> {
    match follow {
        Some(follow) => follow.work().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
