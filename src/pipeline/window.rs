//! The drain's window: the chunks of a sink that are not wholly decided, in the order of dispatch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::left::Left;
use super::receipt::{Loss, Part};
use super::ring::Parcel;
use super::same_id::{Meeting, Ref, SameId};
use crate::journal::Undecided;
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
    /// Parts of decided chunks, and what was lost of those: settled when the ledger says so too.
    settled: Vec<(Part, Option<Loss>)>,
    /// The last chunk of which anything was decided, here or in an earlier run of the daemon, or that the journal has removed:
    /// cursors list what is undecided up to there.
    listed: u64,
    /// Where the journal has what was carried and is decided by now.
    carried: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    chunk: Arc<Chunk>,
    part: Option<Part>,
    left: Left,
    lost: Option<Loss>,
    /// The last that is durable, and those after it.
    carried: Vec<Carried>,
    /// Entries of an earlier run that carry its records too.
    copies: Vec<u64>,
}

/// The journal has an entry's undecided records a second time.
#[derive(Debug)]
struct Carried {
    /// The entry that they are in now.
    sequence: u64,
    /// Their indexes in the chunk that they came in, in the order of that entry.
    indexes: Vec<u32>,
}

/// Records `next..end` of a chunk are in no batch yet.
#[derive(Debug)]
struct Unsent {
    chunk: Arc<Chunk>,
    next: usize,
    end: usize,
}

impl Window {
    /// Chunks in front of `next` came in earlier runs of the daemon, and may be decided; the `carried` entries are.
    pub(super) fn take_over(&mut self, next: u64, carried: &[u64]) {
        self.list_up_to(next.saturating_sub(1));
        self.carried.extend(carried);
    }

    /// What is undecided up to the chunk `sequence` cannot be read again.
    pub(super) fn list_up_to(&mut self, sequence: u64) {
        self.listed = self.listed.max(sequence);
    }

    /// Puts a chunk behind the others.
    pub(super) fn push(&mut self, parcel: Parcel) {
        let left = Left::all(parcel.chunk.len());
        self.push_left(parcel, left);
    }

    /// Puts those records of a chunk behind the others that are `left`.
    pub(super) fn push_left(&mut self, Parcel { chunk, part }: Parcel, left: Left) {
        self.bytes += chunk.memory();
        self.unsent_records += left.len();
        for range in left.ranges() {
            let (next, end) = (range.start as usize, range.end as usize);
            self.unsent_bytes += chunk.bytes_between(next, end);
            self.unsent.push_back(Unsent { chunk: Arc::clone(&chunk), next, end });
        }
        let entry = Entry {
            chunk: Arc::clone(&chunk),
            part,
            left,
            lost: None,
            carried: Vec::new(),
            copies: Vec::new(),
        };
        self.entries.insert(chunk.position().sequence, entry);
    }

    /// Undecided records, counted one chunk at a time.
    pub(super) fn records(&self) -> usize {
        self.entries.values().map(|entry| entry.left.len()).sum()
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
            let Some(last) = hand.fit(&front.chunk, front.next..front.end, max_records, max_bytes) else {
                break;
            };
            let range = Range { chunk: Arc::clone(&front.chunk), first: front.next, last };
            self.unsent_records -= last - front.next;
            self.unsent_bytes = self.unsent_bytes.saturating_sub(range.bytes());
            front.next = last;
            if last == front.end {
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
            self.count_off(&record.chunk, record.index..record.index + 1, None);
        }
        records.len()
    }

