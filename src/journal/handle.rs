//! What the daemon holds of the running journal.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::config::Config;
use super::counters::Counters;
use super::cursor::Cursor;
use super::entry::Entry;
use super::files::Files;
use super::known::Message;
use super::read::{Block, Reader};
use super::waiting::{CONFIRMED, GROUP_BYTES, MOST_CONFIRMED, QUEUE_BYTES, Queue};
use crate::record::Chunk;

/// Bytes of memory that the journal may hold: what waits, and as much that is being written.
pub const MEMORY: usize = 2 * QUEUE_BYTES;

/// Is told that a chunk is on disk, or dropped, where it never will be.
pub trait Durable: Send + Sync + fmt::Debug {
    /// It is.
    fn durable(self: Box<Self>);
}

/// Reads the journal on a blocking thread; see [`Reader`].
pub trait Read: Send + Sync {
    /// See [`Reader::read`].
    fn read(&mut self, max_bytes: usize) -> io::Result<Block>;

    /// See [`Reader::skip_segment`].
    fn skip_segment(&mut self);
}

impl<F: Files> Read for Reader<F> {
    fn read(&mut self, max_bytes: usize) -> io::Result<Block> {
        Reader::read(self, max_bytes)
    }

    fn skip_segment(&mut self) {
        Reader::skip_segment(self);
    }
}

/// Has nothing to read.
struct Empty;

impl Read for Empty {
    fn read(&mut self, _: usize) -> io::Result<Block> {
        Ok(Block { is_end: true, ..Block::default() })
    }

    fn skip_segment(&mut self) {}
}

/// How far a sink has come, as it tells.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its cursor.
    pub cursor: Cursor,
    /// The last entry that it was told is removed: of all up to there the cursor counts every record, or lists it.
    pub gone: u64,
}

/// Whether the journal takes chunks now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Yes,
    /// It is at `max_size`, or the disk is slower than what comes in: later.
    Full,
    /// The disk is in trouble: what comes in is in memory only.
    Away,
}

/// The running journal. Until it is open it takes no chunks.
pub struct Journal {
    path: String,
    first: u64,
    pub(super) queue: Mutex<Queue>,
    pub(super) work: Condvar,
    /// Entries up to this one were written, or never will be.
    pub(super) passed: watch::Sender<u64>,
    /// Rung when it takes chunks again.
    pub(super) room: Arc<Notify>,
    /// Empty until it is open.
    pub(super) reader: OnceLock<MakeReader>,
    counters: Counters,
    /// The queues whose messages are known again, each with those of earlier runs until its intake takes them; none until
    /// it is open.
    pub(super) queues: Vec<(Arc<str>, Earlier)>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

/// Messages of earlier runs.
type Earlier = Mutex<Option<Vec<Message>>>;
pub(super) type MakeReader = Box<dyn Fn(u64) -> Box<dyn Read> + Send + Sync>;

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whether it takes chunks.
    pub room: Room,
    /// Whether it was opened: if not, nothing of an earlier run is known.
    pub is_open: bool,
    /// What kept it from writing last; stays.
    pub last_error: Option<String>,
    /// Bytes of all segments.
    pub size: u64,
    /// First and last sequence number of those that are closed, ascending.
    pub closed: Vec<(u64, u64)>,
    /// The highest sequence number that is on disk for sure.
    pub durable: u64,
}

impl Journal {
    /// One that is not open yet, whose first chunk has the number `first`.
    pub(super) fn new(
        config: &Config,
        first: u64,
        sinks: usize,
        queues: &[Arc<str>],
        room: Arc<Notify>,
    ) -> Journal {
        Journal {
            path: config.path.display().to_string(),
            first,
            queue: Mutex::new(Queue::new(first, sinks)),
            work: Condvar::new(),
            passed: watch::Sender::new(0),
            room,
            reader: OnceLock::new(),
            counters: Counters::default(),
            queues: queues.iter().map(|queue| (Arc::clone(queue), Mutex::default())).collect(),
            thread: Mutex::default(),
        }
    }

    /// The folder of its files, for people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The sequence number of the first chunk of this run: above all that were ever seen.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether it takes chunks of so many bytes of memory now.
    pub fn room(&self, bytes: usize) -> Room {
        let queue = self.lock();
        match queue.room() {
            Room::Yes if queue.bytes > 0 && queue.bytes + bytes > QUEUE_BYTES => Room::Full,
            room => room,
        }
    }

