//! The drain's window: the chunks of a sink that are not wholly decided, in the order of dispatch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::receipt::{Loss, Receipt};
use super::ring::Parcel;
use super::same_id::{Meeting, Ref, SameId};
use crate::record::batch::Range;
use crate::record::{Batch, Chunk};

/// Undecided chunks by sequence number, and how far they have gone into batches.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: BTreeMap<u64, Entry>,
    unsent: VecDeque<Unsent>,
    unsent_records: usize,
    unsent_bytes: usize,
    bytes: usize,
    ids: SameId,
    /// Receipts of decided chunks, and what was lost of those: settled when the ledger says so too.
    settled: Vec<(Receipt, Option<Loss>)>,
}

#[derive(Debug)]
struct Entry {
    receipt: Option<Receipt>,
    undecided: usize,
    memory: usize,
    lost: Option<Loss>,
}

/// Records of a chunk from `next` on are in no batch yet.
#[derive(Debug)]
struct Unsent {
    chunk: Arc<Chunk>,
    next: usize,
}

impl Window {
    /// Puts a chunk behind the others.
    pub(super) fn push(&mut self, Parcel { chunk, receipt }: Parcel) {
        let memory = chunk.memory();
        self.bytes += memory;
        self.unsent_records += chunk.len();
        self.unsent_bytes += chunk.bytes().len();
        let entry = Entry { receipt, undecided: chunk.len(), memory, lost: None };
        self.entries.insert(chunk.position().sequence, entry);
        self.unsent.push_back(Unsent { chunk, next: 0 });
    }

    /// Undecided records, counted one chunk at a time.
    #[cfg(test)]
    pub(super) fn records(&self) -> usize {
        self.entries.values().map(|entry| entry.undecided).sum()
    }

    /// Whether everything is decided.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that are in no batch yet.
    pub(super) fn unsent_records(&self) -> usize {
        self.unsent_records
    }

    /// Bytes of lines that are in no batch yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// The sequence number of the last chunk.
    pub(super) fn last(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(sequence, _)| *sequence)
    }

    /// The sequence number of the first chunk that is not wholly in batches; of one that waited for an earlier
    /// record with its id, 0.
    pub(super) fn first_unsent(&self) -> Option<u64> {
        if self.ids.has_ready() {
            return Some(0);
        }
        self.unsent.front().map(|unsent| unsent.chunk.position().sequence)
    }

    /// The next records to send, at most so many of them and of bytes of lines, but at least one.
    pub(super) fn take(&mut self, max_records: usize, max_bytes: usize) -> Batch {
        let mut hand = Hand::default();
        self.ids.begin_batch();
        while hand.records < max_records {
            let Some(record) = self.ids.take_ready(hand.ranges.len()) else { break };
            hand.push(Range { first: record.index, last: record.index + 1, chunk: record.chunk });
        }
        while let Some(front) = self.unsent.front_mut() {
            let Some(last) = hand.fit(&front.chunk, front.next, max_records, max_bytes) else { break };
            let range = Range { chunk: Arc::clone(&front.chunk), first: front.next, last };
            self.unsent_records -= last - front.next;
            self.unsent_bytes = self.unsent_bytes.saturating_sub(range.bytes());
            front.next = last;
            if last == front.chunk.len() {
                self.unsent.pop_front();
            }
            hand.take(range, &mut self.ids);
        }
        if self.unsent.is_empty() {
            self.unsent_bytes = 0;
        }
        hand.into_batch()
    }

    /// Record `index` of `chunk` is not to be sent again, nor the earlier ones with its id, which share its fate. Gives
    /// all of them in the order of their arrival, itself at the end; they stay here until they are counted off. Later
    /// records with the id may be sent from now on.
    pub(super) fn release(&mut self, chunk: &Arc<Chunk>, index: usize) -> Vec<Ref> {
        let record = Ref { chunk: Arc::clone(chunk), index };
        let mut records = self.ids.decide(&record);
        records.push(record);
        records
    }

    /// Record `index` of `chunk` was delivered, and with it the earlier ones with its id. Gives their number.
    pub(super) fn deliver_one(&mut self, chunk: &Arc<Chunk>, index: usize) -> usize {
        let records = self.release(chunk, index);
        for record in &records {
            self.count_off(&record.chunk, 1, None);
        }
        records.len()
    }

    /// A record of `chunk`, which was released, is lost for good.
    pub(super) fn lose_one(&mut self, chunk: &Arc<Chunk>, loss: &Loss) {
        self.count_off(chunk, 1, Some(loss));
    }

    /// All records of `batch` were delivered. Gives their number.
    pub(super) fn deliver(&mut self, batch: &Batch) -> usize {
        let mut decided = 0;
        for range in batch.ranges() {
            if range.chunk.has_client_ids() {
                for index in range.first..range.last {
                    decided += self.deliver_one(&range.chunk, index);
                }
            } else {
                decided += range.last - range.first;
                self.count_off(&range.chunk, range.last - range.first, None);
            }
        }
        decided
    }

    /// Gives up all that is undecided: `loss` is what becomes of each chunk's receipt. Gives the number of records.
    pub(super) fn give_up(&mut self, loss: &Loss) -> usize {
        let mut records = 0;
        let mut settled = std::mem::take(&mut self.settled);
        for (_, entry) in std::mem::take(self).entries {
            records += entry.undecided;
            let lost = entry.lost.unwrap_or_else(|| loss.clone());
            settled.extend(entry.receipt.map(|receipt| (receipt, Some(lost))));
        }
        self.settled = settled;
        records
    }

    /// Tells those who wait for what was decided. Called when the ledger has it: who was told must find it there.
    pub(super) fn settle(&mut self) {
        for (receipt, lost) in self.settled.drain(..) {
            receipt.settle(lost);
        }
    }

    fn count_off(&mut self, chunk: &Arc<Chunk>, records: usize, loss: Option<&Loss>) {
        let sequence = chunk.position().sequence;
        let Some(entry) = self.entries.get_mut(&sequence) else {
            debug_assert!(false, "a record was decided twice");
            return;
        };
        entry.undecided -= records;
        if entry.lost.is_none() {
            entry.lost = loss.cloned();
        }
        if entry.undecided == 0
            && let Some(entry) = self.entries.remove(&sequence)
        {
            self.bytes -= entry.memory;
            if let Some(receipt) = entry.receipt {
                self.settled.push((receipt, entry.lost));
            }
        }
    }
}

