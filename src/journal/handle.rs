//! What the daemon holds of the running journal.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use tokio::sync::{Notify, watch};

use super::config::Config;
use super::counters::Counters;
use super::cursor::Cursor;
use super::entry::{Entry, Head};
use super::error::OpenError;
use super::files::Files;
use super::known::Message;
use super::log::{Log, OrphanQueue, Recovery, Settings};
use super::read::{Block, Reader};
use super::unheld::Unheld;
use super::writer::{Taken, Writer};
use crate::record::Chunk;

/// Bytes of memory that chunks may hold which wait to be written: what comes in while the disk syncs.
const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of memory that the journal may hold: what waits, and as much that is being written.
pub const MEMORY: usize = 2 * QUEUE_BYTES;

/// Chunks wait so long for others before they are written, unless somebody waits for them: to wake the thread costs as
/// much as to write some of them.
const LINGER: Duration = Duration::from_millis(10);
/// With so many bytes of memory waiting they are written at once.
const GROUP_BYTES: usize = 2 << 20;

/// Messages that brokers have confirmed wait for the thread to be awake anyway, but no more of them.
const CONFIRMED: usize = 4096;
/// Nor does memory hold more of them than this.
const MOST_CONFIRMED: usize = 4 * CONFIRMED;
/// A message that its broker has not confirmed is known for so long after it was received, if the daemon was restarted
/// since. Brokers deliver again within hours, but an outage may last for days.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that is there as long as a daemon has the journal: found at the start, it says that one was killed.
pub(super) const RUNNING: &str = "running";

/// Is told that a chunk is on disk.
pub trait Durable: Send + Sync + fmt::Debug {
    /// It is.
    fn durable(&self);
}

/// Is told that a segment is removed although sinks have not passed it.
pub trait Removed: Send + Sync {
    /// These entries go, because of the journal's size or age. Gives the number of records that are lost with them.
    fn removed(&self, heads: &[Head], why: Why) -> u64;
}

/// Why a segment is removed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `max_size`.
    Size,
    /// `max_age`.
    Age,
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

/// The running journal.
pub struct Journal {
    path: String,
    first: u64,
    queue: Mutex<Queue>,
    work: Condvar,
    /// Entries up to this one were written, or never will be.
    passed: watch::Sender<u64>,
    /// Rung when it takes chunks again.
    room: Arc<Notify>,
    reader: Box<dyn Fn(u64) -> Box<dyn Read> + Send + Sync>,
    counters: Counters,
    /// The queues whose messages are known again, each with those of earlier runs until its intake takes them.
    queues: Vec<(Arc<str>, Mutex<Vec<Message>>)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whether it takes chunks.
    pub room: Room,
    /// What kept it from writing last; stays.
    pub last_error: Option<String>,
    /// Bytes of all segments.
    pub size: u64,
    /// First and last sequence number of those that are closed, ascending.
    pub closed: Vec<(u64, u64)>,
    /// The highest sequence number that is on disk for sure.
    pub durable: u64,
}

struct Queue {
    entries: Vec<Entry>,
    waiters: Vec<(u64, Arc<dyn Durable>)>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// Until when the thread that writes looks by itself whether something came.
    looks_until: Option<Instant>,
    /// It does not, and has to be woken.
    is_asleep: bool,
    /// Sync now.
    is_hurried: bool,
    /// What sinks have decided since it was made durable last, by their place.
    cursors: Vec<Option<Cursor>>,
    has_cursors: bool,
    /// Messages that brokers have confirmed, each with the place of its queue.
    confirmed: Vec<(usize, Box<str>)>,
    is_ending: bool,
    unheld: Unheld,
    is_full: bool,
    is_away: bool,
    view: View,
}

