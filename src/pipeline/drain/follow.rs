//! The drain and the journal: reading what its ring had no room for, and saying how far it has come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Drain;
use crate::journal::{self, Block, Cursor, Found, Head, Journal, Told, Totals};
use crate::pipeline::carry;
use crate::pipeline::dispatch::Dispatch;
use crate::pipeline::ledger::{Drop, Terms};
use crate::pipeline::left::Left;
use crate::pipeline::past::Past;
use crate::pipeline::receipt::Why;
use crate::pipeline::ring::Parcel;
use crate::record::open::FULL_BYTES;

/// How often what was decided goes to the journal.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of lines that are read at once.
const READ_BYTES: usize = FULL_BYTES;
/// Times that a segment is tried before it is passed over, where the disk works otherwise: about a minute.
const ATTEMPTS: u32 = 8;

/// What a drain needs of the journal.
pub struct Place {
    /// The journal.
    pub journal: Arc<Journal>,
    /// Appends what holds up old segments again.
    pub dispatch: Arc<Dispatch>,
    /// Which of the journal's sinks it is.
    pub number: usize,
}

/// A drain's place in the journal.
pub(super) struct Follow {
    place: Place,
    /// The journal is open. Until then nothing is known of the past, and no cursor may speak of it.
    is_open: bool,
    /// Entries below were decided, or are listed by the cursor that was found.
    next: u64,
    passed: watch::Receiver<u64>,
    /// What it said before the last read.
    passed_before: u64,
    /// None while it is reading.
    reader: Option<Box<dyn journal::Read>>,
    reads: JoinSet<(Box<dyn journal::Read>, io::Result<Block>)>,
    /// It takes chunks from the journal, not from the ring.
    is_behind: bool,
    /// The lowest entry that was left at the start was not read yet, nor all that were left below `next`: what the
    /// stored cursor says of them still holds, and no other does.
    is_in_past: bool,
    /// It has read all that is written so far.
    is_at_end: bool,
    /// The last read failed.
    failed: Option<Failed>,
    /// The last entry that it knows is removed from the journal.
    gone: u64,
    /// When the cursor is due, because something was decided.
    cursor_due: Option<Instant>,
}

/// Reads that failed one behind the other.
struct Failed {
    attempts: u32,
    /// Those of them while the disk worked otherwise.
    counted: u32,
    /// When the next one is due.
    due: Instant,
}

impl Follow {
    pub(super) fn new(place: Place) -> Self {
        Follow {
            passed: place.journal.passed(),
            passed_before: 0,
            place,
            is_open: false,
            next: 0,
            reader: None,
            reads: JoinSet::new(),
            is_behind: false,
            is_in_past: false,
            is_at_end: false,
            failed: None,
            gone: 0,
            cursor_due: None,
        }
    }

    /// Whether chunks come from the journal now.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The journal is open. What came before has higher numbers than all that is in it.
    fn take_over(&mut self, past: &Past) {
        self.is_open = true;
        if self.next > 0 {
            self.touch();
        }
        match past.behind {
            // All that comes from now on waits behind it.
            Some(_) => self.next = past.next,
            None => self.next = self.next.max(past.next),
        }
    }

    /// A chunk came from the ring.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.next = self.next.max(sequence + 1);
    }

    /// Something was decided.
    pub(super) fn touch(&mut self) {
        self.cursor_due.get_or_insert_with(|| Instant::now() + INTERVAL);
    }

    /// When there is something to do without anything happening before.
    pub(super) fn due(&self) -> Option<Instant> {
        let again = self.failed.as_ref().filter(|_| self.reader.is_some()).map(|failed| failed.due);
        [self.cursor_due, again].into_iter().flatten().min()
    }

    /// Whether the journal keeps this chunk.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.place.journal.holds(sequence)
    }

    /// Waits until nothing is being read; what comes of it is not wanted any more.
    pub(super) async fn ended(&mut self) {
        while self.reads.join_next().await.is_some() {}
    }

    /// Waits for the answer to a read, or for the journal to be written on while that is waited for.
    pub(super) async fn work(&mut self) -> Option<Read> {
        let Follow { reads, passed, is_at_end, .. } = self;
        tokio::select! {
            Some(read) = reads.join_next() => Some(read),
            Ok(()) = passed.changed(), if *is_at_end => {
                self.is_at_end = false;
                None
            }
            else => std::future::pending().await,
        }
    }
}

/// What comes of a read.
pub(super) type Read = Result<(Box<dyn journal::Read>, io::Result<Block>), JoinError>;

