//! How far one sink has come: what of the log it has still to get, and all that was counted for it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::entry::Head;

pub mod file;

/// How far one sink has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Every record of an entry with a lower sequence number is decided, but for those of `undecided`.
    pub next: u64,
    /// Records below `next` without a verdict, in ascending order of their entries.
    pub undecided: Vec<Undecided>,
    /// Carried entries at or above `next` that are decided, ascending.
    pub decided: Vec<u64>,
    /// What became of all that the sink ever got.
    pub totals: Totals,
}

/// Records of one entry without a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The entry.
    pub sequence: u64,
    /// Indices of its records: ascending, apart from each other, none empty.
    pub records: Vec<Range<u32>>,
}

/// Counts of records since the journal was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Offered to the sink, without those that wait.
    pub accepted: u64,
    /// Stored.
    pub delivered: u64,
    /// Refused by the store for good, by its reason.
    pub rejected: BTreeMap<String, u64>,
    /// Never decided by the store, by why they were given up.
    pub dropped: BTreeMap<String, u64>,
}

impl Cursor {
    /// One that has all below `next` behind it, and nothing else to say.
    pub fn at(next: u64) -> Self {
        Cursor { next, ..Cursor::default() }
    }

    /// The lowest entry that is left, as far as the cursor knows.
    pub fn lowest(&self) -> u64 {
        self.undecided.first().map_or(self.next, |undecided| undecided.sequence.min(self.next))
    }

    /// The highest entry that it has reached.
    pub fn position(&self) -> u64 {
        let undecided = self.undecided.last().map_or(0, |undecided| undecided.sequence);
        self.next.saturating_sub(1).max(undecided)
    }

    /// The entries up to `last` go, of which these can be read: what `sink` has not got of them is dropped, for the reason
    /// `why`. Says whether that changes anything.
    pub fn write_off(&mut self, sink: &str, heads: &[Head], last: u64, why: &str) -> bool {
        if self.lowest() > last {
            return false;
        }
        let mut plan = Plan::new(sink, self);
        let lost: u64 = heads.iter().map(|head| plan.left(head).count(head)).sum();
        // What is not among them is missed at the next start.
        let is_gone = |sequence: u64| heads.binary_search_by_key(&sequence, |head| head.sequence).is_ok();
        self.undecided.retain(|undecided| !is_gone(undecided.sequence));
        self.next = self.next.max(last + 1);
        self.decided.retain(|decided| *decided >= self.next);
        if lost > 0 {
            self.totals.accepted += lost;
            *self.totals.dropped.entry(why.to_owned()).or_default() += lost;
        }
        true
    }

    /// The highest entry that it says anything of.
    pub fn highest(&self) -> u64 {
        self.position().max(self.decided.last().copied().unwrap_or(0))
    }
}

impl Undecided {
    /// How many records these are.
    pub fn count(&self) -> u64 {
        self.records.iter().map(|range| u64::from(range.end.saturating_sub(range.start))).sum()
    }
}

/// What of an entry a sink has still to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    None,
    /// Every record.
    All,
    /// These records: ascending ranges of indices, apart from each other.
    Records(Vec<Range<u32>>),
}

impl Left {
    /// How many records these are of the entry with this head.
    pub fn count(&self, head: &Head) -> u64 {
        match self {
            Left::None => 0,
            Left::All => u64::from(head.records),
            Left::Records(ranges) => {
                ranges.iter().map(|range| u64::from(range.end.saturating_sub(range.start))).sum()
            }
        }
    }
}

/// Gaps between entries that are remembered: of more the oldest are forgotten.
const GAPS: usize = 4096;

/// Says of each entry what a sink has still to get. It is asked for entries in ascending order, from [`Cursor::lowest`]
/// on or from before it. An entry that it was not asked for on the way is not there: it is damaged, or was never written.
#[derive(Debug, Clone)]
pub struct Plan {
    sink: Box<str>,
    next: u64,
    undecided: Vec<Undecided>,
    /// How many of `undecided` are behind.
    passed: usize,
    decided: Vec<u64>,
    /// The first and the last entry that it was asked for.
    asked: Option<(u64, u64)>,
    /// Between two entries that it was asked for one behind the other no entry is there.
    gaps: VecDeque<(u64, u64)>,
    /// The carried entries of this sink so far.
    carried: BTreeMap<u64, Carried>,
    /// The first entry that is left and carries the records of another one, by that one.
    heirs: BTreeMap<u64, u64>,
    /// The records of undecided entries that were not met, by those.
    missing: BTreeMap<u64, u64>,
}

/// What became of the records of a carried entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// Decided, or carried on.
    Decided,
    /// The entry has them.
    Left,
    /// This other entry before it still has them.
    Void { origin: u64 },
}

