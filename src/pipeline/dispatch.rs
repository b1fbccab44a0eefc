//! The one place where chunks reach rings: every source's chunks, in one order, to every sink.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::feed::Place;
use super::lane::{Lane, WhenFull};
use super::ledger::Drop;
use super::receipt::{Part, Receipt};
use crate::journal::{self, Head, Journal, Recovery, Room};
use crate::record::{Chunk, Position};

/// Gives chunks to the journal and to lanes.
#[derive(Debug)]
pub struct Dispatch {
    lanes: Vec<Arc<Lane>>,
    /// Keeps every chunk on disk; none: rings and backlogs are all there is.
    journal: Option<Arc<Journal>>,
    /// Held while chunks go to the rings, so that all get them in one order.
    order: Mutex<Order>,
    /// Held by the one stream that waits for room; the others queue for it, first come first served.
    gate: tokio::sync::Mutex<()>,
    /// Rung by every pop of a ring, and by the journal when it takes chunks again.
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
            journal: None,
            order: Mutex::new(Order {
                next: Position { sequence: 1, bytes_before: start },
                phase: Phase::Open,
            }),
            gate: tokio::sync::Mutex::new(()),
            room,
        }
    }

    /// The same dispatch, with a journal in front of the lanes, which rings `room` as well.
    pub fn with_journal(mut self, journal: Arc<Journal>) -> Self {
        self.lock().next.sequence = journal.first();
        self.journal = Some(journal);
        self
    }

    /// The lanes, in the order of the config.
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// Where chunks are kept on disk.
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// Gives a chunk to the journal and to all lanes. Never waits: what finds no room is lost, counted. For datagrams.
    pub fn offer(&self, chunk: Chunk) {
        let mut order = self.lock();
        let chunk = order.number(chunk);
        let room = self.room(chunk.memory());
        self.give(&order, &[chunk], room, None);
    }

    /// Gives `chunks` to the journal, or, where there is none, to all lanes at once, as soon as every lane that stops
    /// streams has room for all of them. At the end it does not wait: what finds no room is counted as dropped. Nothing
    /// has happened if the future is dropped before it is done.
    pub async fn submit(&self, chunks: Vec<Chunk>, receipt: &Receipt) {
        if let Err((Closed, chunks)) = self.try_for_room(chunks, receipt).await {
            let mut order = self.lock();
            let chunks: Vec<_> = chunks.into_iter().map(|chunk| order.number(chunk)).collect();
            let room = self.room(chunks.iter().map(|chunk| chunk.memory()).sum());
            self.give(&order, &chunks, room, Some(receipt));
        }
    }

    /// As [`Dispatch::submit`], but at the end nothing is taken or counted that finds no room.
    pub async fn submit_whole(&self, chunks: Vec<Chunk>, receipt: &Receipt) -> Result<(), Closed> {
        self.try_for_room(chunks, receipt).await.map_err(|(closed, _)| closed)
    }

    /// Appends `chunk` to the journal for its target only: its records are those of the chunk `carries` that are still
    /// undecided there, and counted already. Gives its place; none: the journal takes nothing now.
    pub(super) fn carry(&self, chunk: Chunk, carries: u64) -> Option<u64> {
        let journal = self.journal.as_ref()?;
        let mut order = self.lock();
        if !journal.takes_carried(chunk.memory()) {
            return None;
        }
        let chunk = order.number(chunk);
        let sequence = chunk.position().sequence;
        journal.put(chunk, None, Some(carries));
        Some(sequence)
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

    /// Gives the chunks back if there is no room for all of them, or if it is closed.
    fn try_submit(&self, chunks: Vec<Chunk>, receipt: &Receipt) -> Result<(), (Phase, Vec<Chunk>)> {
        let mut order = self.lock();
        let bytes = chunks.iter().map(Chunk::memory).sum();
        let room = self.room(bytes);
        let is_full = match room {
            Some(Room::Yes) => false,
            Some(Room::Full) => true,
            Some(Room::Away) | None => self.lanes.iter().any(|lane| {
                lane.when_full == WhenFull::Wait
                    && chunks.iter().any(|chunk| lane.takes(chunk))
                    && !lane.has_room(chunks.len(), bytes)
            }),
        };
        if is_full || order.phase == Phase::Closed {
            return Err((order.phase, chunks));
        }
        let chunks: Vec<_> = chunks.into_iter().map(|chunk| order.number(chunk)).collect();
        self.give(&order, &chunks, room, Some(receipt));
        Ok(())
    }

    /// Somebody waits: the journal is synced now. Every sink flushes now too, though that is waited for only where there
    /// is no journal: who was answered finds in the stores what he sent.
    pub fn hurry(&self) {
        if let Some(journal) = &self.journal {
            journal.hurry();
        }
        for lane in &self.lanes {
            lane.ring.hurry();
        }
    }

    /// Receipts are waited for, but nobody looks into the stores: the journal is synced now. Only while it does not work the
    /// sinks flush now, else they go on to fill their batches.
    pub fn hurry_receipts(&self) {
        match &self.journal {
            Some(journal) if journal.is_working() => journal.hurry(),
            _ => self.hurry(),
        }
    }

    /// The end begins: streams that wait for a sink are let go, and what its ring has no room for is dropped there.
    pub fn end(&self) {
        self.lock().phase = Phase::Ending;
        self.room.notify_waiters();
    }

    /// The last step: what the journal holds goes to disk. Says whether it was done in time.
    pub async fn end_journal(&self, by: Instant) -> bool {
        let Some(journal) = self.journal.clone() else { return true };
        let end = tokio::task::spawn_blocking(move || journal.end());
        matches!(tokio::time::timeout_at(by, end).await, Ok(Ok(())))
    }

    /// Takes no more: what comes still is counted as dropped.
    pub fn close(&self) {
        self.lock().phase = Phase::Closed;
        self.room.notify_waiters();
    }

    /// Gives `chunks`, which came at once, to the journal, where it was found to have `room`, and then to every lane, whole
    /// or not at all.
    fn give(&self, order: &Order, chunks: &[Arc<Chunk>], room: Option<Room>, receipt: Option<&Receipt>) {
        let taken = |lane: &Lane| chunks.iter().filter(|chunk| lane.takes(chunk)).count();
        let memory =
            |lane: &Lane| chunks.iter().filter(|chunk| lane.takes(chunk)).map(|chunk| chunk.memory()).sum();
        let place = |lane: &Lane| match (order.phase, room) {
            (Phase::Closed, _) => Place::Lost(Drop::Shutdown),
            (_, Some(Room::Yes)) => Place::Journal,
            (Phase::Ending, Some(Room::Full)) => Place::Lost(Drop::Shutdown),
            (Phase::Open, Some(Room::Full)) => Place::Lost(Drop::JournalFull),
            (_, Some(Room::Away) | None) if lane.has_room(taken(lane), memory(lane)) => Place::Memory,
            (Phase::Ending, _) => Place::Lost(Drop::Shutdown),
            (Phase::Open, _) => Place::Lost(lane.full()),
        };
        let places: Vec<_> = self.lanes.iter().map(|lane| place(lane)).collect();
        if let (Some(journal), Some(Room::Away)) = (&self.journal, room) {
            journal.counters().not_written.add(chunks.len() as u64);
        }
        for chunk in chunks {
            let taken = self.lanes.iter().zip(&places).filter(|(lane, _)| lane.takes(chunk));
            // Held while the journal gets the chunk, so that no drain reads it, or says that it is past it, before it
            // is counted.
            let mut lanes: Vec<_> = taken.map(|(lane, place)| (lane, lane.feed(), *place)).collect();
            let part = receipt.map(|receipt| receipt.part(lanes.len()));
            if let Some(journal) = &self.journal
                && order.phase != Phase::Closed
                && room == Some(Room::Yes)
            {
                journal.put(Arc::clone(chunk), part.as_ref().map(Part::waiter), None);
            }
            for (lane, feed, place) in &mut lanes {
                lane.place(feed, chunk, part.as_ref(), *place);
            }
        }
    }

    /// Whether the journal takes chunks of so many bytes now; none: there is no journal.
    fn room(&self, bytes: usize) -> Option<Room> {
        self.journal.as_ref().map(|journal| journal.room(bytes))
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

impl journal::Followers for Dispatch {
    fn opened(&self, recovery: &Recovery, begin: &dyn Fn(u64)) {
        // Held throughout: what was dispatched before is in memory, and what comes from now on is behind the past.
        let order = self.lock();
        for (lane, found) in self.lanes.iter().zip(&recovery.lanes) {
            lane.take_over(found, recovery.last);
        }
        begin(order.next.sequence - 1);
    }

    fn removed(&self, heads: &[Head], last: u64, why: journal::Why) -> u64 {
        self.lanes.iter().map(|lane| lane.remove(heads, last, why)).sum()
    }
}
