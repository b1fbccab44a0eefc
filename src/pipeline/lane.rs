//! What dispatch and the drain share of one sink: its ring, its terms, its health.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tracing::warn;

use super::ledger::{Drop, Ledger};
use super::letter::Counters;
use super::receipt::{Loss, Receipt, Why};
use super::ring::{Parcel, Ring};
use crate::record::Chunk;
use crate::status::State;
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
    losses: Seldom,
}

/// How a sink stands.
#[derive(Debug, Default)]
pub struct Health {
    now: Mutex<(State, Option<String>)>,
    /// Batches sent.
    pub batches: AtomicU64,
    /// Batches that had to be sent again, whole or in part.
    pub retries: AtomicU64,
    /// Batches that were split because the store refused them as a whole.
    pub splits: AtomicU64,
    /// Bytes of memory in ring, backlog and in hand.
    pub held_bytes: AtomicU64,
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
            losses: Seldom::default(),
        }
    }

    /// Whether a chunk is for this sink.
    pub fn takes(&self, chunk: &Chunk) -> bool {
        chunk.target().is_none_or(|sink| *sink == *self.name)
    }

    /// Puts a chunk into the ring, or counts it as dropped if there is a reason why.
    pub(super) fn place(&self, chunk: &Arc<Chunk>, receipt: Option<&Receipt>, why: Option<Drop>) {
        if let Some(receipt) = receipt {
            receipt.expect();
        }
        let records = chunk.len();
        if let Some(why) = why {
            self.ledger.refuse(records, why);
            return self.lose(records, receipt, why);
        }
        // Counted first: the drain may decide the records before `push` returns.
        self.ledger.accept(records);
        let parcel = Parcel { chunk: Arc::clone(chunk), receipt: receipt.cloned() };
        if self.ring.push(parcel).is_err() {
            self.ledger.give_up(records, self.full());
            self.lose(records, receipt, self.full());
        }
    }

    /// Why a full ring is full.
    pub(super) fn full(&self) -> Drop {
        if self.ring.is_backlog_full() { Drop::BacklogFull } else { Drop::RingFull }
    }

    /// What those are told who wait for records that were lost here.
    pub(super) fn loss(&self, why: Why) -> Loss {
        Loss { sink: Arc::clone(&self.name), why }
    }

    /// Says that records were lost, to the log and to who waits.
    fn lose(&self, records: usize, receipt: Option<&Receipt>, why: Drop) {
        if let Some(unsaid) = self.losses.tick() {
            warn!(sink = &*self.name, records, reason = why.code(), unsaid, "records dropped");
        }
        if let Some(receipt) = receipt {
            receipt.settle(Some(self.loss(Why::Dropped(why))));
        }
    }
}

impl Health {
    /// State and last error.
    pub fn get(&self) -> (State, Option<String>) {
        self.lock().clone()
    }

    /// A new state. The last error stays until there is another.
    pub fn set(&self, state: State) {
        self.lock().0 = state;
    }

    /// Something went wrong.
    pub fn fail(&self, state: State, error: String) {
        *self.lock() = (state, Some(error));
    }

    /// One more.
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, (State, Option<String>)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