impl Plan {
    /// For `sink`, which has come as far as `cursor`.
    pub fn new(sink: &str, cursor: &Cursor) -> Self {
        Plan {
            sink: sink.into(),
            next: cursor.next,
            undecided: cursor.undecided.clone(),
            passed: 0,
            decided: cursor.decided.clone(),
            asked: None,
            gaps: VecDeque::new(),
            carried: BTreeMap::new(),
            heirs: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// What of the entry with this head the sink has still to get. Of one that it was asked for before, nothing more.
    pub fn left(&mut self, head: &Head) -> Left {
        let sequence = head.sequence;
        if !self.go_on(sequence) {
            return Left::None;
        }
        let undecided = self.undecided(sequence);
        if head.target.as_deref().is_some_and(|target| *target != *self.sink) {
            return Left::None;
        }
        let Some(origin) = head.carries else {
            return if sequence < self.next {
                undecided.map_or(Left::None, Left::Records)
            } else {
                Left::All
            };
        };
        let left = match self.standing(origin) {
            Some(_) => Left::None,
            None if sequence < self.next => undecided.map_or(Left::None, Left::Records),
            None if self.decided.binary_search(&sequence).is_ok() => Left::None,
            None => Left::All,
        };
        let carried = match self.standing(origin) {
            Some(origin) => Carried::Void { origin },
            None if left == Left::None => Carried::Decided,
            None => Carried::Left,
        };
        if carried == Carried::Left {
            self.heirs.insert(origin, sequence);
            self.missing.remove(&origin);
        }
        self.carried.insert(sequence, carried);
        left
    }

    /// The carried entries that this sink does not need because the entry `origin` still has their records, as
    /// `(sequence, origin)`, ascending. As soon as `origin` is decided, or carried anew, they are to stand in
    /// [`Cursor::decided`], unless `next` is above them: or the next start would take them for what is left.
    pub fn void(&self) -> impl Iterator<Item = (u64, u64)> {
        self.carried.iter().filter_map(|(sequence, carried)| match carried {
            Carried::Void { origin } => Some((*sequence, *origin)),
            _ => None,
        })
    }

    /// The same of one carried entry: the one that has its records, if that is another one.
    pub fn void_for(&self, sequence: u64) -> Option<u64> {
        match self.carried.get(&sequence) {
            Some(Carried::Void { origin }) => Some(*origin),
            _ => None,
        }
    }

    /// Records that the cursor says are undecided, but whose entries were not among those asked for: their segment is
    /// gone, or unreadable. To be asked at the end.
    pub fn missing(&self) -> u64 {
        let ahead = self.undecided[self.passed..].iter().map(Undecided::count);
        self.missing.values().copied().chain(ahead).sum()
    }

    /// Goes on to an entry. `false`: it was there before.
    fn go_on(&mut self, sequence: u64) -> bool {
        let Some((_, last)) = &mut self.asked else {
            self.asked = Some((sequence, sequence));
            return true;
        };
        if sequence <= *last {
            return false;
        }
        if sequence > *last + 1 {
            if self.gaps.len() == GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back((*last, sequence));
        }
        *last = sequence;
        true
    }

    /// Whether it was asked for this entry.
    fn is_there(&self, sequence: u64) -> bool {
        let gap = self.gaps.partition_point(|(_, above)| *above <= sequence);
        let is_in_gap = self.gaps.get(gap).is_some_and(|(below, _)| *below < sequence);
        self.asked.is_some_and(|(first, last)| (first..=last).contains(&sequence)) && !is_in_gap
    }

    /// The undecided records of an entry, and no more of those before it.
    fn undecided(&mut self, sequence: u64) -> Option<Vec<Range<u32>>> {
        while let Some(next) = self.undecided.get(self.passed).filter(|next| next.sequence <= sequence) {
            self.passed += 1;
            if next.sequence == sequence {
                return Some(next.records.clone());
            }
            self.missing.insert(next.sequence, next.count());
        }
        None
    }

    /// The entry that has the records of this one behind: it, or the one it carries them from, or one that carries
    /// them; `None` if they are decided, or gone.
    fn standing(&self, sequence: u64) -> Option<u64> {
        let standing = match self.carried.get(&sequence) {
            Some(Carried::Decided) => None,
            Some(Carried::Left) => Some(sequence),
            Some(Carried::Void { origin }) => Some(*origin),
            None => {
                let is_left = sequence >= self.next || self.undecided_at(sequence).is_some();
                (self.is_there(sequence) && is_left).then_some(sequence)
            }
        };
        standing.or_else(|| self.heirs.get(&sequence).copied())
    }

    fn undecided_at(&self, sequence: u64) -> Option<&Undecided> {
        let found = self.undecided.binary_search_by_key(&sequence, |undecided| undecided.sequence);
        found.ok().map(|at| &self.undecided[at])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges)]

    use super::*;

    fn head(sequence: u64, target: Option<&str>, carries: Option<u64>) -> Head {
        Head { sequence, records: 10, target: target.map(Into::into), carries, bytes: 0 }
    }

    fn cursor(next: u64, undecided: &[(u64, Range<u32>)], decided: &[u64]) -> Cursor {
        let undecided = undecided
            .iter()
            .map(|(sequence, records)| Undecided { sequence: *sequence, records: vec![records.clone()] });
        Cursor { undecided: undecided.collect(), decided: decided.to_vec(), ..Cursor::at(next) }
    }

    #[test]
    fn what_is_below_next_is_left_only_where_it_is_undecided() {
        let mut plan = Plan::new("a", &cursor(5, &[(3, 1..4)], &[]));
        assert_eq!(plan.left(&head(2, None, None)), Left::None);
        assert_eq!(plan.left(&head(3, None, None)), Left::Records(vec![1..4]));
        assert_eq!(plan.left(&head(4, Some("a"), None)), Left::None);
        assert_eq!(plan.left(&head(5, Some("b"), None)), Left::None);
        assert_eq!(plan.left(&head(7, Some("a"), None)), Left::All);
        assert_eq!(plan.missing(), 0);
    }

    #[test]
    fn a_carried_entry_counts_only_once_its_origin_is_decided() {
        // The origin is undecided, or not yet reached, or decided, or gone.
        for (cursor, origin, expected) in [
            (cursor(5, &[(3, 1..4)], &[]), 3, Left::None),
            (cursor(2, &[], &[]), 3, Left::None),
            (cursor(5, &[], &[]), 3, Left::All),
            (cursor(5, &[], &[9]), 3, Left::None),
            (cursor(10, &[], &[]), 3, Left::None),
            (cursor(10, &[(9, 2..3)], &[]), 3, Left::Records(vec![2..3])),
            (cursor(5, &[(1, 0..1)], &[]), 1, Left::All),
        ] {
            let mut plan = Plan::new("a", &cursor);
            for other in 2..9 {
                plan.left(&head(other, None, None));
            }
            assert_eq!(plan.left(&head(9, Some("a"), Some(origin))), expected, "{cursor:?}");
        }
    }

    #[test]
    fn what_is_carried_twice_is_left_once() {
        for (cursor, expected) in [
            (cursor(2, &[], &[]), [Left::All, Left::None, Left::None]),
            (cursor(8, &[(2, 0..3)], &[]), [Left::Records(vec![0..3]), Left::None, Left::None]),
            (cursor(3, &[], &[]), [Left::None, Left::All, Left::None]),
            (cursor(3, &[], &[5]), [Left::None, Left::None, Left::All]),
            (cursor(6, &[(5, 0..1)], &[]), [Left::None, Left::Records(vec![0..1]), Left::None]),
            (cursor(6, &[], &[7]), [Left::None, Left::None, Left::None]),
        ] {
            let mut plan = Plan::new("a", &cursor);
            let heads = [head(2, None, None), head(5, Some("a"), Some(2)), head(7, Some("a"), Some(5))];
            let left = heads.map(|head| plan.left(&head));
            assert_eq!(left, expected, "{cursor:?}");
            if left[0] != Left::None {
                assert_eq!(plan.void().collect::<Vec<_>>(), [(5, 2), (7, 2)]);
            }
        }
    }

    #[test]
    fn of_two_copies_of_what_is_gone_the_first_is_left() {
        let mut plan = Plan::new("a", &cursor(5, &[(1, 0..2)], &[]));
        let heads = [head(4, None, None), head(6, Some("a"), Some(1)), head(7, Some("a"), Some(1))];
        assert_eq!(heads.map(|head| plan.left(&head)), [Left::None, Left::All, Left::None]);
        assert_eq!((plan.missing(), plan.void().collect::<Vec<_>>()), (0, vec![(7, 6)]));
    }

    #[test]
    fn what_cannot_be_read_between_others_is_left_in_its_copy() {
        // Entry 3 is not among those that are met.
        for cursor in [cursor(2, &[], &[]), cursor(5, &[(3, 0..2)], &[])] {
            let mut plan = Plan::new("a", &cursor);
            for other in [2, 4] {
                plan.left(&head(other, None, None));
            }
            assert_eq!(plan.left(&head(6, Some("a"), Some(3))), Left::All, "{cursor:?}");
            assert_eq!(plan.left(&head(7, Some("a"), Some(3))), Left::None, "{cursor:?}");
            assert_eq!((plan.missing(), plan.void().collect::<Vec<_>>()), (0, vec![(7, 6)]));
        }
    }

    #[test]
    fn an_entry_is_left_to_whoever_meets_it_first() {
        let mut plan = Plan::new("a", &cursor(2, &[], &[]));
        let heads = [head(2, None, None), head(4, None, None), head(3, None, None), head(4, None, None)];
        assert_eq!(heads.map(|head| plan.left(&head)), [Left::All, Left::All, Left::None, Left::None]);
    }

    #[test]
    fn undecided_records_that_are_in_no_segment_are_missing() {
        let cursor = cursor(9, &[(1, 0..3), (4, 0..1), (8, 2..4)], &[]);
        let mut plan = Plan::new("a", &cursor);
        plan.left(&head(4, None, None));
        plan.left(&head(5, None, None));
        assert_eq!(plan.missing(), 5);
        // What carries them was found.
        assert_eq!(plan.left(&head(10, Some("a"), Some(1))), Left::All);
        assert_eq!(plan.missing(), 2);
    }
}
