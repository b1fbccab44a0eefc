//! A sink in front of the log: what it was given, what it has decided, and which cursors say so.

use std::collections::{BTreeMap, BTreeSet};

use super::super::disk::Random;
use super::world::{Safety, Truth, World, names};
use super::*;

/// A cursor that may be the one on disk.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) cursor: Cursor,
    /// What was not born by then is left.
    pub(super) born: u64,
    /// Of the others these, and no more.
    pub(super) left: BTreeSet<String>,
}

/// An entry in front of a sink.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) names: Vec<String>,
    pub(super) undecided: BTreeSet<u32>,
    pub(super) is_carried: bool,
}

/// What a sink knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Sink {
    pub(super) is_there: bool,
    pub(super) given: BTreeMap<u64, Given>,
    /// Carried entries that are not needed while the other stands.
    pub(super) void: Vec<(u64, u64)>,
    /// What may be on disk: the last one that was stored for sure, and what was tried since.
    pub(super) stored: Vec<Snapshot>,
}

impl World {
    /// Gives a sink what its cursor leaves, and compares.
    pub(super) fn check_sink(
        &mut self,
        index: usize,
        block: &Block,
        lane: Option<&Lane>,
        orphan: Option<&Orphan>,
    ) {
        let sink = &mut self.sinks[index];
        sink.is_there = lane.is_some();
        let cursor = match lane {
            Some(lane) => lane.cursor.clone(),
            None => cursor::file::load(&self.disk, SINKS[index]).unwrap().unwrap(),
        };
        let first = || Snapshot { cursor: Cursor::at(0), born: 0, left: BTreeSet::new() };
        let snapshot = sink.stored.iter().find(|stored| stored.cursor == cursor).cloned();
        let snapshot = match (snapshot, sink.stored.is_empty()) {
            (Some(snapshot), _) => snapshot,
            (None, true) => first(),
            (None, false) => panic!("{cursor:?} was never stored"),
        };
        sink.stored = vec![snapshot.clone()];

        let mut plan = Plan::new(SINKS[index], &cursor);
        let mut seen = BTreeSet::new();
        sink.given.clear();
        for found in &block.entries {
            let names = names(&found.chunk);
            let left: BTreeSet<u32> = match plan.left(&found.head()) {
                Left::None => continue,
                Left::All => (0..names.len() as u32).collect(),
                Left::Records(ranges) => ranges.into_iter().flatten().collect(),
            };
            for name in left.iter().map(|index| &names[*index as usize]) {
                assert!(seen.insert(name.clone()), "{name} comes twice to {}", SINKS[index]);
            }
            let given = Given { names, undecided: left, is_carried: found.carries.is_some() };
            sink.given.insert(found.chunk.position().sequence, given);
        }
        // What was decided once stays so; there is no entry 0 that it could wait for.
        sink.void = plan.void().chain(cursor.decided.iter().map(|sequence| (*sequence, 0))).collect();
        for (name, truth) in &self.truth {
            let is_for_it = truth.target.is_none_or(|target| target == index);
            let is_left = is_for_it && (truth.born > snapshot.born || snapshot.left.contains(name));
            match truth.safety {
                _ if !is_left => assert!(!seen.contains(name), "{name} comes again to {}", SINKS[index]),
                Safety::Durable => assert!(seen.contains(name), "{name} is lost for {}", SINKS[index]),
                _ => {}
            }
        }
        assert!(seen.iter().all(|name| self.truth.contains_key(name)), "invented");
        let count = seen.len() as u64;
        match (lane, orphan) {
            (Some(lane), None) => assert_eq!((lane.waiting, lane.missing), (count, plan.missing())),
            (None, Some(orphan)) => assert_eq!(orphan.records, count),
            other => panic!("{other:?}"),
        }
    }
}

impl Sink {
    /// A cursor, not beyond `durable`, and what it leaves of all that there is.
    pub(super) fn cursor(
        &self,
        durable: u64,
        lag: u64,
        random: &mut Random,
        truth: &BTreeMap<String, Truth>,
    ) -> (Cursor, BTreeSet<String>) {
        // It never goes back.
        let least = self.stored.iter().map(|stored| stored.cursor.next).max().unwrap_or(0);
        let next = (durable + 1).saturating_sub(random.below(lag * 3 + 1)).max(least);
        let mut cursor = Cursor::at(next);
        let mut left = BTreeSet::new();
        let mut decided = BTreeSet::new();
        for (&sequence, given) in &self.given {
            let names = given.names.iter();
            if sequence < next {
                if !given.undecided.is_empty() {
                    let records = given.undecided.iter().map(|index| *index..*index + 1).collect();
                    cursor.undecided.push(Undecided { sequence, records });
                }
                left.extend(given.undecided.iter().map(|index| given.names[*index as usize].clone()));
            } else if given.is_carried && given.undecided.is_empty() {
                decided.insert(sequence);
            } else {
                left.extend(names.cloned());
            }
        }
        // A copy counts once what it is a copy of does not.
        for (sequence, origin) in self.void.iter().filter(|(sequence, _)| *sequence >= next) {
            let stands = match self.given.get(origin) {
                Some(given) => !given.undecided.is_empty() || *origin >= next && !given.is_carried,
                None => false,
            };
            if !stands {
                decided.insert(*sequence);
            }
        }
        cursor.decided = decided.into_iter().collect();
        // What was appended in vain, and stands there perhaps, is left as well.
        let in_vain =
            truth.iter().filter(|(_, truth)| truth.safety == Safety::Doubtful && truth.entry >= next);
        left.extend(in_vain.map(|(name, _)| name.clone()));
        (cursor, left)
    }
}
