//! Which messages of a queue are in the log while its broker may still deliver them again.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{Entry, Stored};
use crate::record::LineOrigin;
use crate::record::chunk::Read;

pub mod file;

/// Messages of one queue that are known at a start at most: of more the oldest are forgotten.
pub const MOST: usize = 100_000;
/// Bytes of memory that these take, each with an id as long as a UUID, here and with whoever is told of them.
pub const MEMORY: usize = MOST * 256;

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What its queue calls it.
    pub id: Box<str>,
    /// When it was first received, nanoseconds since 1970.
    pub time: i64,
}

/// What is on disk of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The messages in entries from here on are known; of those in lower entries only the ones listed.
    pub next: u64,
    /// Listed messages, by their ids, ascending.
    pub messages: Vec<Message>,
}

/// A message that may be delivered again.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The entry that it is in; 0: the record that was found lists it.
    sequence: u64,
    time: i64,
}

/// What the log knows of one queue.
#[derive(Debug)]
pub(super) struct Known {
    queue: Arc<str>,
    messages: HashMap<Box<str>, Place>,
    /// As in the record that is stored.
    next: u64,
    /// Messages of entries from here on stand in no record.
    unlisted: u64,
    /// The disk did not give all entries up to this one: messages may be in it that are not known. It may give them at a
    /// later start, which finds them as long as `next` stays where it is.
    unread: Option<u64>,
    /// Messages that came since that was stored.
    fresh: usize,
    /// Whether another record than that would be stored now.
    is_changed: bool,
}

impl Known {
    /// With what the record of `queue` lists.
    pub(super) fn new(queue: &str, record: Record) -> Self {
        let Record { next, messages } = record;
        let place = |message: Message| (message.id, Place { sequence: 0, time: message.time });
        let messages = messages.into_iter().map(place).collect();
        Known {
            queue: queue.into(),
            messages,
            next,
            unlisted: next,
            unread: None,
            fresh: 0,
            is_changed: false,
        }
    }

    /// Of a new queue: it has nothing on disk.
    pub(super) fn begin(queue: &str) -> Self {
        Known { is_changed: true, ..Known::new(queue, Record::default()) }
    }

    /// Whether it has no record yet.
    pub(super) fn is_new(&self) -> bool {
        self.next == 0
    }

    /// The highest entry that the stored record has come to.
    pub(super) fn position(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    pub(super) fn queue(&self) -> &Arc<str> {
        &self.queue
    }

    /// An entry of this queue was read at the start.
    pub(super) fn read(&mut self, stored: &Stored<'_>) {
        if *stored.source == *self.queue && stored.carries.is_none() && stored.position.sequence >= self.next
        {
            let messages = messages(&stored.line_origins, stored.lines, &stored.reads);
            self.take(messages, stored.position.sequence);
        }
    }

    /// There are entries up to `last` that the disk does not give.
    pub(super) fn miss(&mut self, last: u64) {
        self.unread = Some(last).filter(|last| !self.is_new() && *last >= self.next);
    }

    /// Entries up to `last` go: what could not be read of them is not waited for any more.
    pub(super) fn let_go(&mut self, last: u64) {
        if self.unread.is_some_and(|unread| unread <= last) {
            self.unread = None;
            self.is_changed = true;
        }
    }

    /// An entry was appended.
    pub(super) fn append(&mut self, Entry { chunk, carries }: &Entry) {
        if chunk.origin().source == self.queue && carries.is_none() {
            let messages = messages(chunk.line_origins(), chunk.bytes(), chunk.reads());
            self.take(messages, chunk.position().sequence);
        }
    }

    fn take<'a>(&mut self, messages: impl Iterator<Item = (&'a str, i64)>, sequence: u64) {
        for (id, time) in messages {
            self.messages.insert(id.into(), Place { sequence, time });
            self.fresh += 1;
            self.is_changed = true;
        }
    }

    /// The broker will not deliver this message again.
    pub(super) fn confirm(&mut self, id: &str) {
        self.is_changed |= self.messages.remove(id).is_some();
    }

    /// Messages that were received before are not waited for any more. Gives their number.
    pub(super) fn expire(&mut self, before: i64) -> usize {
        let had = self.messages.len();
        self.messages.retain(|_, place| place.time >= before);
        self.is_changed |= self.messages.len() < had;
        had - self.messages.len()
    }

    /// Forgets the oldest of more messages than there may be. Gives their number.
    pub(super) fn limit(&mut self, most: usize) -> usize {
        let more = self.messages.len().saturating_sub(most);
        if more > 0 {
            let mut all: Vec<_> = self.messages.iter().map(|(id, place)| (place.time, id.clone())).collect();
            all.sort_unstable();
            all[..more].iter().for_each(|(_, id)| self.confirm(id));
        }
        more
    }

    /// Nothing that was appended behind `durable` is trusted to be there.
    pub(super) fn distrust(&mut self, durable: u64) {
        self.messages.retain(|_, place| place.sequence <= durable);
    }

    /// Whether messages of entries up to `last` stand in no record.
    pub(super) fn needs(&self, last: u64) -> bool {
        let is_unlisted = |place: &Place| (self.unlisted..=last).contains(&place.sequence);
        self.is_changed && self.messages.values().any(is_unlisted)
    }

    /// Messages that a start would find besides those that are left, if the process died now.
    pub(super) fn fresh(&self) -> usize {
        self.fresh
    }

    /// Whether the record that is stored says anything else than one that would be stored now.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// What is to be on disk when the log is durable up to `durable`.
    pub(super) fn record(&self, durable: u64) -> Record {
        let on_disk = self.messages.iter().filter(|(_, place)| place.sequence <= durable);
        let mut messages: Vec<_> =
            on_disk.map(|(id, place)| Message { id: id.clone(), time: place.time }).collect();
        messages.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let next = if self.unread.is_some() { self.next } else { durable + 1 };
        Record { next, messages }
    }

    /// The record for `durable` is stored.
    pub(super) fn stored(&mut self, durable: u64) {
        self.next = if self.unread.is_some() { self.next } else { durable + 1 };
        self.unlisted = durable + 1;
        self.fresh = self.messages.values().filter(|place| place.sequence > durable).count();
        self.is_changed = self.fresh > 0;
    }
}

/// The messages that `lines` are, with the times at which they were first received. A message that was no report left
/// a blank line: it is not in the log.
fn messages<'a>(
    origins: &'a [LineOrigin],
    lines: &'a [u8],
    reads: &'a [Read],
) -> impl Iterator<Item = (&'a str, i64)> {
    // What has a position is a dead letter that was handed in again, or was carried.
    let is_message = |origin: &&LineOrigin| {
        origin.position.is_none()
            && !origin.id.is_empty()
            && lines.get(origin.at as usize).is_some_and(|byte| *byte != b'\n')
    };
    origins.iter().filter(is_message).map(|origin| {
        let read = reads.partition_point(|read| read.at <= origin.at).checked_sub(1).map(|at| reads[at].time);
        (&*origin.id, origin.time.or(read).unwrap_or_default())
    })
}