impl Journal {
    /// Opens the journal in `files` for the sinks `names`, and the `queues` whose messages are to be known again. `room` is
    /// rung when it takes chunks again. No chunk is written before [`Begun::start`].
    pub fn open<F: Files>(
        config: &Config,
        files: F,
        names: &[Arc<str>],
        queues: &[Arc<str>],
        room: Arc<Notify>,
    ) -> Result<(Begun<F>, Recovery), OpenError> {
        let io = |error| OpenError::Io { what: RUNNING.to_owned(), error };
        let was_running = files.list().map_err(io)?.iter().any(|name| name == RUNNING);
        let sinks: Vec<_> = names.iter().map(|name| (&**name, config.new_sinks)).collect();
        let settings = Settings { segment_size: config.segment_bytes() };
        let own: Vec<_> = queues.iter().map(|queue| &**queue).collect();
        let (mut log, mut recovery) = Log::open(files, settings, &sinks, &own)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        recovery.forgotten_messages += log.expire_known(now.saturating_sub(KNOWN_FOR).as_nanos() as i64);
        // One that left nothing behind is not worth a word.
        let is_empty = |queue: &mut OrphanQueue| queue.messages == 0;
        for queue in recovery.orphan_queues.extract_if(.., is_empty) {
            log.forget_queue(&queue.name).map_err(io)?;
        }
        let extent = log.extent();
        if !was_running {
            extent.files.create(RUNNING).map_err(io)?;
        }
        let counters = Counters::default();
        counters.corrupt_entries.set(recovery.corrupt_entries);
        counters.corrupt_bytes.set(recovery.corrupt_bytes);
        counters.unread_segments.set(recovery.unread_segments);
        counters.torn_bytes.set(recovery.torn_bytes);
        let view = View {
            room: Room::Yes,
            last_error: None,
            size: log.size(),
            closed: closed(&log),
            durable: log.durable(),
        };
        let known = |(queue, place): (&Arc<str>, usize)| (Arc::clone(queue), Mutex::new(log.known(place)));
        let journal = Arc::new(Journal {
            path: config.path.display().to_string(),
            first: recovery.last + 1,
            queue: Mutex::new(Queue {
                entries: Vec::new(),
                waiters: Vec::new(),
                bytes: 0,
                since: None,
                looks_until: None,
                is_asleep: true,
                is_hurried: false,
                cursors: vec![None; names.len()],
                has_cursors: false,
                confirmed: Vec::new(),
                is_ending: false,
                unheld: Unheld::default(),
                is_full: log.size() >= config.max_size.bytes(),
                is_away: false,
                view,
            }),
            work: Condvar::new(),
            passed: watch::Sender::new(recovery.last),
            room,
            reader: Box::new(move |from| Box::new(Reader::new(Arc::clone(&extent), from))),
            counters,
            queues: queues.iter().zip(0..).map(known).collect(),
            thread: Mutex::new(None),
        });
        let needed = recovery.lanes.iter().map(|lane| lane.cursor.lowest()).collect();
        let begun =
            Begun { journal, was_running, config: config.clone(), names: names.to_vec(), log, needed };
        Ok((begun, recovery))
    }

    /// The folder of its files, for people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The sequence number of the first chunk from now on: above all that were ever seen.
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
    pub fn put(&self, chunk: Arc<Chunk>, waiter: Option<Arc<dyn Durable>>, carries: Option<u64>) {
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
        !self.lock().unheld.has(sequence)
    }

    /// What the sink at `place` has decided; it is durable about a second later.
    pub fn set_cursor(&self, place: usize, cursor: Cursor) {
        let mut queue = self.lock();
        queue.cursors[place] = Some(cursor);
        queue.has_cursors = true;
        drop(queue);
        self.work.notify_one();
    }

