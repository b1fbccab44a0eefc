//! The log, the disk under it, and what is true of every record.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::segment::{Beginning, HEADER_BYTES};
use super::super::disk::{Disk, Random, Remains};
use super::queue::Queue;
use super::sink::{Given, Sink, Snapshot};
use super::*;

/// What is sure of a record's being on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// It was appended, and not synced since.
    Unsynced,
    /// It was synced: it may never be lost.
    Durable,
    /// The write or the sync failed: it may be there, now or later, or not.
    Doubtful,
}

/// A record, named by its text.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) safety: Safety,
    /// When it was appended, among all of them.
    pub(super) born: u64,
    pub(super) entry: u64,
    pub(super) target: Option<usize>,
}

pub(super) struct World {
    settings: Settings,
    /// So many starts may fail before one does not.
    failing_starts: u64,
    pub(super) disk: Disk,
    pub(super) random: Random,
    pub(super) log: Option<Log<Disk>>,
    /// The next sequence number.
    next: u64,
    born: u64,
    pub(super) truth: BTreeMap<String, Truth>,
    pub(super) sinks: Vec<Sink>,
    /// Which sinks there are.
    count: usize,
    /// The highest number that is on disk for sure.
    durable: u64,
    pub(super) queue: Queue,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        World::with(SMALL, 2, seed)
    }

    pub(super) fn with(settings: Settings, failing_starts: u64, seed: u64) -> Self {
        let mut world = World {
            settings,
            failing_starts,
            disk: Disk::new(seed),
            random: Random(!seed),
            log: None,
            next: 1,
            born: 0,
            truth: BTreeMap::new(),
            sinks: (0..SINKS.len()).map(|_| Sink::default()).collect(),
            count: SINKS.len(),
            durable: 0,
            queue: Queue::default(),
        };
        world.open();
        world
    }

    /// The same on a disk of its own, with no process.
    pub(super) fn copy(&self) -> Self {
        World {
            disk: self.disk.copy(),
            log: None,
            random: self.random.clone(),
            truth: self.truth.clone(),
            sinks: self.sinks.clone(),
            queue: self.queue.clone(),
            ..*self
        }
    }

    pub(super) fn run(&mut self, action: &Action) {
        self.act(action);
        if self.disk.is_stopped() {
            self.crash(true);
        }
    }

    /// The machine may stop in it.
    pub(super) fn act(&mut self, action: &Action) {
        match *action {
            Action::Append { entries, records, target } => self.append(entries, records, target),
            Action::Sync => drop(self.sync()),
            Action::Take { messages } => self.take(messages),
            Action::Confirm { of_ten } => self.confirm(of_ten),
            Action::PutKnown { most } => drop(self.log().put_known(most)),
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
            Action::Crash { is_power, sinks, has_queue } => {
                self.count = sinks;
                self.queue.is_there = has_queue;
                self.crash(is_power);
            }
        }
    }

    pub(super) fn log(&mut self) -> &mut Log<Disk> {
        self.log.as_mut().unwrap()
    }

    fn append(&mut self, entries: u64, records: usize, target: Option<usize>) {
        let mut group = Vec::new();
        for at in 0..entries {
            let target = target.filter(|_| at + 1 == entries);
            let names: Vec<_> = (0..records).map(|_| self.name()).collect();
            let entry = self.entry(&names, target, None);
            let sequence = entry.chunk.position().sequence;
            self.bear(&names, sequence, target);
            group.push((entry, names, target));
        }
        self.append_group(group);
    }

    /// These records are about to be appended.
    pub(super) fn bear(&mut self, names: &[String], entry: u64, target: Option<usize>) {
        for name in names {
            let truth = Truth { safety: Safety::Doubtful, born: self.born, entry, target };
            self.truth.insert(name.clone(), truth);
        }
    }

    pub(super) fn append_group(&mut self, group: Vec<(Entry, Vec<String>, Option<usize>)>) {
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

    pub(super) fn name(&mut self) -> String {
        self.born += 1;
        format!("r{}", self.born)
    }

    /// An entry with the next number, or one behind it.
    pub(super) fn entry(&mut self, names: &[String], target: Option<usize>, carries: Option<u64>) -> Entry {
        let text: String = names.iter().map(|name| format!("{name}:1|c\n")).collect();
        let mut open = open_chunk(&text);
        open.set_target(target.map(|target| SINKS[target].into()));
        Entry { carries, ..sealed(open, self.number()) }
    }

    /// The next number, or one behind it.
    pub(super) fn number(&mut self) -> u64 {
        let sequence = self.next + self.random.below(2);
        self.next = sequence + 1;
        assert!(sequence > self.durable, "a number is used again");
        sequence
    }

    /// Says whether all that was appended is durable.
    pub(super) fn sync(&mut self) -> bool {
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
    pub(super) fn settle(&mut self, safety: Safety) {
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
    pub(super) fn crash(&mut self, is_power: bool) {
        self.log = None;
        if is_power {
            self.disk.crash();
            self.open_after_power();
        } else {
            self.disk.kill();
            self.open();
        }
    }

    /// Power fails, and leaves this of what was not synced.
    pub(super) fn crash_to(&mut self, remains: Remains) {
        self.log = None;
        self.disk.crash_to(remains);
        self.open_after_power();
    }

    fn open_after_power(&mut self) {
        self.settle(Safety::Doubtful);
        self.open();
        // What was in doubt is settled: it is there, or it is gone for good.
        let there = self.names_in_log();
        self.truth.retain(|name, truth| truth.safety == Safety::Durable || there.contains(name));
        self.truth.values_mut().for_each(|truth| truth.safety = Safety::Durable);
        self.queue.redeliver();
    }

    fn names_in_log(&mut self) -> BTreeSet<String> {
        let block = Reader::new(self.log().extent(), 0).read(usize::MAX).unwrap();
        block.entries.iter().flat_map(|found| names(&found.chunk)).collect()
    }

    /// Segments whose file was another one's.
    pub(super) fn reuses(&self) -> usize {
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
        let queues: &[&str] = if self.queue.is_there { &[QUEUE] } else { &[] };
        // Starts may fail, or the machine may stop in them, and harm nothing.
        for _ in 0..self.random.below(self.failing_starts + 1) {
            // It syncs, and that may fail.
            self.settle(Safety::Doubtful);
            self.find();
            if self.random.once_in(2) {
                self.disk.stop_after(1 + self.random.below(40));
            } else {
                self.disk.fail(3);
            }
            let _ = Log::open(self.disk.clone(), self.settings, &sinks, queues);
            if self.disk.is_stopped() {
                self.disk.crash();
            } else {
                self.disk.kill();
            }
        }
        let (log, recovery) = Log::open(self.disk.clone(), self.settings, &sinks, queues).unwrap();
        self.settle(Safety::Durable);
        assert!(recovery.last >= self.durable, "{} of {}", recovery.last, self.durable);
        assert_eq!((log.written(), log.durable()), (recovery.last, recovery.last));
        self.next = recovery.last + 1;
        self.log = Some(log);
        let block = Reader::new(self.log().extent(), 0).read(usize::MAX).unwrap();
        let sequences = sequences(&block);
        assert!(sequences.is_sorted_by(|a, b| a < b));
        assert!(sequences.last().is_none_or(|last| *last <= recovery.last), "a number would be used again");
        assert_eq!((block.miscounted, block.entries.len() as u64), (0, recovery.entries));
        for (index, sink) in SINKS.iter().enumerate() {
            let orphan = recovery.orphans.iter().find(|orphan| orphan.name == *sink);
            self.check_sink(index, &block, recovery.lanes.get(index), orphan);
        }
        self.check_queue(&block, &recovery.orphan_queues);
    }
}

pub(super) fn names(chunk: &Chunk) -> Vec<String> {
    let records = (0..chunk.len()).map(|index| chunk.received(index).record.name.decode().into_owned());
    records.collect()
}
