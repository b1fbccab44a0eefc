//! Which records of a chunk are undecided.

use std::ops::Range;

/// A set of record indexes: few ranges, since records are decided in batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Ascending, none empty, none touching the next.
    ranges: Vec<Range<u32>>,
    records: usize,
}

impl Left {
    /// All of `records`.
    pub(super) fn all(records: usize) -> Self {
        let every = 0..records as u32;
        Left { ranges: Vec::from([every]), records }
    }

    /// Those in `ranges`, which ascend.
    pub(super) fn of(ranges: Vec<Range<u32>>) -> Self {
        let records = ranges.iter().map(Range::len).sum();
        Left { ranges, records }
    }

    /// Without those from `end` on.
    pub(super) fn up_to(self, end: u32) -> Self {
        let cut = self.ranges.into_iter().map(|range| range.start.min(end)..range.end.min(end));
        Left::of(cut.filter(|range| !range.is_empty()).collect())
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Whether all are decided.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The undecided ones.
    pub(super) fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }

    /// The undecided ones, one by one.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// Record `index` is undecided.
    pub(super) fn has(&self, index: u32) -> bool {
        let place = self.ranges.partition_point(|range| range.end <= index);
        self.ranges.get(place).is_some_and(|range| range.contains(&index))
    }

    /// Records `decided` are decided now; all of them were undecided.
    pub(super) fn remove(&mut self, decided: Range<u32>) {
        let place = self.ranges.partition_point(|range| range.end <= decided.start);
        let Some(range) = self.ranges.get_mut(place) else {
            debug_assert!(false, "a record was decided twice");
            return;
        };
        debug_assert!(range.start <= decided.start && decided.end <= range.end, "a record was decided twice");
        self.records -= decided.len();
        match (range.start == decided.start, range.end == decided.end) {
            (true, true) => {
                self.ranges.remove(place);
            }
            (true, false) => range.start = decided.end,
            (false, true) => range.end = decided.start,
            (false, false) => {
                let rest = decided.end..std::mem::replace(&mut range.end, decided.start);
                self.ranges.insert(place + 1, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_removed_is_gone_and_all_else_stays(order in proptest::sample::subsequence((0..40u32).collect::<Vec<_>>(), 0..40), seed: u64) {
            let mut order = order;
            let places = order.len().max(1) as u64;
            for at in 0..order.len() {
                order.swap(at, (seed.rotate_left(at as u32) % places) as usize);
            }
            let mut left = Left::all(40);
            for index in &order {
                left.remove(*index..index + 1);
            }
            let expected: Vec<u32> = (0..40).filter(|index| !order.contains(index)).collect();
            assert_eq!(left.indexes().collect::<Vec<_>>(), expected);
            assert_eq!(left.len(), expected.len());
            assert_eq!(Left::of(left.ranges().to_vec()), left);
            assert!((0..40).all(|index| left.has(index) == expected.contains(&index)));
            assert!(left.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
