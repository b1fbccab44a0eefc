//! What dispatch and the drain share of one sink: its ring, its terms, its health.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tracing::{error, warn};

use super::feed::{Feed, Place};
use super::ledger::{Drop, Ledger, Terms};
use super::letter::Counters;
use super::past::Past;
use super::receipt::{Loss, Part, Why};
use super::ring::{Parcel, Ring};
use crate::journal::{self, Head, Plan};
use crate::record::Chunk;
use crate::status::Condition;
use crate::telemetry::Seldom;

/// What happens to the chunk of a stream when a sink's ring is full. Datagrams never wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// The stream is not read until there is room: no loss, and the sender is held back.
    #[default]
    Wait,
    /// The sink loses the chunk, counted; others and the stream go on.
    Drop,
}

/// The way to one sink.
#[derive(Debug)]
pub struct Lane {
    /// The sink's name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: &'static str,
    /// Its ring.
    pub ring: Ring,
    /// What became of its records.
    pub ledger: Ledger,
    /// How it stands.
    pub health: Health,
    /// What is counted of its dead letters.
    pub letters: Arc<Counters>,
    /// Whether it stops streams.
    pub when_full: WhenFull,
    /// How far it has got in the journal, and what waits for it there only.
    feed: Mutex<Feed>,
    losses: Seldom,
}

/// How a sink stands.
#[derive(Debug, Default)]
pub struct Health {
    /// Of its store.
    pub condition: Condition,
    /// Batches sent.
    pub batches: AtomicU64,
    /// Batches that had to be sent again, whole or in part.
    pub retries: AtomicU64,
    /// Batches that were split because the store refused them as a whole, or was too slow for them.
    pub splits: AtomicU64,
    /// Bytes of memory in ring, backlog and in hand.
    pub held_bytes: AtomicU64,
    /// Times that the terms did not say what was found to wait.
    pub miscounts: AtomicU64,
}

impl Lane {
    /// A lane for a sink.
    pub fn new(name: &str, kind: &'static str, ring: Ring, when_full: WhenFull) -> Self {
        Lane {
            name: name.into(),
            kind,
            ring,
            ledger: Ledger::default(),
            health: Health::default(),
            letters: Arc::default(),
            when_full,
            feed: Mutex::default(),
            losses: Seldom::default(),
        }
    }

    /// The journal is open, and this was `found` of the sink; `last` is its last entry. What came before is in memory.
    pub(super) fn take_over(&self, found: &journal::Lane, last: u64) {
        let past = Past::new(found);
        let plan = Plan::new(&self.name, &found.cursor);
        let mut feed = self.feed();
        self.ledger.add(&past.terms);
        feed.take_over(past, plan, last);
        drop(feed);
        self.ring.wake();
    }

    /// How far it has got in the journal. Dispatch holds it while a chunk goes to this sink.
    pub(super) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a chunk is for this sink.
    pub fn takes(&self, chunk: &Chunk) -> bool {
        chunk.target().is_none_or(|sink| *sink == *self.name)
    }

    /// Whether `chunks` of `bytes` find room in the ring, and nothing earlier waits in the journal only.
    pub(super) fn has_room(&self, chunks: usize, bytes: usize) -> bool {
        self.feed().behind().is_none() && self.ring.has_room(chunks, bytes)
    }

    /// Puts a chunk where `place` says, and counts it. `feed` is this lane's.
    pub(super) fn place(&self, feed: &mut Feed, chunk: &Arc<Chunk>, part: Option<&Part>, place: Place) {
        let records = chunk.len();
        let parcel = || Parcel { chunk: Arc::clone(chunk), part: part.cloned() };
        // Counted first: the drain may decide the records before `push` returns.
        match place {
            Place::Lost(why) => self.ledger.refuse(records, why),
            Place::Journal | Place::Memory => {
                self.ledger.accept(records);
                feed.pass(chunk.position().sequence);
            }
        }
        let why = match place {
            Place::Lost(why) => why,
            Place::Journal => {
                let has_room = feed.behind().is_none() && self.ring.has_room(1, chunk.memory());
                let waits = if has_room { self.ring.push(parcel()).err() } else { Some(parcel()) };
                if waits.is_some_and(|parcel| feed.wait(parcel)) {
                    self.ring.wake();
                }
                return;
            }
            Place::Memory if self.ring.push(parcel()).is_ok() => return,
            Place::Memory => {
                self.ledger.give_up(records, self.full());
                self.full()
            }
        };
        self.lose(records, part, why);
    }

    /// The entries up to `last` are removed from the journal, of which these can be read. Gives the number of records that
    /// this sink loses.
    pub(super) fn remove(&self, heads: &[Head], last: u64, why: journal::Why) -> u64 {
        let why = Drop::from(why);
        let mut feed = self.feed();
        let (lost, parts) = feed.remove(heads, last);
        self.ledger.give_up(lost as usize, why);
        drop(feed);
        for part in parts {
            part.settle(Some(self.loss(Why::Dropped(why))));
        }
        self.ring.wake();
        lost
    }

    /// Why a full ring is full.
    pub(super) fn full(&self) -> Drop {
        if self.ring.is_backlog_full() { Drop::BacklogFull } else { Drop::RingFull }
    }

    /// What those are told who wait for records that were lost here.
    pub(super) fn loss(&self, why: Why) -> Loss {
        Loss { sink: Arc::clone(&self.name), why }
    }

    /// Whether the terms add up, and so many records wait as were `found`. If not it is counted, and told to the log.
    pub(super) fn check(&self, terms: &Terms, found: u64) -> bool {
        let adds_up = terms.waiting == found && terms.balance();
        if !adds_up {
            Health::count(&self.health.miscounts);
            error!(sink = &*self.name, found, ?terms, "the terms of this sink do not add up");
        }
        adds_up
    }

    /// Says that records were lost, to the log and to who waits.
    fn lose(&self, records: usize, part: Option<&Part>, why: Drop) {
        if let Some(unsaid) = self.losses.tick() {
            warn!(sink = &*self.name, records, reason = why.code(), unsaid, "records dropped");
        }
        if let Some(part) = part {
            part.settle(Some(self.loss(Why::Dropped(why))));
        }
    }
}

impl Health {
    /// One more.
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;
    use tracing::subscriber;
    use tracing_subscriber::fmt;

    use super::super::drain;
    use super::*;

    #[test]
    fn terms_that_do_not_add_up_are_counted_and_told() {
        let ring = Ring::new(1 << 20, drain::Config::default().batch_size(), Arc::new(Notify::new()));
        let lane = Lane::new("store", "test", ring, WhenFull::Wait);
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = fmt().with_ansi(false).with_writer(Mutex::new(log.reopen().unwrap())).finish();
        let sound = Terms { accepted: 5, delivered: 2, waiting: 3, ..Terms::default() };
        let lost = Terms { accepted: 6, ..sound.clone() };
        let found = subscriber::with_default(subscriber, || {
            [(&sound, 3), (&sound, 2), (&lost, 3)].map(|(terms, found)| lane.check(terms, found))
        });
        assert_eq!(found, [true, false, false]);
        assert_eq!(lane.health.miscounts.load(Ordering::Relaxed), 2);
        let log = std::fs::read_to_string(log.path()).unwrap();
        let told: Vec<_> =
            log.lines().filter(|line| line.contains("ERROR") && line.contains("store")).collect();
        assert_eq!(told.len(), 2, "{log}");
    }
}