    /// Record `index` of `chunk`, which was released, is lost for good.
    pub(super) fn lose_one(&mut self, chunk: &Arc<Chunk>, index: usize, loss: &Loss) {
        self.count_off(chunk, index..index + 1, Some(loss));
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
                self.count_off(&range.chunk, range.first..range.last, None);
            }
        }
        decided
    }

    /// Gives up all that is undecided of chunks that are not `kept` elsewhere: `loss` is what becomes of their receipts.
    /// Gives the number of records.
    pub(super) fn give_up(&mut self, kept: impl Fn(u64) -> bool, loss: &Loss) -> usize {
        let mut records = 0;
        let is_lost = |sequence: &u64, entry: &mut Entry| {
            !kept(*sequence) && !entry.carried.iter().any(|carried| kept(carried.sequence))
        };
        for (_, entry) in self.entries.extract_if(.., is_lost) {
            records += entry.left.len();
            self.bytes -= entry.chunk.memory();
            let lost = entry.lost.unwrap_or_else(|| loss.clone());
            self.settled.extend(entry.part.map(|part| (part, Some(lost))));
        }
        records
    }

    /// Tells those who wait for what was decided. Called when the ledger has it: who was told must find it there.
    pub(super) fn settle(&mut self) {
        for (part, lost) in self.settled.drain(..) {
            part.settle(lost);
        }
    }

    fn count_off(&mut self, chunk: &Arc<Chunk>, records: std::ops::Range<usize>, loss: Option<&Loss>) {
        let sequence = chunk.position().sequence;
        let Some(entry) = self.entries.get_mut(&sequence) else {
            debug_assert!(false, "a record was decided twice");
            return;
        };
        entry.left.remove(records.start as u32..records.end as u32);
        self.listed = self.listed.max(sequence);
        if entry.lost.is_none() {
            entry.lost = loss.cloned();
        }
        if entry.left.is_empty()
            && let Some(entry) = self.entries.remove(&sequence)
        {
            self.bytes -= entry.chunk.memory();
            self.carried.extend(entry.carried.iter().map(|carried| carried.sequence));
            self.carried.extend(entry.copies);
            self.settled.extend(entry.part.map(|part| (part, entry.lost)));
        }
    }

    /// What is undecided, for a cursor: every record of an entry in front of the first number is decided, but those
    /// listed; `next` is where the journal goes on behind the last chunk that came here. The last list are the carried
    /// entries from the first number on that are decided. What was carried stands where it stood before until it
    /// `is_durable` in its new place.
    pub(super) fn position(
        &mut self,
        next: u64,
        is_durable: impl Fn(u64) -> bool,
    ) -> (u64, Vec<Undecided>, Vec<u64>) {
        // Behind them no mention is needed: all is read again as it is.
        let is_untouched = |(sequence, entry): &(&u64, &Entry)| {
            **sequence > self.listed && entry.carried.is_empty() && entry.left.len() == entry.chunk.len()
        };
        let tail = self.entries.iter().rev().take_while(is_untouched);
        let next = tail.map(|(sequence, _)| *sequence).min().unwrap_or(next).min(next);
        for entry in self.entries.values_mut() {
            let last = entry.carried.iter().rposition(|it| is_durable(it.sequence));
            self.carried.extend(entry.carried.drain(..last.unwrap_or(0)).map(|before| before.sequence));
        }
        let mut undecided: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(sequence, entry)| {
                match entry.carried.first().filter(|it| is_durable(it.sequence)) {
                    Some(carried) if carried.sequence >= next => None,
                    None if *sequence >= next => None,
                    None => Some(Undecided { sequence: *sequence, records: entry.left.ranges().to_vec() }),
                    Some(carried) => {
                        let places =
                            carried.indexes.iter().zip(0..).filter(|(index, _)| entry.left.has(**index));
                        let records = places.map(|(_, place)| place..place + 1).collect();
                        Some(Undecided { sequence: carried.sequence, records })
                    }
                }
            })
            .collect();
        undecided.sort_unstable_by_key(|undecided| undecided.sequence);
        self.carried = self.carried.split_off(&next);
        (next, undecided, self.carried.iter().copied().collect())
    }

    /// The oldest chunks whose undecided records keep the journal from deleting segments that are otherwise done with:
    /// all in front of the first whole segment in which nothing is undecided. `segments` are the first and last sequence
    /// numbers of the closed ones, ascending; from `next` on nothing has come here yet. A carried entry counts if it `is_kept`:
    /// the disk did not fail when it came.
    pub(super) fn stragglers(
        &self,
        segments: &[(u64, u64)],
        next: u64,
        is_kept: impl Fn(u64) -> bool,
    ) -> Vec<(Arc<Chunk>, Vec<u32>)> {
        let places = |(sequence, entry): (&u64, &Entry)| {
            let mut carried = entry.carried.iter().rev().map(|it| it.sequence);
            carried.find(|carried| is_kept(*carried)).unwrap_or(*sequence)
        };
        let mut stand: Vec<u64> = self.entries.iter().map(places).collect();
        stand.sort_unstable();
        let Some(first) = stand.first() else { return Vec::new() };
        let is_done = |(from, to): &&(u64, u64)| {
            from > first && *to < next && {
                let place = stand.partition_point(|sequence| sequence < from);
                stand.get(place).is_none_or(|sequence| sequence > to)
            }
        };
        let Some((from, _)) = segments.iter().find(is_done) else { return Vec::new() };
        let late = self.entries.iter().filter(|it| places(*it) < *from);
        late.map(|(_, entry)| (Arc::clone(&entry.chunk), entry.left.indexes().collect())).collect()
    }

    /// The entry `copy`, of an earlier run, carries the undecided records of the chunk `sequence`, which has them still.
    /// Once that one has them no more, or another carries them, the copy is decided too: or the next start would take it
    /// for what is left.
    pub(super) fn copy(&mut self, sequence: u64, copy: u64) {
        match self.entries.get_mut(&sequence) {
            Some(entry) if entry.carried.is_empty() => entry.copies.push(copy),
            _ => {
                self.carried.insert(copy);
            }
        }
    }

    /// The undecided records of the chunk `sequence`, in order, are in the journal's entry `carried` now as well.
    pub(super) fn carry(&mut self, sequence: u64, carried: u64) {
        if let Some(entry) = self.entries.get_mut(&sequence) {
            let indexes = entry.left.indexes().collect();
            entry.carried.push(Carried { sequence: carried, indexes });
            self.carried.extend(entry.copies.drain(..));
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

    /// Up to where `records` of `chunk` still fit.
    fn fit(
        &self,
        chunk: &Chunk,
        records: std::ops::Range<usize>,
        max_records: usize,
        max_bytes: usize,
    ) -> Option<usize> {
        if self.records >= max_records || self.bytes >= max_bytes && self.records > 0 {
            return None;
        }
        let first = records.start;
        let last = records.end.min(first + max_records - self.records);
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