    /// Whether it takes so many bytes of memory that are carried, also at `max_size`: they let segments go.
    pub fn takes_carried(&self, bytes: usize) -> bool {
        let queue = self.lock();
        !queue.is_away && (queue.bytes == 0 || queue.bytes + bytes <= QUEUE_BYTES)
    }

    /// Whether reports that come now will be on disk.
    pub fn is_working(&self) -> bool {
        !self.lock().is_away
    }

    /// Takes a chunk, which has its place. Dispatch has asked for room, and calls this in the order of the places.
    pub fn put(&self, chunk: Arc<Chunk>, waiter: Option<Box<dyn Durable>>, carries: Option<u64>) {
        let mut queue = self.lock();
        let sequence = chunk.position().sequence;
        // The disk may have failed since there was room: then this is written no more than what came before it.
        if !queue.is_away {
            queue.unheld.end(sequence);
        }
        let before = queue.bytes;
        queue.bytes += chunk.memory();
        let is_asleep = std::mem::take(&mut queue.is_asleep);
        let is_worth_waking = is_asleep || before < GROUP_BYTES && queue.bytes >= GROUP_BYTES;
        queue.since.get_or_insert_with(Instant::now);
        queue.waiters.extend(waiter.map(|waiter| (sequence, waiter)));
        queue.entries.push(Entry { chunk, carries });
        self.counters.carried.add(u64::from(carries.is_some()));
        drop(queue);
        if is_worth_waking {
            self.work.notify_one();
        }
    }

    /// Somebody waits for what was put: it is synced now.
    pub fn hurry(&self) {
        self.lock().is_hurried = true;
        self.work.notify_one();
    }

    /// Whether a chunk that was dispatched is on disk, or will be.
    pub fn holds(&self, sequence: u64) -> bool {
        let queue = self.lock();
        sequence > queue.gone && !queue.unheld.has(sequence)
    }

    /// What the sink at `place` has decided; it is durable about a second later.
    pub fn set_cursor(&self, place: usize, told: Told) {
        let mut queue = self.lock();
        queue.cursors[place] = Some(told);
        queue.has_cursors = true;
        drop(queue);
        self.work.notify_one();
    }

    /// The messages of a queue that an earlier run has taken and its broker may deliver again; told once. None: the journal
    /// is not open yet.
    pub fn take_known(&self, queue: &str) -> Option<Vec<Message>> {
        let found = self.queues.iter().find(|(name, _)| **name == *queue);
        found.map_or_else(
            || Some(Vec::new()),
            |(_, known)| known.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(std::mem::take),
        )
    }

    /// The broker of a queue will not deliver this message again.
    pub fn forget(&self, queue: &str, id: &str) {
        let Some(place) = self.queues.iter().position(|(name, _)| **name == *queue) else { return };
        let mut waiting = self.lock();
        // A disk that hangs: the message stays known, which is harmless.
        if waiting.confirmed.len() >= MOST_CONFIRMED {
            return;
        }
        waiting.confirmed.push((place, id.into()));
        let is_worth_waking = waiting.confirmed.len() == CONFIRMED;
        drop(waiting);
        if is_worth_waking {
            self.work.notify_one();
        }
    }

    /// Reads from the entry `from` on; nothing, of one that is not open.
    pub fn reader(&self, from: u64) -> Box<dyn Read> {
        self.reader.get().map_or_else(|| Box::new(Empty) as Box<dyn Read>, |reader| reader(from))
    }

    /// Tells how far entries were written, or never will be.
    pub fn passed(&self) -> watch::Receiver<u64> {
        self.passed.subscribe()
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How it stands.
    pub fn view(&self) -> View {
        let queue = self.lock();
        View { room: queue.room(), ..queue.view.clone() }
    }

    /// Writes what is left, and returns when all is on disk, or cannot be. Nothing is to be put any more. It may block.
    pub fn end(&self) {
        self.lock().is_ending = true;
        self.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was told when it happened.
        let _ended = thread.map(JoinHandle::join);
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("view", &self.view()).finish_non_exhaustive()
    }
}
