//! How far the queue was looked at. Jobs of other functions stay in it, and each is looked at once.
//!
//! Jobs come at the ends of a queue and nowhere else: what stands between one that was left and the place was looked at too.

use super::config::{BATCH, REMEMBERED};
use crate::source::queue::LONGEST_ID;

/// Where the next look begins, and what is known of the jobs before.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// All before are jobs that were left.
    end: Mark,
    /// The first of them.
    front: Vec<Vec<u8>>,
    /// Others may have come before these.
    is_unsure: bool,
    newcomers: Option<Newcomers>,
}

/// A place in the queue.
#[derive(Debug, Default)]
struct Mark {
    start: usize,
    /// The job just before.
    before: Vec<u8>,
}

/// Jobs that came to the front of the queue, while they are looked at.
#[derive(Debug)]
struct Newcomers {
    /// So many were not looked at yet.
    many: usize,
    end: Mark,
    left: Vec<Vec<u8>>,
}

impl Place {
    /// Jobs may have come to the front of the queue.
    pub(super) fn doubt(&mut self) {
        self.is_unsure = true;
    }

    /// Whether [`Place::compare`] wants to know the first [`BATCH`] ids in the queue.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure && self.newcomers.is_none() && self.end.start > 0
    }

    /// Finds the newcomers among the first ids in the queue.
    pub(super) fn compare(&mut self, ids: &[Vec<u8>]) {
        self.is_unsure = false;
        let known = |id| self.front.iter().position(|known| known == id);
        match ids.iter().enumerate().find_map(|(many, id)| Some((many, known(id)?))) {
            Some((many, at)) => {
                self.front.drain(..at);
                self.newcomers =
                    (many > 0).then(|| Newcomers { many, end: Mark::default(), left: Vec::new() });
            }
            // Nothing is left of what is remembered, or the newcomers are too many: all is looked at again.
            None => *self = Place::default(),
        }
    }

    /// The start of the next look, the job before, and how many it may see if there is room for `most`.
    pub(super) fn next(&self, most: usize) -> (usize, &[u8], usize) {
        match &self.newcomers {
            Some(newcomers) => (newcomers.end.start, &newcomers.end.before, most.min(newcomers.many)),
            None => (self.end.start, &self.end.before, most),
        }
    }

    /// A look has begun at `start`, where the job before was found, and has seen so many. Those that stay are told to
    /// [`Place::leave`] now, then there is [`Place::finish`].
    pub(super) fn look(&mut self, start: usize, many: usize) {
        match &mut self.newcomers {
            Some(newcomers) if newcomers.end.start == start => {
                newcomers.many = if many == 0 { 0 } else { newcomers.many.saturating_sub(many) };
            }
            // The queue changes faster than its front can be followed.
            Some(newcomers) => {
                let before = std::mem::take(&mut newcomers.end.before);
                *self = Place { end: Mark { start, before }, ..Place::default() };
            }
            None if start == 0 => *self = Place::default(),
            None => {
                self.is_unsure |= start > self.end.start;
                self.end.start = start;
            }
        }
    }

    /// The next job of the look stays in the queue.
    pub(super) fn leave(&mut self, id: Vec<u8>) {
        let (end, left) = match &mut self.newcomers {
            Some(newcomers) => (&mut newcomers.end, &mut newcomers.left),
            None => (&mut self.end, &mut self.front),
        };
        if left.len() < REMEMBERED && id.len() <= LONGEST_ID {
            left.push(id.clone());
        }
        end.start += 1;
        end.before = id;
    }

    /// The look is over.
    pub(super) fn finish(&mut self) {
        if let Some(newcomers) = self.newcomers.take_if(|newcomers| newcomers.many == 0) {
            self.end.start += newcomers.end.start;
            self.front.splice(..0, newcomers.left);
            self.front.truncate(REMEMBERED);
        }
    }

    /// About where in the queue the jobs of the last look are.
    pub(super) fn start(&self) -> usize {
        self.next(BATCH).0
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
            if place.is_unsure() {
                let ids: Vec<_> = self.jobs.iter().take(8).map(|job| id(*job)).collect();
                place.compare(&ids);
            }
            let (start, before, most) = place.next(4);
            let start = self.start(start, before);
            let seen: Vec<_> = self.jobs.iter().skip(start).take(most).copied().collect();
            place.look(start, seen.len());
            for job in &seen {
                if job % 2 == 0 {
                    self.jobs.retain(|other| other != job);
                } else {
                    self.looks += 1;
                    place.leave(id(*job));
                }
            }
            place.finish();
            !seen.is_empty() || place.is_unsure() || place.newcomers.is_some()
        }

        fn settle(&mut self, place: &mut Place) {
            while self.turn(place) {}
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
        assert_eq!((queue.ours(), queue.looks, place.start()), (0, 40, 40));
        // Nothing is new, or some at both ends, which shows by itself.
        place.doubt();
        queue.settle(&mut place);
        assert_eq!(queue.looks, 40);
        for (is_ours, is_front) in [(true, true), (false, true), (true, true), (false, true), (false, false)]
        {
            queue.push(is_ours, is_front);
        }
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks, place.start()), (0, 43, 43));
        // As many went as came.
        for _ in 0..3 {
            queue.jobs.pop_front();
            queue.push(false, true);
        }
        queue.jobs.pop_front();
        queue.push(true, true);
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks), (1, 43));
        place.doubt();
        queue.settle(&mut place);
        assert_eq!((queue.ours(), queue.looks), (0, 43));
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
        assert_eq!((queue.ours(), queue.looks, place.start()), (0, REMEMBERED + 10, 5));
    }

    #[test]
    fn a_job_whose_id_is_too_long_is_not_remembered() {
        let mut place = Place::default();
        place.leave(vec![b'x'; LONGEST_ID + 1]);
        assert!(place.front.is_empty());
        place.doubt();
        place.compare(&[vec![b'x'; LONGEST_ID + 1]]);
        assert_eq!(place.start(), 0);
    }

    proptest! {
        #[test]
        fn whatever_others_do_ours_are_found(steps in prop::collection::vec((0..7u8, 1..12usize), 1..60)) {
            let (mut queue, mut place) = (Queue::default(), Place::default());
            for (step, many) in steps {
                for _ in 0..many {
                    match step {
                        0..4 => queue.push(step % 2 == 0, step < 2),
                        4 => drop(queue.jobs.pop_front()),
                        5 => drop(queue.turn(&mut place)),
                        _ => place.doubt(),
                    }
                }
            }
            place.doubt();
            queue.settle(&mut place);
            prop_assert_eq!(queue.ours(), 0);
            prop_assert_eq!(place.start(), queue.jobs.len());
        }
    }
}
