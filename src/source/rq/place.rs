//! How far the queue was looked at. Jobs of other functions stay in it, and each is looked at once.
//!
//! Jobs come at the ends of a queue and nowhere else, and nearly always at the end: who comes to the front has all looked at again.

use super::config::REMEMBERED;
use crate::source::queue::LONGEST_ID;

/// Where the next look begins, and what is known of the jobs before.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// All before are jobs that were left.
    start: usize,
    /// The job just before.
    before: Vec<u8>,
    /// The first of those that were left.
    front: Vec<Vec<u8>>,
    /// Others may have come before these.
    is_unsure: bool,
}

impl Place {
    /// Jobs may have come to the front of the queue.
    pub(super) fn doubt(&mut self) {
        self.is_unsure = true;
    }

    /// Whether [`Place::compare`] wants to know the first id in the queue.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure && self.start > 0
    }

    /// If the first job in the queue is none of those that were left, or none is remembered that is there still, all is
    /// looked at again.
    pub(super) fn compare(&mut self, first: Option<&[u8]>) {
        self.is_unsure = false;
        match self.front.iter().position(|known| Some(&**known) == first) {
            Some(at) => drop(self.front.drain(..at)),
            None => *self = Place::default(),
        }
    }

    /// The start of the next look, and the job before.
    pub(super) fn next(&self) -> (usize, &[u8]) {
        (self.start, &self.before)
    }

    /// A look has begun at `start`, where the job before was found. Those that stay are told to [`Place::leave`] now.
    pub(super) fn look(&mut self, start: usize) {
        if start == 0 {
            // The doubt may be younger than the look.
            *self = Place { is_unsure: self.is_unsure, ..Place::default() };
        } else {
            self.is_unsure |= start > self.start;
            self.start = start;
        }
    }

    /// The next job of the look stays in the queue.
    pub(super) fn leave(&mut self, id: Vec<u8>) {
        if self.front.len() < REMEMBERED && id.len() <= LONGEST_ID {
            self.front.push(id.clone());
        }
        self.start += 1;
        self.before = id;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A queue of numbers: even ones are ours.
    #[derive(Default)]
    struct Queue {
        jobs: VecDeque<u32>,
        next: u32,
        /// Looks at jobs that were left.
        looks: usize,
        /// The next look, if it was done ahead: where it begins, and the jobs.
        ahead: Option<(usize, Vec<u32>)>,
    }

    fn id(job: u32) -> Vec<u8> {
        job.to_string().into_bytes()
    }

    impl Queue {
        fn push(&mut self, is_ours: bool, is_front: bool) {
            self.next += 2;
            let job = self.next + u32::from(!is_ours);
            if is_front { self.jobs.push_front(job) } else { self.jobs.push_back(job) }
        }

        /// As the script does, with a nearness of 10 jobs.
        fn start(&self, start: usize, before: &[u8]) -> usize {
            let is_it = |at: usize| self.jobs.get(at).is_some_and(|job| id(*job) == before);
            if start == 0 || is_it(start - 1) {
                return start;
            }
            (start.saturating_sub(10)..start + 10).rev().find(|at| is_it(*at)).map_or(0, |at| at + 1)
        }

        /// One turn of the source, with looks at 4 jobs.
        fn turn(&mut self, place: &mut Place) -> bool {
            self.turn_while(place, |_| {})
        }

        /// The same; something happens before the look, or behind one that was done ahead.
        fn turn_while(&mut self, place: &mut Place, happens: impl FnOnce(&mut Self)) -> bool {
            let ahead = self.ahead.take();
            if ahead.is_none() && place.is_unsure() {
                place.compare(self.jobs.front().map(|job| id(*job)).as_deref());
            }
            happens(self);
            let (start, seen) = ahead.unwrap_or_else(|| self.look(place));
            place.look(start);
            for job in &seen {
                if job % 2 == 0 {
                    self.jobs.retain(|other| other != job);
                } else {
                    self.looks += 1;
                    place.leave(id(*job));
                }
            }
            if !seen.is_empty() && !place.is_unsure() {
                self.ahead = Some(self.look(place));
            }
            !seen.is_empty() || place.is_unsure()
        }

        fn look(&self, place: &Place) -> (usize, Vec<u32>) {
            let (start, before) = place.next();
            let start = self.start(start, before);
            (start, self.jobs.iter().skip(start).take(4).copied().collect())
        }

        fn settle(&mut self, place: &mut Place) {
            // One that was done ahead does not see what is new.
            while self.turn(place) || self.turn(place) {}
        }

        fn ours(&self) -> usize {
            self.jobs.iter().filter(|job| *job % 2 == 0).count()
        }
    }

    #[test]
    fn a_job_that_was_left_is_not_looked_at_again() {
        let (mut queue, mut place) = (Queue::default(), Place::default());
        for job in 0..50 {
            queue.push(job % 5 == 0, false);
        }
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks, place.start), (0, 40, 40));
        // Nothing is new, others took some, or some come at the end.
        place.doubt();
        queue.settle(&mut place);
        queue.jobs.drain(..3);
        place.doubt();
        queue.settle(&mut place);
        for is_ours in [true, false] {
            queue.push(is_ours, false);
        }
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks, place.start), (0, 41, 38));
    }

    #[test]
    fn who_comes_to_the_front_is_found() {
        let (mut queue, mut place) = (Queue::default(), Place::default());
        (0..5).for_each(|_| queue.push(false, false));
        queue.settle(&mut place);
        // It shows by itself.
        queue.push(true, true);
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks), (0, 10));
        // As many went as came.
        queue.jobs.pop_front();
        queue.push(true, true);
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks), (1, 10));
        place.doubt();
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks, place.start), (0, 14, 4));
    }

    #[test]
    fn all_is_looked_at_again_if_nothing_is_left_of_what_is_remembered() {
        let (mut queue, mut place) = (Queue::default(), Place::default());
        for _ in 0..REMEMBERED + 5 {
            queue.push(false, false);
        }
        queue.settle(&mut place);
        queue.jobs.drain(..REMEMBERED);
        queue.push(true, true);
        place.doubt();
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks, place.start), (0, REMEMBERED + 10, 5));
    }

    #[test]
    fn a_job_whose_id_is_too_long_is_not_remembered() {
        let mut place = Place::default();
        place.leave(vec![b'x'; LONGEST_ID + 1]);
        assert!(place.front.is_empty());
        place.doubt();
        place.compare(Some(&[b'x'; LONGEST_ID + 1]));
        assert_eq!(place.start, 0);
    }

    #[test]
    fn a_doubt_is_not_lost_with_a_look_that_was_made_before() {
        let (mut queue, mut place) = (Queue::default(), Place::default());
        (0..4).for_each(|_| queue.push(true, true));
        (0..4).for_each(|_| queue.push(false, false));
        queue.turn(&mut place);
        let gone = queue.jobs.iter().position(|job| job % 2 == 1).unwrap();
        queue.jobs.remove(gone);
        queue.push(true, true);
        place.doubt();
        queue.settle(&mut place);
        assert_eq!((queue.ours(), place.start), (0, 3));
    }

    proptest! {
        #[test]
        fn whatever_others_do_ours_are_found(steps in prop::collection::vec((0..9u8, 1..12usize), 1..60)) {
            let (mut queue, mut place) = (Queue::default(), Place::default());
            for (step, many) in steps {
                for _ in 0..many {
                    match step {
                        0..4 => queue.push(step % 2 == 0, step < 2),
                        4 => drop(queue.jobs.pop_front()),
                        5 => drop(queue.turn(&mut place)),
                        6 => drop(queue.turn_while(&mut place, |queue| queue.push(many % 2 == 0, true))),
                        7 => drop(queue.turn_while(&mut place, |queue| {
                            queue.jobs.pop_front();
                        })),
                        _ => place.doubt(),
                    }
                }
            }
            place.doubt();
            queue.settle(&mut place);
            prop_assert_eq!(queue.ours(), 0);
            prop_assert_eq!(place.start, queue.jobs.len());
        }
    }
}
