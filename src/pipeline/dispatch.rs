//! The one place where chunks reach rings: every source's chunks, in one order, to every sink.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::lane::{Lane, WhenFull};
use super::ledger::Drop;
use super::receipt::Receipt;
use crate::record::{Chunk, Position};

/// Gives chunks to lanes.
#[derive(Debug)]
pub struct Dispatch {
    lanes: Vec<Arc<Lane>>,
    /// Held while chunks go to the rings, so that all get them in one order.
    order: Mutex<Order>,
    /// Held by the one stream that waits for room; the others queue for it, first come first served.
    gate: tokio::sync::Mutex<()>,
    /// Rung by every pop of a ring.
    room: Arc<Notify>,
}

#[derive(Debug)]
struct Order {
    /// The next chunk's place.
    next: Position,
    phase: Phase,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Streams wait for no sink any more.
    Ending,
    /// Nothing is taken.
    Closed,
}

/// The daemon is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is shutting down")]
pub struct Closed;

impl Dispatch {
    /// Dispatch to `lanes`, whose rings ring `room`.
    pub fn new(lanes: Vec<Arc<Lane>>, room: Arc<Notify>) -> Self {
        // Byte positions tell apart reports that name one instant, so they must not start over with the daemon:
        // they start at the clock's nanosecond, which no daemon outruns with bytes.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        Dispatch {
            lanes,
            order: Mutex::new(Order {
                next: Position { sequence: 0, bytes_before: start },
                phase: Phase::Open,
            }),
            gate: tokio::sync::Mutex::new(()),
            room,
        }
    }

    /// The lanes, in the order of the config.
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// Gives a chunk to all lanes that have room; the others lose it, counted. Never waits: for datagrams.
    pub fn offer(&self, chunk: Chunk) {
        let mut order = self.lock();
        let chunk = order.number(chunk);
        self.push_all(&order, &[chunk], None);
    }

    /// Gives `chunks` to all lanes at once, as soon as every lane that stops streams has room for all of them. At the
    /// end it does not wait: what finds no room is counted as dropped. Nothing has happened if the future is dropped
    /// before it is done.
    pub async fn submit(&self, chunks: Vec<Chunk>, receipt: &Receipt) {
        if let Err((Closed, chunks)) = self.try_for_room(chunks, receipt).await {
            let mut order = self.lock();
            let chunks: Vec<_> = chunks.into_iter().map(|chunk| order.number(chunk)).collect();
            self.push_all(&order, &chunks, Some(receipt));
        }
    }

    /// As [`Dispatch::submit`], but at the end nothing is taken or counted that finds no room.
    pub async fn submit_whole(&self, chunks: Vec<Chunk>, receipt: &Receipt) -> Result<(), Closed> {
        self.try_for_room(chunks, receipt).await.map_err(|(closed, _)| closed)
    }

    async fn try_for_room(&self, chunks: Vec<Chunk>, receipt: &Receipt) -> Result<(), (Closed, Vec<Chunk>)> {
        let Err((_, mut chunks)) = self.try_submit(chunks, receipt) else { return Ok(()) };
        let _gate = self.gate.lock().await;
        loop {
            // Asked for before looking, so that no pop between the look and the wait is missed.
            let room = self.room.notified();
            match self.try_submit(chunks, receipt) {
                Ok(()) => return Ok(()),
                Err((Phase::Open, back)) => chunks = back,
                Err((Phase::Ending | Phase::Closed, back)) => return Err((Closed, back)),
            }
            room.await;
        }
    }

    /// Gives the chunks back if a lane that stops streams has no room for all of them, or if it is closed.
    fn try_submit(&self, chunks: Vec<Chunk>, receipt: &Receipt) -> Result<(), (Phase, Vec<Chunk>)> {
        let mut order = self.lock();
        let bytes = chunks.iter().map(Chunk::memory).sum();
        let is_full = self.lanes.iter().any(|lane| {
            lane.when_full == WhenFull::Wait
                && chunks.iter().any(|chunk| lane.takes(chunk))
                && !lane.ring.has_room(chunks.len(), bytes)
        });
        if is_full || order.phase == Phase::Closed {
            return Err((order.phase, chunks));
        }
        let chunks: Vec<_> = chunks.into_iter().map(|chunk| order.number(chunk)).collect();
        self.push_all(&order, &chunks, Some(receipt));
        Ok(())
    }

    /// Somebody waits for a receipt: every sink flushes now.
    pub fn hurry(&self) {
        for lane in &self.lanes {
            lane.ring.hurry();
        }
    }

    /// The end begins: streams that wait for a sink are let go, and what its ring has no room for is dropped there.
    pub fn end(&self) {
        self.lock().phase = Phase::Ending;
        self.room.notify_waiters();
    }

    /// Takes no more: what comes still is counted as dropped.
    pub fn close(&self) {
        self.lock().phase = Phase::Closed;
        self.room.notify_waiters();
    }

    /// Gives `chunks`, which came at once, to every lane whole or not at all.
    fn push_all(&self, order: &Order, chunks: &[Arc<Chunk>], receipt: Option<&Receipt>) {
        for lane in &self.lanes {
            let taken = || chunks.iter().filter(|chunk| lane.takes(chunk));
            let has_room = || lane.ring.has_room(taken().count(), taken().map(|chunk| chunk.memory()).sum());
            let why = match order.phase {
                Phase::Closed => Some(Drop::Shutdown),
                _ if has_room() => None,
                Phase::Ending => Some(Drop::Shutdown),
                Phase::Open => Some(lane.full()),
            };
            for chunk in taken() {
                lane.place(chunk, receipt, why);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    /// Gives a chunk its place, which is its for good.
    fn number(&mut self, mut chunk: Chunk) -> Arc<Chunk> {
        chunk.set_position(self.next);
        self.next.sequence += 1;
        self.next.bytes_before += chunk.bytes().len() as u64;
        #[cfg(feature = "reread")]
        let chunk = super::reread::reread(chunk);
        Arc::new(chunk)
    }
}
