//! The log against a model of it: histories with failing disks, crashes and restarts, and what each sink is given after
//! each of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::segment::{Beginning, HEADER_BYTES};
use super::disk::{Disk, Random};
use super::*;

const SINKS: [&str; 2] = ["a", "b"];

/// One step of a history.
#[derive(Debug, Clone)]
enum Action {
    /// Appends so many entries with so many records each; the last for one sink only.
    Append {
        entries: u64,
        records: usize,
        target: Option<usize>,
    },
    Sync,
    /// A sink decides some of what it was given, durable or not.
    Decide {
        sink: usize,
        of_ten: u64,
    },
    /// Stores a cursor of a sink: at most at this part of what is decided.
    Put {
        sink: usize,
        lag: u64,
    },
    /// Appends what is left of the oldest entry of a sink again.
    Carry {
        sink: usize,
    },
    Reclaim,
    RemoveOldest,
    Restart,
    /// So many of a hundred operations fail.
    Fail {
        percent: u64,
    },
    /// The machine stops after so many operations.
    Stop {
        operations: u64,
    },
    /// Power fails, or the process is killed; or it ends as it should. The next one may lack the second sink.
    Crash {
        is_power: bool,
        sinks: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let sink = 0..SINKS.len();
    let target = prop_oneof![3 => Just(None), 1 => sink.clone().prop_map(Some)];
    prop_oneof![
        10 => (1..4_u64, 1..6_usize, target)
            .prop_map(|(entries, records, target)| Action::Append { entries, records, target }),
        5 => Just(Action::Sync),
        8 => (sink.clone(), 0..11_u64).prop_map(|(sink, of_ten)| Action::Decide { sink, of_ten }),
        5 => (sink.clone(), 0..4_u64).prop_map(|(sink, lag)| Action::Put { sink, lag }),
        4 => sink.prop_map(|sink| Action::Carry { sink }),
        2 => Just(Action::Reclaim),
        1 => Just(Action::RemoveOldest),
        2 => Just(Action::Restart),
        1 => prop_oneof![Just(0), Just(10_u64), Just(60)].prop_map(|percent| Action::Fail { percent }),
        1 => (1..60_u64).prop_map(|operations| Action::Stop { operations }),
        3 => (any::<bool>(), 1..=SINKS.len())
            .prop_map(|(is_power, sinks)| Action::Crash { is_power, sinks }),
    ]
}

/// What is sure of a record's being on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Safety {
    /// It was appended, and not synced since.
    Unsynced,
    /// It was synced: it may never be lost.
    Durable,
    /// The write or the sync failed: it may be there, now or later, or not.
    Doubtful,
}

/// A record, named by its text.
#[derive(Debug, Clone)]
struct Truth {
    safety: Safety,
    /// When it was appended, among all of them.
    born: u64,
    entry: u64,
    target: Option<usize>,
}

/// A cursor that may be the one on disk.
#[derive(Debug, Clone)]
struct Snapshot {
    cursor: Cursor,
    /// What was not born by then is left.
    born: u64,
    /// Of the others these, and no more.
    left: BTreeSet<String>,
}

/// An entry in front of a sink.
#[derive(Debug, Clone)]
struct Given {
    names: Vec<String>,
    undecided: BTreeSet<u32>,
    is_carried: bool,
}

/// What a sink knows.
#[derive(Debug, Default)]
struct Sink {
    is_there: bool,
    given: BTreeMap<u64, Given>,
    /// Carried entries that are not needed while the other stands.
    void: Vec<(u64, u64)>,
    /// What may be on disk: the last one that was stored for sure, and what was tried since.
    stored: Vec<Snapshot>,
}

