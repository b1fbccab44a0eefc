//! Which of several servers is used: one that fails is left out for a while and tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a server is left out at first; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long at most: a dead server then costs at most one attempt a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The servers, all doors to the same store, each with what it is used by: a URL, a client of its own.
#[derive(Debug)]
pub struct Servers<S> {
    all: Vec<S>,
    /// One a server, in the same order.
    pauses: Mutex<Vec<Pause>>,
}

/// Why a server is left out.
#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl<S> Servers<S> {
    /// Servers in the order of preference, at least one.
    pub fn new(all: Vec<S>) -> Self {
        let pauses = Mutex::new(vec![Pause::default(); all.len()]);
        Servers { all, pauses }
    }

    /// All of them.
    pub fn all(&self) -> &[S] {
        &self.all
    }

    /// The first that is not left out, else the one whose pause ends first; and its place, for what came of it.
    pub fn pick(&self, now: Instant) -> (usize, &S) {
        let pauses = self.pauses();
        let until = |index: &usize| pauses[*index].until.filter(|until| *until > now);
        // `None` is less than any instant, and of equals the first is taken.
        let index = (0..self.all.len()).min_by_key(until).unwrap_or_default();
        (index, &self.all[index])
    }

    /// The server has answered.
    pub fn succeed(&self, index: usize) {
        self.pauses()[index] = Pause::default();
    }

    /// The server has not answered, or cannot take anything now.
    pub fn fail(&self, index: usize, now: Instant) {
        let pause = &mut self.pauses()[index];
        let time = FIRST_PAUSE.saturating_mul(1 << pause.failures.min(16)).min(LONGEST_PAUSE);
        *pause = Pause { failures: pause.failures.saturating_add(1), until: Some(now + time) };
    }

    fn pauses(&self) -> MutexGuard<'_, Vec<Pause>> {
        // Each change is one assignment: a panic elsewhere leaves nothing half done.
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Servers<char> {
        Servers::new(vec!['a', 'b', 'c'])
    }

    #[test]
    fn a_dead_one_is_left_out_and_tried_again() {
        let (servers, now) = (three(), Instant::now());
        assert_eq!(servers.pick(now), (0, &'a'));
        servers.fail(0, now);
        assert_eq!(servers.pick(now), (1, &'b'));
        assert_eq!(servers.pick(now + FIRST_PAUSE), (0, &'a'));
    }

    #[test]
    fn when_all_are_dead_the_one_that_is_due_first_is_tried() {
        let (servers, now) = (three(), Instant::now());
        servers.fail(0, now);
        servers.fail(0, now);
        servers.fail(1, now);
        servers.fail(2, now);
        assert_eq!(servers.pick(now), (1, &'b'));
    }

    #[test]
    fn the_pause_grows_to_its_limit_and_ends_with_an_answer() {
        let (servers, now) = (three(), Instant::now());
        for _ in 0..100 {
            servers.fail(0, now);
        }
        assert_eq!(servers.pick(now + LONGEST_PAUSE - Duration::from_millis(1)), (1, &'b'));
        assert_eq!(servers.pick(now + LONGEST_PAUSE), (0, &'a'));
        servers.succeed(0);
        servers.fail(0, now);
        assert_eq!(servers.pick(now + FIRST_PAUSE), (0, &'a'));
    }
}
