//! A folder in memory that fails, and forgets in a crash whatever was not synced, as a disk may.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::journal::files::{File, Files};

/// A disk. Its clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Clone)]
struct State {
    random: Random,
    nodes: Vec<Node>,
    /// As they are seen.
    names: Names,
    /// As they were when the folder was last synced, and what was done to them since.
    synced: Names,
    changes: Vec<Change>,
    /// How many of a hundred operations fail.
    failing: u64,
    /// After so many operations the machine stops.
    lifetime: Option<u64>,
    operations: u64,
    /// The write in which the machine stopped, and the file that it was for.
    interrupted: Option<(usize, Write)>,
    /// The file that it does not give.
    hidden: Option<usize>,
}

type Names = BTreeMap<String, usize>;

/// What a file holds.
#[derive(Debug, Default, Clone)]
struct Node {
    /// As it is seen.
    seen: Vec<u8>,
    /// As it was when it was last synced, and what was done to it since.
    synced: Vec<u8>,
    changes: Vec<Write>,
    /// What was done before a sync that failed: no other sync is good for it.
    doubtful: Vec<Write>,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Name(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remains {
    /// A bit for each change that was done to a file or to a name: whether it is there.
    done: u64,
    /// What is there of the write in which the machine stopped.
    of_interrupted: Part,
}

/// A part of a write.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// So many bytes from its beginning on.
    Beginning(usize),
    /// All but so many bytes of its beginning.
    End(usize),
}

/// Any numbers, the same ones for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    /// Once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Disk(Arc::new(Mutex::new(State {
            random: Random(seed),
            nodes: Vec::new(),
            names: Names::new(),
            synced: Names::new(),
            changes: Vec::new(),
            failing: 0,
            lifetime: None,
            operations: 0,
            interrupted: None,
            hidden: None,
        })))
    }

    /// From now on so many of a hundred operations fail.
    pub(super) fn fail(&self, percent: u64) {
        self.state().failing = percent;
    }

    /// The machine stops in the middle of the operation after so many.
    pub(super) fn stop_after(&self, operations: u64) {
        self.state().lifetime = Some(operations);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().lifetime == Some(0)
    }

    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// From now on it does not give what is in this file.
    pub(super) fn hide(&self, name: Option<&str>) {
        let mut state = self.state();
        state.hidden = name.map(|name| state.find(name).unwrap());
    }

    /// Another disk, which is as this one is now.
    pub(super) fn copy(&self) -> Disk {
        Disk(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The power is back: what was not synced is there in any part, or not. Nothing fails from now on.
    pub(super) fn crash(&self) {
        let state = &mut *self.state();
        let random = &mut state.random;
        if let Some((node, write)) = state.interrupted.take() {
            let begun = Part::Beginning(random.below(write.length() as u64 + 1) as usize);
            state.nodes[node].changes.push(write.part(begun));
        }
        for node in &mut state.nodes {
            node.crash(random);
        }
        for change in state.changes.drain(..) {
            if random.once_in(2) {
                apply(&mut state.synced, change);
            }
        }
        state.restart();
    }

    /// All that a crash may leave now: each of the changes that were not synced or not, and with each of that every
    /// beginning and every end of the write in which the machine stopped.
    pub(super) fn remains(&self) -> Vec<Remains> {
        let state = self.state();
        let unsynced = |node: &Node| node.doubtful.len() + node.changes.len();
        let changes = state.changes.len() + state.nodes.iter().map(unsynced).sum::<usize>();
        let length = state.interrupted.as_ref().map_or(0, |(_, write)| write.length());
        let parts = (0..=length).map(Part::Beginning).chain((1..length).map(Part::End));
        parts
            .flat_map(|of_interrupted| (0..1 << changes).map(move |done| Remains { done, of_interrupted }))
            .collect()
    }

    /// The power is back, and this is there. Nothing fails from now on.
    pub(super) fn crash_to(&self, remains: Remains) {
        let state = &mut *self.state();
        let mut done = (0..64).map(|bit| remains.done >> bit & 1 == 1);
        let mut is_done = || done.next().unwrap();
        for node in &mut state.nodes {
            for write in node.unsynced().iter().filter(|_| is_done()) {
                write.apply(&mut node.synced);
            }
        }
        if let Some((node, write)) = state.interrupted.take() {
            write.part(remains.of_interrupted).apply(&mut state.nodes[node].synced);
        }
        for node in &mut state.nodes {
            node.seen = node.synced.clone();
        }
        for change in state.changes.drain(..).filter(|_| is_done()) {
            apply(&mut state.synced, change);
        }
        state.restart();
    }

    /// The process was killed: the kernel has all that was written. Nothing fails from now on.
    pub(super) fn kill(&self) {
        let mut state = self.state();
        (state.failing, state.lifetime) = (0, None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, for an operation that does not fail; else how much of it is done.
    fn operation(&self) -> Result<MutexGuard<'_, State>, (MutexGuard<'_, State>, io::Error)> {
        let mut state = self.state();
        state.operations += 1;
        let failing = state.failing;
        match &mut state.lifetime {
            Some(0) => return Err((state, io::Error::other("the machine has stopped"))),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    return Err((state, io::Error::other("the machine stops")));
                }
            }
            None => {}
        }
        if state.random.below(100) < failing {
            let error = if state.random.once_in(2) { ErrorKind::StorageFull.into() } else { eio() };
            return Err((state, error));
        }
        Ok(state)
    }

    /// An operation that is done, or is not done and fails.
    fn whole(&self) -> io::Result<MutexGuard<'_, State>> {
        self.operation().map_err(|(_, error)| error)
    }

    fn handle(&self, node: usize) -> Handle {
        Handle { disk: self.clone(), node }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn apply(names: &mut Names, change: Change) {
    match change {
        Change::Name(name, node) => {
            names.insert(name, node);
        }
        Change::Rename(from, to, node) => {
            names.remove(&from);
            names.insert(to, node);
        }
        Change::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    /// What is on the disk is what is seen from now on, and nothing fails.
    fn restart(&mut self) {
        self.names = self.synced.clone();
        (self.failing, self.lifetime) = (0, None);
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, change.clone());
        self.changes.push(change);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or(ErrorKind::NotFound.into())
    }
}

impl Node {
    /// What was done since the last sync that succeeded; nothing from now on.
    fn unsynced(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.doubtful);
        writes.append(&mut self.changes);
        writes
    }

    fn crash(&mut self, random: &mut Random) {
        let mut writes = self.unsynced();
        // All, or nothing, or anything between in any order.
        match random.below(4) {
            0 => {}
            1 => writes.iter().for_each(|write| write.apply(&mut self.synced)),
            _ => {
                for _ in 0..writes.len() {
                    let at = random.below(writes.len() as u64) as usize;
                    let write = writes.swap_remove(at);
                    if !random.once_in(3) {
                        write.torn(random).apply(&mut self.synced);
                    }
                }
            }
        }
        self.seen = self.synced.clone();
    }
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Write::Cut(length) => to.truncate(*length),
            Write::Bytes { at, bytes } => {
                to.resize(to.len().max(at + bytes.len()), 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// The bytes that it writes.
    fn length(&self) -> usize {
        match self {
            Write::Bytes { bytes, .. } => bytes.len(),
            Write::Cut(_) => 0,
        }
    }

    fn part(self, part: Part) -> Write {
        match (self, part) {
            (Write::Bytes { at, mut bytes }, Part::Beginning(length)) => {
                bytes.truncate(length);
                Write::Bytes { at, bytes }
            }
            (Write::Bytes { at, mut bytes }, Part::End(missing)) => {
                Write::Bytes { at: at + missing, bytes: bytes.split_off(missing) }
            }
            (cut, _) => cut,
        }
    }

    /// Some of it: its beginning, or all but that.
    fn torn(self, random: &mut Random) -> Write {
        if matches!(self, Write::Cut(_)) || !random.once_in(2) {
            return self;
        }
        let cut = random.below(self.length() as u64 + 1) as usize;
        self.part(if random.once_in(3) { Part::End(cut) } else { Part::Beginning(cut) })
    }
}

impl Files for Disk {
    type File = Handle;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.whole()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Handle> {
        let mut state = self.whole()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.change(Change::Name(name.to_owned(), node));
        Ok(self.handle(node))
    }

    fn open(&self, name: &str) -> io::Result<Handle> {
        let node = self.whole()?.find(name)?;
        Ok(self.handle(node))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.whole()?;
        let node = state.find(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.whole()?;
        state.find(name)?;
        state.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.whole()?;
        state.synced = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(0)
    }
}

/// An open file of a [`Disk`].
#[derive(Debug)]
pub(super) struct Handle {
    disk: Disk,
    node: usize,
}

impl File for Handle {
    fn write_at(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let was_stopped = self.disk.is_stopped();
        let (mut state, result) = match self.disk.operation() {
            Ok(state) => (state, Ok(())),
            Err((mut state, error)) if state.lifetime == Some(0) => {
                if !was_stopped {
                    state.interrupted = Some((self.node, Write::Bytes { at: at as usize, bytes }));
                }
                return Err(error);
            }
            Err((mut state, error)) => {
                let written = state.random.below(bytes.len() as u64 + 1) as usize;
                bytes.truncate(written);
                (state, Err(error))
            }
        };
        let write = Write::Bytes { at: at as usize, bytes };
        let node = &mut state.nodes[self.node];
        write.apply(&mut node.seen);
        node.changes.push(write);
        result
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.whole()?;
        if state.hidden == Some(self.node) {
            return Err(eio());
        }
        let some = state.random.below(into.len() as u64) as usize + 1;
        let seen = state.nodes[self.node].seen.get(at as usize..).unwrap_or_default();
        let read = seen.len().min(some);
        into[..read].copy_from_slice(&seen[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, error) = match self.disk.operation() {
            Ok(mut state) => {
                let node = &mut state.nodes[self.node];
                let changes = std::mem::take(&mut node.changes);
                changes.iter().for_each(|write| write.apply(&mut node.synced));
                return Ok(());
            }
            Err(failed) => failed,
        };
        let forgets = state.random.once_in(4);
        let node = &mut state.nodes[self.node];
        node.doubtful.append(&mut node.changes);
        if forgets {
            // The kernel has dropped the pages that it could not write.
            let length = node.seen.len();
            node.seen = node.synced.clone();
            node.seen.resize(length, 0);
        }
        Err(error)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.whole()?.nodes[self.node].seen.len() as u64)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.whole()?;
        let node = &mut state.nodes[self.node];
        let write = Write::Cut(length as usize);
        write.apply(&mut node.seen);
        node.changes.push(write);
        Ok(())
    }
}
