//! What waits for the thread that writes, and what that thread says of the journal.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::files::Files;
use super::handle::{Durable, Journal, Read, Room, Told, View};
use super::log::Log;
use super::read::Reader;
use super::unheld::Unheld;
use super::writer::Taken;

/// Bytes of memory that chunks may hold which wait to be written: what comes in while the disk syncs.
pub(super) const QUEUE_BYTES: usize = 8 << 20;
/// Chunks wait so long for others before they are written, unless somebody waits for them: to wake the thread costs as
/// much as to write some of them.
const LINGER: Duration = Duration::from_millis(10);
/// With so many bytes of memory waiting they are written at once.
pub(super) const GROUP_BYTES: usize = 2 << 20;

/// Messages that brokers have confirmed wait for the thread to be awake anyway, but no more of them.
pub(super) const CONFIRMED: usize = 4096;
/// Nor does memory hold more of them than this.
pub(super) const MOST_CONFIRMED: usize = 4 * CONFIRMED;

/// What waits, and how the journal stands.
pub(super) struct Queue {
    pub(super) entries: Vec<Entry>,
    pub(super) waiters: Vec<(u64, Box<dyn Durable>)>,
    pub(super) bytes: usize,
    /// When the first of them came.
    pub(super) since: Option<Instant>,
    /// Until when the thread that writes looks by itself whether something came.
    pub(super) looks_until: Option<Instant>,
    /// It does not, and has to be woken.
    pub(super) is_asleep: bool,
    /// Sync now.
    pub(super) is_hurried: bool,
    /// What sinks have decided since it was made durable last, by their place.
    pub(super) cursors: Vec<Option<Told>>,
    pub(super) has_cursors: bool,
    /// Messages that brokers have confirmed, each with the place of its queue.
    pub(super) confirmed: Vec<(usize, Box<str>)>,
    pub(super) is_ending: bool,
    pub(super) unheld: Unheld,
    /// Up to this entry all were removed.
    pub(super) gone: u64,
    pub(super) is_full: bool,
    pub(super) is_away: bool,
    pub(super) view: View,
}

impl Journal {
    /// Waits until then, or for the end, whatever else there is to do. Says whether it is the end.
    pub(super) fn pause(&self, until: Instant) -> bool {
        let queue = self.lock();
        let left = until.saturating_duration_since(Instant::now());
        let paused = self.work.wait_timeout_while(queue, left, |queue| !queue.is_ending);
        paused.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }

    /// It is open: what `log` has can be read, and is known. It takes nothing yet.
    pub(super) fn set_open<F: Files>(&self, log: &mut Log<F>, max_size: u64) {
        let extent = log.extent();
        let reader = move |from| Box::new(Reader::new(Arc::clone(&extent), from)) as Box<dyn Read>;
        // It is opened once.
        let _first = self.reader.set(Box::new(reader));
        let mut queue = self.lock();
        // What is confirmed from now on finds its message told.
        for (place, id) in queue.confirmed.drain(..) {
            log.confirm(place, &id);
        }
        for (place, (_, known)) in self.queues.iter().enumerate() {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.known(place));
        }
        queue.is_full = log.size() >= max_size;
        queue.view = View {
            is_open: true,
            size: log.size(),
            closed: closed(log),
            durable: log.durable(),
            ..queue.view.clone()
        };
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
    pub(super) fn take_round(&self) -> (Taken, Vec<Option<Told>>) {
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
    pub(super) fn give_back(&self, place: usize, told: Told) {
        self.lock().cursors[place].get_or_insert(told);
    }

    /// What the sink at `place` has told, if it is not stored yet.
    pub(super) fn take_told(&self, place: usize) -> Option<Told> {
        self.lock().cursors[place].take()
    }

    /// The entries up to this one are removed, read or not.
    pub(super) fn set_gone(&self, last: u64) {
        self.lock().gone = last;
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

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
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
    /// Nothing waits, and chunks from `first` on are in memory only.
    pub(super) fn new(first: u64, sinks: usize) -> Queue {
        let mut unheld = Unheld::default();
        unheld.begin(first);
        Queue {
            entries: Vec::new(),
            waiters: Vec::new(),
            bytes: 0,
            since: None,
            looks_until: None,
            is_asleep: true,
            is_hurried: false,
            cursors: vec![None; sinks],
            has_cursors: false,
            confirmed: Vec::new(),
            is_ending: false,
            unheld,
            gone: 0,
            is_full: false,
            is_away: true,
            view: View {
                room: Room::Away,
                is_open: false,
                last_error: None,
                size: 0,
                closed: Vec::new(),
                durable: 0,
            },
        }
    }

    pub(super) fn room(&self) -> Room {
        match (self.is_away, self.is_full) {
            (true, _) => Room::Away,
            (false, true) => Room::Full,
            (false, false) => Room::Yes,
        }
    }
}