impl Drain {
    /// Takes chunks from the journal from now on, if the ring is empty and others are there only.
    pub(super) fn fall_behind(&mut self) {
        let Some(follow) = &mut self.follow else { return };
        if follow.is_behind {
            return;
        }
        let mut feed = self.lane.feed();
        if let Some(past) = feed.take_past() {
            self.window.take_over(past.next, &past.decided);
            follow.take_over(&past);
        }
        let Some(behind) = feed.behind().filter(|_| self.lane.ring.records() == 0) else { return };
        info!(sink = &*self.lane.name, records = feed.records(), "reading from the journal");
        follow.is_behind = true;
        follow.is_at_end = false;
        follow.is_in_past = behind < follow.next;
        follow.next = follow.next.max(behind);
        follow.reader = Some(follow.place.journal.reader(behind));
    }

    /// Starts to read the journal, if there is need and room.
    pub(super) fn read_on(&mut self) {
        let has_room = self.window.bytes() < self.config.backlog_bytes();
        let Some(follow) = &mut self.follow else { return };
        let is_due = follow.failed.as_ref().is_none_or(|failed| failed.due <= Instant::now());
        if !follow.is_behind || follow.is_at_end || !has_room || !is_due {
            return;
        }
        let Some(mut reader) = follow.reader.take() else { return };
        follow.passed_before = *follow.passed.borrow_and_update();
        follow.reads.spawn_blocking(move || {
            let read = reader.read(READ_BYTES);
            (reader, read)
        });
    }