struct World {
    disk: Disk,
    random: Random,
    log: Option<Log<Disk>>,
    /// The next sequence number.
    next: u64,
    born: u64,
    truth: BTreeMap<String, Truth>,
    sinks: Vec<Sink>,
    /// Which sinks there are.
    count: usize,
    /// The highest number that is on disk for sure.
    durable: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = World {
            disk: Disk::new(seed),
            random: Random(!seed),
            log: None,
            next: 1,
            born: 0,
            truth: BTreeMap::new(),
            sinks: (0..SINKS.len()).map(|_| Sink::default()).collect(),
            count: SINKS.len(),
            durable: 0,
        };
        world.open();
        world
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Append { entries, records, target } => self.append(entries, records, target),
            Action::Sync => drop(self.sync()),
            Action::Decide { sink, of_ten } => self.decide(sink, of_ten),
            Action::Put { sink, lag } => drop(self.put(sink, lag)),
            Action::Carry { sink } => self.carry(sink),
            Action::Reclaim => drop(self.log().reclaim()),
            Action::RemoveOldest => self.remove_oldest(),
            Action::Restart => {
                let _ = self.log().restart();
                self.sync();
            }
            Action::Fail { percent } => self.disk.fail(percent),
            Action::Stop { operations } => self.disk.stop_after(operations),
            Action::Crash { is_power, sinks } => {
                self.count = sinks;
                self.crash(is_power);
            }
        }
        if self.disk.is_stopped() {
            self.crash(true);
        }
    }

    fn log(&mut self) -> &mut Log<Disk> {
        self.log.as_mut().unwrap()
    }

    fn append(&mut self, entries: u64, records: usize, target: Option<usize>) {
        let mut group = Vec::new();
        for at in 0..entries {
            let target = target.filter(|_| at + 1 == entries);
            let names: Vec<_> = (0..records).map(|_| self.name()).collect();
            let entry = self.entry(&names, target, None);
            let sequence = entry.chunk.position().sequence;
            for name in &names {
                let truth = Truth { safety: Safety::Doubtful, born: self.born, entry: sequence, target };
                self.truth.insert(name.clone(), truth);
            }
            group.push((entry, names, target));
        }
        let entries: Vec<_> = group.iter().map(|(entry, _, _)| entry.clone()).collect();
        if self.log().append(&entries).is_err() {
            // The sinks got it in memory, perhaps; nothing of it need be there again. Nor what was before it, if a
            // sync is what failed.
            self.sync();
            return;
        }
        for (entry, names, target) in group {
            for name in &names {
                self.truth.get_mut(name).unwrap().safety = Safety::Unsynced;
            }
            for (index, sink) in self.sinks.iter_mut().enumerate() {
                if sink.is_there && target.is_none_or(|target| target == index) {
                    let undecided = (0..names.len() as u32).collect();
                    let given = Given { names: names.clone(), undecided, is_carried: false };
                    sink.given.insert(entry.chunk.position().sequence, given);
                }
            }
        }
    }

    fn name(&mut self) -> String {
        self.born += 1;
        format!("r{}", self.born)
    }

    /// An entry with the next number, or one behind it.
    fn entry(&mut self, names: &[String], target: Option<usize>, carries: Option<u64>) -> Entry {
        let text: String = names.iter().map(|name| format!("{name}:1|c\n")).collect();
        let mut open = open_chunk(&text);
        open.set_target(target.map(|target| SINKS[target].into()));
        let sequence = self.next + self.random.below(2);
        self.next = sequence + 1;
        assert!(sequence > self.durable, "a number is used again");
        Entry { carries, ..sealed(open, sequence) }
    }

    /// Says whether all that was appended is durable.
    fn sync(&mut self) -> bool {
        let synced = self.log().sync();
        let safety = if synced.is_ok() { Safety::Durable } else { Safety::Doubtful };
        self.settle(safety);
        if synced.is_ok() {
            let durable = self.truth.values().filter(|truth| truth.safety == Safety::Durable);
            self.durable = durable.map(|truth| truth.entry).fold(self.durable, u64::max);
            assert_eq!(self.log().durable(), self.log().written());
        }
        synced.is_ok()
    }

    /// What was not synced by now is safe, or in doubt for good.
    fn settle(&mut self, safety: Safety) {
        for truth in self.truth.values_mut().filter(|truth| truth.safety == Safety::Unsynced) {
            truth.safety = safety;
        }
    }

    fn decide(&mut self, sink: usize, of_ten: u64) {
        let World { sinks, random, .. } = self;
        for given in sinks[sink].given.values_mut() {
            // A sink works on some of its entries at a time.
            if random.once_in(2) {
                given.undecided.retain(|_| random.below(10) >= of_ten);
            }
        }
    }

    /// Stores a cursor, as far as the log is durable. Says whether it is stored.
    fn put(&mut self, sink: usize, lag: u64) -> bool {
        if !self.sinks[sink].is_there {
            return false;
        }
        self.sync();
        let durable = self.log().durable();
        let (cursor, left) = self.sinks[sink].cursor(durable, lag, &mut self.random, &self.truth);
        let stored = self.log.as_mut().unwrap().put_cursor(SINKS[sink], &cursor);
        if stored.is_ok() {
            self.durable = self.durable.max(cursor.position());
        }
        let snapshot = Snapshot { cursor, born: self.born, left };
        match &stored {
            Ok(()) => self.sinks[sink].stored = vec![snapshot],
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
                self.sinks[sink].stored.push(snapshot);
            }
        }
        stored.is_ok()
    }

    fn carry(&mut self, sink: usize) {
        let oldest = self.sinks[sink].given.iter().find(|(_, given)| !given.undecided.is_empty());
        let Some((&origin, given)) = oldest.filter(|_| self.sinks[sink].is_there) else { return };
        let names: Vec<_> =
            given.undecided.iter().map(|index| given.names[*index as usize].clone()).collect();
        // What may itself not be there is not carried.
        if !names.iter().all(|name| self.truth[name].safety == Safety::Durable) {
            return;
        }
        let entry = self.entry(&names, Some(sink), Some(origin));
        let sequence = entry.chunk.position().sequence;
        let is_appended = self.log().append(&[entry]).is_ok();
        let is_there = self.sync() && is_appended;
        let sink = &mut self.sinks[sink];
        if !is_there {
            sink.void.push((sequence, origin));
            return;
        }
        sink.given.get_mut(&origin).unwrap().undecided.clear();
        let undecided = (0..names.len() as u32).collect();
        sink.given.insert(sequence, Given { names, undecided, is_carried: true });
    }

    /// As at `max_size`: what is left in the oldest segment is dropped, the cursors say so, and then it goes.
    fn remove_oldest(&mut self) {
        let Some(oldest) = self.log().oldest().filter(|_| self.sinks.iter().all(|sink| sink.is_there)) else {
            return;
        };
        if !self.sync() {
            return;
        }
        for sink in &mut self.sinks {
            sink.given.range_mut(..=oldest.last).for_each(|(_, given)| given.undecided.clear());
        }
        if (0..SINKS.len()).all(|sink| self.put(sink, 0)) {
            let _ = self.log().remove_oldest();
            self.sync();
        }
    }

    /// The process ends, and the next one starts.
    fn crash(&mut self, is_power: bool) {
        self.log = None;
        if is_power {
            self.disk.crash();
            self.settle(Safety::Doubtful);
        } else {
            self.disk.kill();
        }
        self.open();
        if is_power {
            // What was in doubt is settled: it is there, or it is gone for good.
            let there = self.names_in_log();
            self.truth.retain(|name, truth| truth.safety == Safety::Durable || there.contains(name));
            self.truth.values_mut().for_each(|truth| truth.safety = Safety::Durable);
        }
    }

    fn names_in_log(&mut self) -> BTreeSet<String> {
        let block = Reader::new(self.log().extent(), 0).read(usize::MAX).unwrap();
        block.entries.iter().flat_map(|found| names(&found.chunk)).collect()
    }

    /// Segments whose file was another one's.
    fn reuses(&self) -> usize {
        let segments = self.log.as_ref().unwrap().segments();
        let is_reused = |segment: &SegmentInfo| {
            let mut bytes = [0; HEADER_BYTES as usize];
            let mut have = 0;
            while have < bytes.len() {
                let file = self.disk.open(&file_name(segment.first)).unwrap();
                have += file.read_at(have as u64, &mut bytes[have..]).unwrap();
            }
            matches!(Beginning::of(&bytes), Beginning::Header(header) if header.is_reused)
        };
        segments.iter().filter(|segment| is_reused(segment)).count()
    }

    /// Starts a process, and checks all that it finds.
    fn open(&mut self) {
        let sinks: Vec<_> = SINKS[..self.count].iter().map(|sink| (*sink, Begin::Start)).collect();
        // Starts may fail, and harm nothing.
        for _ in 0..self.random.below(3) {
            // It syncs, and that may fail.
            self.settle(Safety::Doubtful);
            self.disk.fail(3);
            let _ = Log::open(self.disk.clone(), SMALL, &sinks);
            self.disk.fail(0);
        }
        let (log, recovery) = Log::open(self.disk.clone(), SMALL, &sinks).unwrap();
        self.settle(Safety::Durable);
        assert!(recovery.last >= self.durable, "{} of {}", recovery.last, self.durable);
        assert_eq!((log.written(), log.durable()), (recovery.last, recovery.last));
        self.next = recovery.last + 1;
        self.log = Some(log);
        let block = Reader::new(self.log().extent(), 0).read(usize::MAX).unwrap();
        let sequences = sequences(&block);
        assert!(sequences.is_sorted_by(|a, b| a < b));
        assert_eq!((block.miscounted, block.entries.len() as u64), (0, recovery.entries));
        for (index, sink) in SINKS.iter().enumerate() {
            let orphan = recovery.orphans.iter().find(|orphan| orphan.name == *sink);
            self.check_sink(index, &block, recovery.lanes.get(index), orphan);
        }
    }

    /// Gives a sink what its cursor leaves, and compares.
    fn check_sink(&mut self, index: usize, block: &Block, lane: Option<&Lane>, orphan: Option<&Orphan>) {
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
    fn cursor(
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

fn names(chunk: &Chunk) -> Vec<String> {
    let records = (0..chunk.len()).map(|index| chunk.received(index).record.name.decode().into_owned());
    records.collect()
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: 8 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_each_sink_gets_what_is_durable_and_not_decided_once(
        seed: u64,
        history in prop::collection::vec(action(), 1..60),
    ) {
        let mut world = World::new(seed);
        for action in &history {
            world.run(action);
        }
        world.crash(true);
    }
}

/// A history with everything in it.
const HISTORY: [Action; 27] = [
    Action::Append { entries: 3, records: 2, target: None },
    Action::Sync,
    Action::Append { entries: 2, records: 3, target: Some(1) },
    Action::Decide { sink: 0, of_ten: 5 },
    Action::Decide { sink: 1, of_ten: 10 },
    Action::Put { sink: 0, lag: 0 },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Put { sink: 1, lag: 1 },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Carry { sink: 0 },
    Action::Put { sink: 0, lag: 0 },
    Action::Reclaim,
    Action::Restart,
    Action::Decide { sink: 0, of_ten: 10 },
    Action::Append { entries: 1, records: 1, target: None },
    Action::RemoveOldest,
    // Segments that are done with give their files to others.
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 3, records: 5, target: None },
    Action::RemoveOldest,
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Sync,
    Action::RemoveOldest,
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 2, records: 5, target: None },
    Action::Sync,
    Action::Append { entries: 1, records: 5, target: None },
];

#[test]
fn the_machine_may_stop_in_any_operation() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        HISTORY.iter().for_each(|action| world.run(action));
        let all = world.disk.operations();
        assert!(all > 60);
        assert!(world.reuses() > 0);
        for operations in 1..all {
            let mut world = World::new(seed);
            world.disk.stop_after(operations);
            HISTORY.iter().for_each(|action| world.run(action));
            world.crash(true);
        }
    }
}

#[test]
fn a_segment_that_could_not_be_begun_and_not_be_removed_hides_no_other() {
    let history = [
        Action::Append { entries: 1, records: 2, target: None },
        Action::Put { sink: 0, lag: 0 },
        Action::Crash { is_power: false, sinks: 1 },
        Action::Fail { percent: 60 },
        Action::Append { entries: 1, records: 1, target: None },
        Action::Restart,
        Action::Fail { percent: 0 },
        Action::Restart,
        Action::Append { entries: 1, records: 1, target: None },
        Action::Append { entries: 1, records: 1, target: None },
        Action::Restart,
    ];
    let mut world = World::new(3_672_149_591_309_401_380);
    history.iter().for_each(|action| world.run(action));
    world.crash(true);
}
