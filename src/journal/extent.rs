//! What the log and its readers share: the segments there are, and how far each is written.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Head;
use super::files::Files;
use super::scan::Scan;
use super::segment::{HEADER_BYTES, Header, Marker, file_name};

/// So far apart are the entries whose places are remembered: what a reader that starts in the middle of a segment
/// reads for nothing.
const MARK_BYTES: u64 = 1 << 20;

/// The segments there are and how far each is written.
#[derive(Debug)]
pub struct Extent<F: Files> {
    pub(super) files: F,
    known: Mutex<Known>,
}

/// What is known of the segments.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The highest sequence number that was appended.
    pub(super) written: u64,
}

/// One segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// No entry in it has a lower sequence number: it names the segment.
    pub(super) first: u64,
    /// The highest sequence number in it; below `first` if it has no entry.
    pub(super) last: u64,
    /// Where its last entry ends.
    pub(super) end: u64,
    pub(super) entries: u64,
    pub(super) records: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) marker: Marker,
    /// Nothing has failed on its file since it was made: another segment may be written over it.
    pub(super) is_reusable: bool,
    /// The stretches that are unreadable and were counted: where each begins, and its bytes.
    bad: BTreeMap<u64, u64>,
    /// The sequence numbers and places of some entries, ascending.
    marks: Vec<(u64, u64)>,
}

impl<F: Files> Extent<F> {
    pub(super) fn new(files: F) -> Self {
        Extent { files, known: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Where the segment `first` stands among the others.
    pub(super) fn index_of(&self, first: u64) -> Option<usize> {
        self.segments.binary_search_by_key(&first, |segment| segment.first).ok()
    }

    /// The segment that the entry `sequence` is in, or the next one there is; the oldest one if that is older.
    pub(super) fn index_for(&self, sequence: u64) -> Option<usize> {
        let at = self.segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1);
        let is_behind = |segment: &Segment| segment.last < sequence && at + 1 < self.segments.len();
        self.segments.get(at).map(|segment| if is_behind(segment) { at + 1 } else { at })
    }

    /// The numbers that entries of the segment at `index` may have.
    pub(super) fn numbers(&self, index: usize) -> Range<u64> {
        let below = self.segments.get(index + 1).map_or(u64::MAX, |next| next.first);
        self.segments[index].first..below
    }

    /// A scan of the segment at `index`, from an entry on that is not above `sequence`.
    pub(super) fn scan(&self, index: usize, sequence: u64) -> Scan {
        let segment = &self.segments[index];
        let from = if sequence > segment.last { segment.end } else { segment.place_before(sequence) };
        Scan::new(segment.marker, from..segment.end, self.numbers(index))
    }
}

impl Segment {
    /// One without entries. Where its header is damaged nothing is known of it but its name.
    pub(super) fn new(first: u64, header: Option<Header>) -> Self {
        Segment {
            first,
            last: first.saturating_sub(1),
            end: HEADER_BYTES,
            entries: 0,
            records: 0,
            created: header.map_or(0, |header| header.created),
            marker: header.map_or_else(Marker::default, |header| header.marker),
            is_reusable: false,
            bad: BTreeMap::new(),
            marks: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> String {
        file_name(self.first)
    }

    /// It has an entry more, at `at`.
    pub(super) fn add(&mut self, head: &Head, at: u64) {
        if self.marks.last().is_none_or(|(_, last)| at - last >= MARK_BYTES) {
            self.marks.push((head.sequence, at));
        }
        self.last = head.sequence;
        self.end = at + head.bytes;
        self.entries += 1;
        self.records += u64::from(head.records);
    }

    /// The stretch of so many bytes that begins at `at` is unreadable. Gives what of that was not counted before, whoever found
    /// it: stretches and bytes.
    pub(super) fn count_bad(&mut self, at: u64, bytes: u64) -> (u64, u64) {
        match self.bad.insert(at, bytes) {
            None => (1, bytes),
            Some(before) => (0, bytes.saturating_sub(before)),
        }
    }

    fn place_before(&self, sequence: u64) -> u64 {
        let behind = self.marks.partition_point(|(marked, _)| *marked <= sequence);
        if behind == 0 { HEADER_BYTES } else { self.marks[behind - 1].1 }
    }
}
