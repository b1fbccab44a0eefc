//! Ids of messages that the intake knows, as long as they are in hand or may come again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Ids {
    /// How many messages in hand have this id.
    in_hand: HashMap<Arc<str>, usize>,
    /// Not in hand, in the order in which they are forgotten.
    recent: BTreeMap<u64, Recent>,
    /// The place of each in `recent`.
    places: HashMap<Arc<str>, u64>,
    next: u64,
}

#[derive(Debug)]
struct Recent {
    id: Arc<str>,
    is_acknowledged: bool,
}

impl Ids {
    /// It is in hand, and not forgotten meanwhile.
    pub(super) fn hold(&mut self, id: &Arc<str>) {
        *self.in_hand.entry(Arc::clone(id)).or_default() += 1;
        self.take_out(id);
    }

    /// One message with it is in hand no more. Whether none is.
    pub(super) fn let_go(&mut self, id: &str) -> bool {
        match self.in_hand.get_mut(id) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.in_hand.remove(id);
                true
            }
        }
    }

    /// It may come again: it is the last to be forgotten. What is to be forgotten now, so that `most` are left.
    pub(super) fn remember(&mut self, id: Arc<str>, is_acknowledged: bool, most: usize) -> Option<Arc<str>> {
        self.take_out(&id);
        self.places.insert(Arc::clone(&id), self.next);
        self.recent.insert(self.next, Recent { id, is_acknowledged });
        self.next += 1;
        if self.recent.len() <= most {
            return None;
        }
        let (_, oldest) = self.recent.pop_first()?;
        self.places.remove(&oldest.id);
        Some(oldest.id)
    }

    /// The connection ends without a word: whatever was acknowledged may not have been heard.
    pub(super) fn doubt(&mut self) {
        self.recent.values_mut().for_each(|recent| recent.is_acknowledged = false);
    }

    /// Those of the recent that the broker has been told are done with.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = &str> {
        self.recent.values().filter(|recent| recent.is_acknowledged).map(|recent| &*recent.id)
    }

    fn take_out(&mut self, id: &str) {
        if let Some(place) = self.places.remove(id) {
            self.recent.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(ids: &mut Ids, id: &str, is_acknowledged: bool) -> Option<String> {
        ids.remember(id.into(), is_acknowledged, 2).map(|id| id.to_string())
    }

    #[test]
    fn an_id_is_not_forgotten_while_it_is_in_hand_and_then_as_the_last() {
        let mut ids = Ids::default();
        assert_eq!(remember(&mut ids, "a", true), None);
        assert_eq!(remember(&mut ids, "b", true), None);
        ids.hold(&"a".into());
        assert_eq!(remember(&mut ids, "c", true), None);
        assert_eq!(remember(&mut ids, "d", true).as_deref(), Some("b"));
        assert!(ids.let_go("a"));
        assert_eq!(remember(&mut ids, "a", true).as_deref(), Some("c"));
        assert_eq!(remember(&mut ids, "d", true), None);
        assert_eq!(remember(&mut ids, "e", true).as_deref(), Some("a"));
    }

    #[test]
    fn an_id_that_two_messages_have_is_in_hand_until_both_are_gone() {
        let mut ids = Ids::default();
        ids.hold(&"a".into());
        ids.hold(&"a".into());
        assert_eq!([ids.let_go("a"), ids.let_go("a")], [false, true]);
    }

    #[test]
    fn what_was_acknowledged_before_the_connection_died_is_in_doubt() {
        let mut ids = Ids::default();
        remember(&mut ids, "a", true);
        ids.doubt();
        remember(&mut ids, "b", true);
        assert_eq!(ids.acknowledged().collect::<Vec<_>>(), ["b"]);
        remember(&mut ids, "c", false);
        assert_eq!(ids.acknowledged().collect::<Vec<_>>(), ["b"]);
    }
}