    /// A read has ended.
    pub(super) fn finish_read(&mut self, read: Option<Read>) {
        let Some(follow) = &mut self.follow else { return };
        let (mut reader, block) = match read {
            None => return,
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                // What it stood at is not lost: reading goes on behind what came last.
                error!(sink = &*self.lane.name, %error, "reading the journal panicked");
                (follow.place.journal.reader(follow.next), Err(io::Error::other(error)))
            }
        };
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                let (attempts, counted) = follow.failed.take().map_or((0, 0), |it| (it.attempts, it.counted));
                let attempts = attempts + 1;
                warn!(sink = &*self.lane.name, %error, attempts, "the journal cannot be read");
                let journal = &follow.place.journal;
                journal.counters().failures.add(1);
                // A disk that takes nothing either may give all that is on it when it works again.
                let counted = counted + u32::from(journal.is_working());
                let due = Instant::now() + self.config.backoff(attempts);
                let mut failed = Failed { attempts, counted, due };
                if counted >= ATTEMPTS {
                    error!(sink = &*self.lane.name, "a segment of the journal cannot be read: passed over");
                    reader.skip_segment();
                    (failed.attempts, failed.counted) = (0, 0);
                }
                follow.failed = Some(failed);
                follow.reader = Some(reader);
                return;
            }
        };
        follow.failed = None;
        follow.reader = Some(reader);
        let counters = follow.place.journal.counters();
        counters.corrupt_entries.add(block.corrupt_entries);
        counters.corrupt_bytes.add(block.corrupt_bytes);
        counters.miscounted.add(block.miscounted);
        let (is_end, through) = (block.is_end, block.through);
        for found in block.entries {
            self.take_found(found);
        }
        let Some(follow) = &mut self.follow else { return };
        let mut feed = self.lane.feed();
        follow.is_in_past &= !is_end && through < follow.next;
        follow.next = follow.next.max(feed.until().unwrap_or(u64::MAX).min(through) + 1);
        if is_end && feed.until().is_none() {
            feed.resume();
            self.lane.ring.open();
        }
        let until = feed.until().unwrap_or(u64::MAX);
        // What was never written cannot be waited for.
        let is_over = follow.next > until || is_end && follow.passed_before >= until;
        if is_over {
            follow.next = until + 1;
            follow.is_behind = false;
            follow.reader = None;
        }
        follow.is_at_end = is_end && !is_over;
        feed.set_next(follow.next);
        let (lost, parts) = if is_over { feed.caught_up() } else { (0, Vec::new()) };
        if lost > 0 {
            self.lane.ledger.give_up(lost as usize, Drop::JournalLost);
        }
        drop(feed);
        for part in parts {
            part.settle(Some(self.lane.loss(Why::Dropped(Drop::JournalLost))));
        }
        if lost > 0 {
            error!(sink = &*self.lane.name, records = lost, "records were not found in the journal again");
        }
        if is_over {
            info!(sink = &*self.lane.name, "caught up with the journal");
        }
        follow.touch();
    }

    /// Takes what is left of an entry into the window.
    fn take_found(&mut self, Found { chunk, carries, records }: Found) {
        let Some(follow) = &mut self.follow else { return };
        let sequence = chunk.position().sequence;
        // What this run has carried is in the window, or decided.
        if carries.is_some() && sequence >= follow.place.journal.first() {
            return;
        }
        let head = Head { sequence, records, target: chunk.target().map(Arc::from), carries, bytes: 0 };
        let mut feed = self.lane.feed();
        // It came by the ring, or is read later.
        if feed.until().is_some_and(|until| sequence > until) {
            return;
        }
        let (expected, left) = match feed.left(&head) {
            journal::Left::None => {
                if let Some(origin) = feed.void_for(sequence) {
                    self.window.copy(origin, sequence);
                }
                return;
            }
            journal::Left::All => (records as usize, Left::all(chunk.len())),
            journal::Left::Records(ranges) => {
                let expected = ranges.iter().map(|range| range.len()).sum();
                (expected, Left::of(ranges).up_to(chunk.len() as u32))
            }
        };
        let part = feed.read(sequence, expected as u64);
        // Its lines say another number than when it came: counted by the journal, and no reason for a wrong sum.
        match left.len() {
            found if found < expected => self.lane.ledger.give_up(expected - found, Drop::JournalLost),
            found => self.lane.ledger.accept(found - expected),
        }
        if !left.is_empty() {
            self.window.push_left(Parcel { chunk: Arc::new(chunk), part }, left);
        } else if let Some(part) = part {
            part.settle(Some(self.lane.loss(Why::Dropped(Drop::JournalLost))));
        }
    }

    /// Tells the journal how far this sink has come, if it is time.
    pub(super) fn tell_cursor(&mut self, is_last: bool) {
        let now = Instant::now();
        let Some(follow) = &mut self.follow else { return };
        if !is_last && follow.cursor_due.is_none_or(|due| due > now) {
            return;
        }
        follow.cursor_due = follow.is_in_past.then_some(now + INTERVAL);
        if follow.is_in_past || !follow.is_open {
            return;
        }
        if !is_last {
            self.carry();
        }
        // Nothing comes in meanwhile: what the terms say is what the window says.
        let lane = Arc::clone(&self.lane);
        let feed = loop {
            self.notice_removals();
            let feed = lane.feed();
            if self.follow.as_ref().is_none_or(|follow| follow.gone == feed.gone()) {
                break feed;
            }
        };
        let Some(follow) = &mut self.follow else { return };
        let terms = self.lane.ledger.terms();
        if !follow.is_behind && feed.behind().is_none() && self.lane.ring.records() == 0 {
            follow.next = follow.next.max(feed.last() + 1);
        }
        let journal = &follow.place.journal;
        let durable = journal.view().durable;
        let is_durable = |sequence| sequence <= durable && journal.holds(sequence);
        let (next, undecided, decided) = self.window.position(follow.next, is_durable);
        let cursor = Cursor { next, undecided, decided, totals: totals(terms) };
        journal.set_cursor(follow.place.number, Told { cursor, gone: follow.gone });
    }

    /// What was removed from the journal and is here in memory only from now on stands in every cursor, record by record: at a
    /// crash it is lost, and the next start counts it.
    pub(super) fn notice_removals(&mut self) {
        let Some(follow) = &mut self.follow else { return };
        let gone = self.lane.feed().gone();
        if gone <= follow.gone {
            return;
        }
        follow.gone = gone;
        // Whatever is in the journal before these is gone as well.
        while follow.next <= gone
            && let Some(parcel) = self.lane.ring.pop()
        {
            follow.pass(parcel.chunk.position().sequence);
            self.window.push(parcel);
        }
        self.window.list_up_to(gone);
        follow.touch();
    }

    /// Appends again what keeps segments from being deleted that are otherwise done with.
    fn carry(&mut self) {
        let Some(Follow { place, next, .. }) = &self.follow else { return };
        let closed = place.journal.view().closed;
        let is_kept = |sequence| place.journal.holds(sequence);
        for (chunk, indexes) in self.window.stragglers(&closed, *next, is_kept) {
            let sequence = chunk.position().sequence;
            let Some(again) = carry::chunk(&chunk, &indexes, &self.lane.name) else { continue };
            let Some(carried) = place.dispatch.carry(again, sequence) else { return };
            self.window.carry(sequence, carried);
        }
    }

    /// Counts the waiting records where they are, and says so where the terms disagree.
    pub(super) fn recount(&mut self) {
        let feed = self.lane.feed();
        let terms = self.lane.ledger.terms();
        let found = (self.lane.ring.records() + self.window.records()) as u64 + feed.records();
        drop(feed);
        let adds_up = self.lane.check(&terms, found);
        debug_assert!(adds_up, "{found} records wait by count: {terms:?}");
        self.counted = terms;
    }
}

/// What a cursor says of the terms.
fn totals(terms: Terms) -> Totals {
    Totals {
        accepted: terms.accepted - terms.waiting,
        delivered: terms.delivered,
        rejected: terms
            .rejected
            .into_iter()
            .map(|(reason, records)| (reason.into_owned(), records))
            .collect(),
        dropped: Drop::ALL
            .into_iter()
            .map(|why| (why.code().to_owned(), terms.dropped[why as usize]))
            .filter(|(_, records)| *records > 0)
            .collect(),
    }
}
