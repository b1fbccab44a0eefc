//! Messages that were taken too early, until they go back to their queue to be taken again.
//!
//! Only their tags are kept, so that any number of them takes little room: a broker delivers the content again.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use jiff::Timestamp;

/// Why a message was put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time has not come.
    Eta,
    /// It is for another task.
    OtherTask,
}

/// The tags, by when they go back.
#[derive(Debug)]
pub(super) struct Aside<T> {
    by_time: BTreeMap<(Timestamp, u64), (T, Why)>,
    times: HashMap<T, (Timestamp, u64)>,
    count: u64,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Aside { by_time: BTreeMap::new(), times: HashMap::new(), count: 0 }
    }
}

impl<T: Clone + Eq + Hash> Aside<T> {
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn put(&mut self, until: Timestamp, tag: T, why: Why) {
        self.count += 1;
        let time = (until, self.count);
        self.times.insert(tag.clone(), time);
        self.by_time.insert(time, (tag, why));
    }

    /// Those whose time has come.
    pub(super) fn due(&self, now: Timestamp, why: Why) -> Vec<T> {
        let due = self.by_time.range(..=(now, u64::MAX)).filter(|(_, (_, other))| *other == why);
        due.map(|(_, (tag, _))| tag.clone()).collect()
    }

    pub(super) fn remove(&mut self, tags: &[T]) {
        for tag in tags {
            if let Some(time) = self.times.remove(tag) {
                self.by_time.remove(&time);
            }
        }
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        let gone: Vec<_> = self.times.keys().filter(|tag| !is_kept(tag)).cloned().collect();
        self.remove(&gone);
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &T> {
        self.times.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_stays_until_it_is_removed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut aside = Aside::default();
        for (second, tag, why) in
            [(30, 'c', Why::Eta), (10, 'a', Why::Eta), (10, 'b', Why::OtherTask), (10, 'd', Why::Eta)]
        {
            aside.put(at(second), tag, why);
        }
        assert!(aside.due(at(9), Why::Eta).is_empty());
        for _ in 0..2 {
            assert_eq!(aside.due(at(10), Why::Eta), ['a', 'd']);
        }
        assert_eq!(aside.due(at(10), Why::OtherTask), ['b']);
        aside.remove(&['a', 'd', 'x']);
        assert_eq!((aside.len(), aside.due(at(30), Why::Eta)), (2, vec!['c']));
        aside.retain(|tag| *tag != 'c');
        assert_eq!(aside.tags().collect::<Vec<_>>(), [&'b']);
        assert!(aside.due(at(30), Why::Eta).is_empty());
    }
}
