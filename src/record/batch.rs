//! What a sink gets in one flush: ranges of chunks, viewed as records.

use std::sync::Arc;

use super::{Chunk, Received};

/// Records of one or more chunks, in the order in which they arrived. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    ranges: Vec<Range>,
    records: usize,
    bytes: usize,
}

/// Records `first..last` of a chunk.
#[derive(Debug, Clone)]
pub struct Range {
    /// Where they stand.
    pub chunk: Arc<Chunk>,
    /// The first one's index.
    pub first: usize,
    /// The index behind the last one.
    pub last: usize,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts records behind those that are there.
    pub fn push(&mut self, range: Range) {
        self.records += range.last - range.first;
        self.bytes += range.bytes();
        match self.ranges.last_mut() {
            Some(end) if Arc::ptr_eq(&end.chunk, &range.chunk) && end.last == range.first => {
                end.last = range.last;
            }
            _ => self.ranges.push(range),
        }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the lines its records came in.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether `other` is these very records, not just equal ones.
    pub fn is_same(&self, other: &Batch) -> bool {
        let same =
            |a: &Range, b: &Range| Arc::ptr_eq(&a.chunk, &b.chunk) && (a.first, a.last) == (b.first, b.last);
        self.ranges.len() == other.ranges.len()
            && self.ranges.iter().zip(&other.ranges).all(|(a, b)| same(a, b))
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Where each record stands, in order: its chunk and its index there.
    pub fn places(&self) -> impl Iterator<Item = (&Arc<Chunk>, usize)> + Clone {
        self.ranges.iter().flat_map(|range| (range.first..range.last).map(|index| (&range.chunk, index)))
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = Received<'_>> + Clone {
        self.ranges
            .iter()
            .flat_map(|range| (range.first..range.last).map(|index| range.chunk.received(index)))
    }
}

impl Range {
    /// Bytes of the lines its records came in.
    pub fn bytes(&self) -> usize {
        self.chunk.bytes_between(self.first, self.last)
    }
}
