//! Which letters the files hold already, so that none is written twice.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// So many of the last letters are known by what tells them from others.
pub(super) const WINDOW: usize = 4_096;
/// Bytes that the window takes: a number twice, and its file, with the room that tables keep.
pub(super) const MEMORY: usize = WINDOW * 64;

/// The last letters of the files.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: RandomState,
    keys: HashSet<u64>,
    /// In the order in which they were written, each with the number of its file.
    order: VecDeque<(u64, u64)>,
}

impl Known {
    /// The number of a letter. Two have one by chance only, once in some 10^14 letters: nobody can choose them so.
    pub(super) fn number(&self, key: &[u8]) -> u64 {
        self.state.hash_one(key)
    }

    /// Whether a file has it.
    pub(super) fn has(&self, number: u64) -> bool {
        self.keys.contains(&number)
    }

    /// It is in this file.
    pub(super) fn add(&mut self, number: u64, file: u64) {
        if self.keys.insert(number) {
            self.order.push_back((number, file));
        }
        if self.order.len() > WINDOW
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    /// The file is gone, and its letters with it.
    pub(super) fn forget(&mut self, file: u64) {
        let keys = &mut self.keys;
        self.order.retain(|(number, of)| *of != file || !keys.remove(number));
    }
}