    /// The messages of a queue that an earlier run has taken and its broker may deliver again; told once.
    pub fn take_known(&self, queue: &str) -> Vec<Message> {
        let found = self.queues.iter().find(|(name, _)| **name == *queue);
        found.map_or_else(Vec::new, |(_, known)| {
            std::mem::take(&mut known.lock().unwrap_or_else(PoisonError::into_inner))
        })
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

    /// Reads from the entry `from` on.
    pub fn reader(&self, from: u64) -> Box<dyn Read> {
        (self.reader)(from)
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

    /// Waits until there is something to write, or to do by `due`.
    pub(super) fn wait(&self, due: Option<Instant>) -> Taken {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            if queue.since.is_none() {
                queue.looks_until = queue.looks_until.filter(|until| *until > now);
            }
            let write_due =
                [queue.since.map(|since| since + LINGER), queue.looks_until].into_iter().flatten().min();
            let due = [due, write_due].into_iter().flatten().min();
            let left = due.map(|due| due.saturating_duration_since(now));
            let is_due = left.is_some_and(|left| left.is_zero())
                || queue.bytes >= GROUP_BYTES
                || queue.confirmed.len() >= CONFIRMED;
            if queue.is_hurried || queue.has_cursors || queue.is_ending || is_due {
                break;
            }
            // Else it comes by itself, soon enough for whatever is put meanwhile.
            queue.is_asleep = write_due.is_none();
            queue = match left {
                None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        self.take(queue)
    }

    /// What sinks have decided, and all that was put before.
    pub(super) fn take_round(&self) -> (Taken, Vec<Option<Cursor>>) {
        let mut queue = self.lock();
        let cursors = queue.cursors.iter_mut().map(Option::take).collect();
        (self.take(queue), cursors)
    }

    fn take(&self, mut queue: MutexGuard<'_, Queue>) -> Taken {
        let was_empty = queue.entries.is_empty();
        (queue.bytes, queue.since) = (0, None);
        if !was_empty {
            queue.looks_until = Some(Instant::now() + LINGER);
        }
        let taken = Taken {
            entries: std::mem::take(&mut queue.entries),
            waiters: std::mem::take(&mut queue.waiters),
            confirmed: std::mem::take(&mut queue.confirmed),
            is_hurried: std::mem::take(&mut queue.is_hurried),
            is_ending: queue.is_ending,
            has_cursors: std::mem::take(&mut queue.has_cursors),
        };
        drop(queue);
        if !was_empty {
            self.room.notify_waiters();
        }
        taken
    }

    pub(super) fn set_passed(&self, sequence: u64) {
        self.passed.send_replace(sequence);
    }

    /// A cursor that could not be stored, for the next round, unless there is a later one by then.
    pub(super) fn give_back(&self, place: usize, cursor: Cursor) {
        self.lock().cursors[place].get_or_insert(cursor);
    }

    /// From the chunk `first` on nothing is on disk.
    pub(super) fn go_away(&self, first: u64, error: String) {
        let mut queue = self.lock();
        queue.is_away = true;
        queue.unheld.begin(first);
        queue.view.last_error = Some(error);
        drop(queue);
        self.room.notify_waiters();
    }

    pub(super) fn come_back(&self) {
        self.lock().is_away = false;
        self.room.notify_waiters();
    }

    pub(super) fn set_full(&self, is_full: bool) {
        let was_full = std::mem::replace(&mut self.lock().is_full, is_full);
        if was_full && !is_full {
            self.room.notify_waiters();
        }
    }

    pub(super) fn set_view(&self, size: u64, durable: u64) {
        let view = &mut self.lock().view;
        (view.size, view.durable) = (size, durable);
    }

    pub(super) fn set_closed<F: Files>(&self, log: &Log<F>) {
        self.lock().view.closed = closed(log);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// First and last sequence number of the segments that nothing is written to any more.
fn closed<F: Files>(log: &Log<F>) -> Vec<(u64, u64)> {
    let segments = log.segments();
    let closed = &segments[..segments.len().saturating_sub(1)];
    closed.iter().map(|segment| (segment.first, segment.last)).collect()
}

impl Queue {
    fn room(&self) -> Room {
        match (self.is_away, self.is_full) {
            (true, _) => Room::Away,
            (false, true) => Room::Full,
            (false, false) => Room::Yes,
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("view", &self.view()).finish_non_exhaustive()
    }
}

/// A journal that is open, and not written yet.
pub struct Begun<F: Files> {
    /// Can be handed out already.
    pub journal: Arc<Journal>,
    /// The daemon that had it last did not end in order.
    pub was_running: bool,
    config: Config,
    names: Vec<Arc<str>>,
    log: Log<F>,
    needed: Vec<u64>,
}

impl<F: Files> Begun<F> {
    /// Starts the thread that writes. `removed` is told of segments that go early.
    pub fn start(self, removed: Arc<dyn Removed>) -> io::Result<()> {
        let Begun { journal, config, names, log, needed, .. } = self;
        let writer = Writer {
            journal: Arc::clone(&journal),
            config,
            names,
            log,
            removed,
            waiters: std::collections::VecDeque::new(),
            unsynced: None,
            needed,
            // Segments that were done with at the last end go now.
            round_due: Some(Instant::now()),
            retry: None,
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(|| writer.run())?;
        *journal.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}
