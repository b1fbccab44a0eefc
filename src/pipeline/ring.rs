//! The bounded lock-free queue of chunks in front of one sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::receipt::Part;
use crate::record::Chunk;

/// Chunks that a ring holds at most, whatever their size: 100 lone datagrams a second fill it in 40 seconds, and
/// its drain takes them off long before.
pub const SLOTS: usize = 4096;

/// A chunk and who waits for it.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The records.
    pub chunk: Arc<Chunk>,
    /// Settled by whoever decides the last of them.
    pub part: Option<Part>,
}

/// What fills a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchSize {
    /// Records.
    pub records: usize,
    /// Bytes of lines.
    pub bytes: usize,
}

/// A ring. Dispatch pushes, one at a time; the drain of the sink pops.
///
/// A push wakes the drain only when there is something to do: the first chunk (it starts the flush timer), a batch
/// that is full, or a ring that is half full.
#[derive(Debug)]
pub struct Ring {
    queue: ArrayQueue<Parcel>,
    bytes: AtomicUsize,
    records: AtomicUsize,
    line_bytes: AtomicUsize,
    max_bytes: usize,
    batch: BatchSize,
    /// Somebody waits for a receipt: flush now. Set here, taken by the drain.
    urgent: AtomicBool,
    /// The drain's backlog is full: why a full ring is full.
    backlog_full: AtomicBool,
    work: Notify,
    /// Shared by the rings of a dispatch: rung when there is room again.
    room: Arc<Notify>,
}

impl Ring {
    /// One that holds chunks of `max_bytes` in memory, and wakes its drain when there is a `batch`.
    pub fn new(max_bytes: usize, batch: BatchSize, room: Arc<Notify>) -> Self {
        Ring {
            queue: ArrayQueue::new(SLOTS),
            bytes: AtomicUsize::new(0),
            records: AtomicUsize::new(0),
            max_bytes,
            line_bytes: AtomicUsize::new(0),
            batch,
            urgent: AtomicBool::new(false),
            backlog_full: AtomicBool::new(false),
            work: Notify::new(),
            room,
        }
    }

    /// Whether `chunks` of `bytes` find a place. An empty ring takes any.
    pub fn has_room(&self, chunks: usize, bytes: usize) -> bool {
        let used = self.bytes.load(Ordering::Acquire);
        self.queue.len() + chunks <= SLOTS && (used == 0 || used + bytes <= self.max_bytes)
    }

    /// Puts a parcel in, or gives it back if every slot is taken.
    pub fn push(&self, parcel: Parcel) -> Result<(), Parcel> {
        let bytes = parcel.chunk.memory();
        let records = parcel.chunk.len();
        let lines = parcel.chunk.bytes().len();
        // Counted before it can be popped, so that no count ever goes below nothing. Records first: by them the drain
        // knows that something is to come, also between these lines.
        let before = self.records.fetch_add(records, Ordering::AcqRel);
        let waiting_lines = self.line_bytes.fetch_add(lines, Ordering::AcqRel) + lines;
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if let Err(parcel) = self.queue.push(parcel) {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.line_bytes.fetch_sub(lines, Ordering::AcqRel);
            self.records.fetch_sub(records, Ordering::AcqRel);
            return Err(parcel);
        }
        let fills_batch = before + records >= self.batch.records || waiting_lines >= self.batch.bytes;
        if before == 0 || fills_batch || self.is_pressed() {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest parcel.
    pub fn pop(&self) -> Option<Parcel> {
        let parcel = self.queue.pop()?;
        self.bytes.fetch_sub(parcel.chunk.memory(), Ordering::AcqRel);
        self.line_bytes.fetch_sub(parcel.chunk.bytes().len(), Ordering::AcqRel);
        self.records.fetch_sub(parcel.chunk.len(), Ordering::AcqRel);
        self.room.notify_waiters();
        Some(parcel)
    }

    /// Records in it.
    pub fn records(&self) -> usize {
        self.records.load(Ordering::Acquire)
    }

    /// Bytes of lines in it.
    pub fn line_bytes(&self) -> usize {
        self.line_bytes.load(Ordering::Acquire)
    }

    /// Bytes of memory in it.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether it is at least half full.
    pub fn is_pressed(&self) -> bool {
        self.queue.len() * 2 >= SLOTS || self.bytes() * 2 >= self.max_bytes
    }

    /// Chunks may come again, though none was taken off: who waits for room looks.
    pub fn open(&self) {
        self.room.notify_waiters();
    }

    /// There is something to do for the drain, though nothing new is in the ring.
    pub fn wake(&self) {
        self.work.notify_one();
    }

    /// Somebody began to wait for what is in it.
    pub fn hurry(&self) {
        self.urgent.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// There was no place for all of it: the drain is to come back in a hurry when there is.
    pub fn hurry_again(&self) {
        self.urgent.store(true, Ordering::Release);
    }

    /// Whether somebody waits; asked once by the drain for each time.
    pub fn take_urgent(&self) -> bool {
        self.urgent.swap(false, Ordering::AcqRel)
    }

    /// The drain says whether its backlog is full.
    pub fn set_backlog_full(&self, full: bool) {
        self.backlog_full.store(full, Ordering::Release);
    }

    /// Whether a full ring is due to a full backlog.
    pub fn is_backlog_full(&self) -> bool {
        self.backlog_full.load(Ordering::Acquire)
    }

    /// Wakes when the drain has something to do.
    pub async fn work(&self) {
        self.work.notified().await;
    }
}
