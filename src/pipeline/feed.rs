//! Where a lane's next chunk comes from: its ring, or the journal.

use std::collections::VecDeque;

use super::ledger::Drop;
use super::past::Past;
use super::receipt::Part;
use super::ring::Parcel;
use crate::journal::{Head, Left, Plan};

/// What dispatch and the drain agree on of one lane. While it is behind, nothing goes into its ring: so what the ring
/// holds is older than all that waits in the journal only, and the order is kept.
#[derive(Debug, Default)]
pub struct Feed {
    /// The first chunk that is in the journal only.
    behind: Option<u64>,
    /// Records from there on.
    records: u64,
    /// The last chunk that came.
    last: u64,
    /// The drain has seen the end of the journal and reads up to here; chunks behind it go into the ring again.
    until: Option<Until>,
    /// The drain has read the journal up to this entry.
    next: u64,
    /// What of each entry the sink has still to get, for whoever comes to it first: the drain, or a removal.
    plan: Option<Plan>,
    /// Parts of chunks that are in the journal only, for when those are read again.
    parts: VecDeque<(u64, Part)>,
    /// With so many of them it is looked which are still waited for.
    parts_limit: usize,
    /// The last chunk of earlier runs of the daemon.
    began: u64,
    /// Up to this entry all were removed from the journal.
    gone: u64,
    /// For the drain.
    past: Option<Box<Past>>,
}

/// Parts that are kept without a look at them.
const PARTS: usize = 64;

/// How far the drain reads.
#[derive(Debug, Clone, Copy)]
struct Until {
    sequence: u64,
    /// Records up to there that are still to be read.
    records: u64,
}

/// What dispatch does with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The journal has it: the ring takes it if it has room.
    Journal,
    /// The ring takes it.
    Memory,
    /// It is lost.
    Lost(Drop),
}

impl Feed {
    /// The journal is open: `past` waits there by `plan`, in front of all that comes from now on; `last` is its last entry.
    pub(super) fn take_over(&mut self, past: Past, plan: Plan, last: u64) {
        (self.behind, self.records) = (past.behind, past.terms.waiting);
        self.last = self.last.max(last);
        self.began = last;
        self.plan = Some(plan);
        self.past = Some(Box::new(past));
    }

    /// What the drain has to know of the journal that was opened; told once.
    pub(super) fn take_past(&mut self) -> Option<Box<Past>> {
        self.past.take()
    }

    /// The first chunk that is in the journal only, if any is.
    pub(super) fn behind(&self) -> Option<u64> {
        self.behind
    }

    /// The last chunk that came.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Where the drain stops reading the journal, once that is known.
    pub(super) fn until(&self) -> Option<u64> {
        self.until.map(|until| until.sequence)
    }

    /// Records that wait in the journal only.
    pub(super) fn records(&self) -> u64 {
        self.records + self.until.map_or(0, |until| until.records)
    }

    /// A chunk came.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.last = sequence;
    }

    /// A chunk found no room in the ring. Says whether it is the first one.
    pub(super) fn wait(&mut self, Parcel { chunk, part }: Parcel) -> bool {
        let sequence = chunk.position().sequence;
        self.records += chunk.len() as u64;
        if self.parts.len() >= self.parts_limit {
            // Those that were made durable meanwhile are waited for by nobody.
            self.parts.retain(|(_, part)| !part.is_closed());
            self.parts_limit = PARTS.max(2 * self.parts.len());
        }
        self.parts.extend(part.map(|part| (sequence, part)));
        let is_first = self.behind.is_none();
        self.behind.get_or_insert(sequence);
        is_first
    }

    /// What the drain has still to get of an entry that it has read: nothing, where that was counted as lost before.
    pub(super) fn left(&mut self, head: &Head) -> Left {
        self.plan.as_mut().map_or(Left::All, |plan| plan.left(head))
    }

    /// See [`Plan::void_for`].
    pub(super) fn void_for(&self, sequence: u64) -> Option<u64> {
        self.plan.as_ref()?.void_for(sequence)
    }

    /// The drain takes `records` of the entry `sequence`. Gives who waits for them.
    pub(super) fn read(&mut self, sequence: u64, records: u64) -> Option<Part> {
        self.take(sequence, records);
        // Whatever segment goes from now on: these are not lost with it.
        self.next = self.next.max(sequence + 1);
        let at = self.parts.binary_search_by_key(&sequence, |(found, _)| *found).ok();
        at.and_then(|at| self.parts.remove(at)).map(|(_, part)| part)
    }

    /// The drain has read all entries below `next`.
    pub(super) fn set_next(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The drain is at the end of the journal: from now on chunks go into the ring again. Gives the last one that it has
    /// still to read.
    pub(super) fn resume(&mut self) -> u64 {
        self.until = Some(Until { sequence: self.last, records: std::mem::take(&mut self.records) });
        self.behind = None;
        self.last
    }

    /// The drain has read all up to the end. Gives the number of records that it did not find, and who waits for them.
    pub(super) fn caught_up(&mut self) -> (u64, Vec<Part>) {
        let Some(until) = self.until.take() else { return (0, Vec::new()) };
        let end = self.parts.partition_point(|(sequence, _)| *sequence <= until.sequence);
        (until.records, self.parts.drain(..end).map(|(_, part)| part).collect())
    }

    /// The last entry that was removed from the journal before this sink had passed it.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// The entries up to `last` are removed from the journal, of which these can be read. Gives the number of records that are
    /// lost with them, and who waits for those.
    pub(super) fn remove(&mut self, heads: &[Head], last: u64) -> (u64, Vec<Part>) {
        self.gone = last;
        let mut lost = 0;
        for head in heads {
            let records = self.left(head).count(head);
            // What this run has carried is in the window, or decided.
            let is_of_this_run = head.carries.is_some() && head.sequence > self.began;
            if head.sequence >= self.next && !is_of_this_run {
                lost += self.take(head.sequence, records);
            }
        }
        let end = self.parts.partition_point(|(sequence, _)| *sequence <= last);
        (lost, self.parts.drain(..end).map(|(_, part)| part).collect())
    }

    /// Takes records of an entry out of those that wait in the journal only, if they do. Gives how many did.
    fn take(&mut self, sequence: u64, records: u64) -> u64 {
        let waiting = match (&mut self.until, self.behind) {
            (Some(until), _) if sequence <= until.sequence => &mut until.records,
            (_, Some(behind)) if sequence >= behind => &mut self.records,
            _ => return 0,
        };
        let taken = records.min(*waiting);
        *waiting -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{self, Cursor};

    fn head(sequence: u64, carries: Option<u64>) -> Head {
        let target = carries.map(|_| "a".into());
        Head { sequence, records: 2, target, carries, bytes: 0 }
    }

    #[test]
    fn what_was_removed_is_left_to_nobody_and_nor_is_its_copy() {
        let found = journal::Lane { cursor: Cursor::at(1), waiting: 4, missing: 0 };
        let mut feed = Feed::default();
        feed.take_over(Past::new(&found), Plan::new("a", &found.cursor), 4);
        assert_eq!(feed.remove(&[head(1, None)], 1).0, 2);
        // It was being read when it was removed.
        assert_eq!(feed.left(&head(1, None)), Left::None);
        assert_eq!(feed.left(&head(2, None)), Left::All);
        assert!(feed.read(2, 2).is_none());
        assert_eq!(feed.left(&head(4, Some(1))), Left::None);
        assert_eq!(feed.records(), 0);
    }
}
