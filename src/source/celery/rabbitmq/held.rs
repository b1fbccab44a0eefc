//! The messages of a channel that are not answered, by their delivery tags.
//!
//! The broker counts the tags of a channel from 1, without a gap. A word for all messages up to one is right only while every
//! tag up to it is known here: one that has not reached us counts as held too, until it is given back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A message that is held for so long is given back and taken again. The broker ends the channel after its
/// `consumer_timeout`: 30 minutes, in some releases 15.
const HELD_FOR_LONG: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Unanswered {
    held: BTreeMap<u64, Held>,
    /// The last tag that is known of.
    last: u64,
    /// Held, though they have not reached us; to be given back.
    missed: Vec<u64>,
}

/// A message that is not answered.
#[derive(Debug)]
struct Held {
    since: Instant,
    consumer: u64,
    is_aside: bool,
}

impl Held {
    fn is_old(&self) -> bool {
        self.since.elapsed() >= HELD_FOR_LONG
    }
}

/// What a message is at its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The next, though some before it may have been missed.
    Next,
    /// It is known of: it was given back as missed, or soon is.
    Known,
    /// More have been missed than there can be.
    Far,
}

/// How messages are answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// All up to this one take one word together.
    pub(super) up_to: Option<u64>,
    /// Each of these takes a word of its own: others before it are held.
    pub(super) alone: Vec<u64>,
    /// Those of them that were aside, and of this consumer.
    pub(super) aside: u16,
}

impl Unanswered {
    /// Holds the message that `consumer` was sent. What is missing before it is missed, if that is no more than `most`.
    pub(super) fn arrive(&mut self, number: u64, consumer: u64, most: u64) -> Place {
        if number <= self.last {
            return Place::Known;
        }
        let missing = self.last + 1..number;
        if number - missing.start > most {
            return Place::Far;
        }
        self.missed.extend(missing.clone());
        for number in missing.chain([number]) {
            self.held.insert(number, Held { since: Instant::now(), consumer, is_aside: false });
        }
        self.last = number;
        Place::Next
    }

    /// Those that have not reached us, to be given back.
    pub(super) fn take_missed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.missed)
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        self.held.contains_key(&number)
    }

    /// Whether this counts against `prefetch` of `consumer`.
    pub(super) fn put_aside(&mut self, number: u64, consumer: u64) -> bool {
        let Some(held) = self.held.get_mut(&number) else { return false };
        held.is_aside = true;
        held.consumer == consumer
    }

    pub(super) fn has_old(&self) -> bool {
        self.held.first_key_value().is_some_and(|(_, held)| held.is_old())
    }

    pub(super) fn old(&self) -> Vec<u64> {
        self.held.iter().take_while(|(_, held)| held.is_old()).map(|(number, _)| *number).collect()
    }

    /// Lets go of these. Those behind which none is held take one word together.
    pub(super) fn answer(&mut self, mut numbers: Vec<u64>, consumer: u64) -> Words {
        numbers.retain(|number| self.holds(*number));
        numbers.sort_unstable();
        numbers.dedup();
        let mut aside = 0;
        for number in &numbers {
            let held = self.held.remove(number);
            aside += u16::from(held.is_some_and(|held| held.is_aside && held.consumer == consumer));
        }
        let first_held = self.held.keys().next().copied().unwrap_or(u64::MAX);
        let alone = numbers.split_off(numbers.partition_point(|number| *number < first_held));
        Words { up_to: numbers.pop(), alone, aside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(numbers: impl IntoIterator<Item = u64>) -> Unanswered {
        let mut unanswered = Unanswered::default();
        for number in numbers {
            assert_eq!(unanswered.arrive(number, 1, 10), Place::Next);
        }
        unanswered
    }

    fn words(up_to: Option<u64>, alone: &[u64]) -> Words {
        Words { up_to, alone: alone.to_vec(), aside: 0 }
    }

    #[test]
    fn one_word_is_for_all_up_to_the_first_that_is_held() {
        let mut unanswered = arrived(1..=6);
        assert_eq!(unanswered.answer(vec![4, 1, 6, 2], 1), words(Some(2), &[4, 6]));
        assert_eq!(unanswered.answer(vec![5, 5, 1], 1), words(None, &[5]));
        assert_eq!(unanswered.answer(vec![3], 1), words(Some(3), &[]));
    }

    #[test]
    fn a_message_that_has_not_reached_us_is_not_acknowledged_with_those_behind_it() {
        let mut unanswered = arrived([1, 2, 5]);
        assert_eq!(unanswered.answer(vec![1, 2, 5], 1), words(Some(2), &[5]));
        let missed = unanswered.take_missed();
        assert_eq!(missed, [3, 4]);
        assert_eq!(unanswered.answer(missed, 1), words(Some(4), &[]));
        assert_eq!(unanswered.take_missed(), [0; 0]);
    }

    #[test]
    fn a_message_that_comes_late_is_not_taken_and_a_leap_is_refused() {
        let mut unanswered = arrived([1, 3]);
        assert_eq!(unanswered.arrive(2, 1, 10), Place::Known);
        assert_eq!(unanswered.arrive(3, 1, 10), Place::Known);
        assert_eq!(unanswered.arrive(15, 1, 10), Place::Far);
        assert_eq!(unanswered.arrive(14, 1, 10), Place::Next);
        assert_eq!(unanswered.arrive(u64::MAX, 1, 10), Place::Far);
        assert_eq!(unanswered.take_missed().len(), 11);
    }

    #[test]
    fn those_that_were_aside_are_counted_for_their_consumer() {
        let mut unanswered = arrived(1..=3);
        assert!(unanswered.put_aside(1, 1) && unanswered.put_aside(2, 1));
        assert!(!unanswered.put_aside(3, 2) && !unanswered.put_aside(9, 1));
        assert_eq!(unanswered.answer(vec![1], 1).aside, 1);
        assert_eq!(unanswered.answer(vec![2, 3], 2).aside, 0);
    }
}