/// A batch being put together. A later record with the same id empties the earlier one's range.
#[derive(Default)]
struct Hand {
    ranges: Vec<Range>,
    records: usize,
    bytes: usize,
}

impl Hand {
    fn push(&mut self, range: Range) {
        self.records += range.last - range.first;
        self.bytes += range.bytes();
        self.ranges.push(range);
    }

    /// Up to where records of `chunk` from `first` on still fit.
    fn fit(&self, chunk: &Chunk, first: usize, max_records: usize, max_bytes: usize) -> Option<usize> {
        if self.records >= max_records || self.bytes >= max_bytes && self.records > 0 {
            return None;
        }
        let last = chunk.len().min(first + max_records - self.records);
        let room = max_bytes.saturating_sub(self.bytes);
        if chunk.bytes_between(first, last) <= room {
            return Some(last);
        }
        // The records' bytes grow with their index: look for the last one that fits.
        let (mut fits, mut not) = (first, last);
        while not - fits > 1 {
            let middle = fits + (not - fits) / 2;
            if chunk.bytes_between(first, middle) <= room { fits = middle } else { not = middle }
        }
        match fits > first {
            true => Some(fits),
            false if self.records == 0 => Some(first + 1),
            false => None,
        }
    }

    /// Takes a range whose chunk may have records with ids that are waited for.
    fn take(&mut self, range: Range, ids: &mut SameId) {
        if !range.chunk.has_client_ids() {
            return self.push(range);
        }
        for index in range.first..range.last {
            let one = || Range { chunk: Arc::clone(&range.chunk), first: index, last: index + 1 };
            let Some(id) = range.chunk.client_id(index) else {
                self.push(one());
                continue;
            };
            let record = Ref { chunk: Arc::clone(&range.chunk), index };
            match ids.meet(&id.decode(), record, self.ranges.len()) {
                Meeting::Send => self.push(one()),
                Meeting::Wait => {}
                Meeting::Replace(slot) => {
                    self.records -= 1;
                    self.ranges[slot].last = self.ranges[slot].first;
                    self.push(one());
                }
            }
        }
    }

    fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        for range in self.ranges.into_iter().filter(|range| range.first < range.last) {
            batch.push(range);
        }
        batch
    }
}
