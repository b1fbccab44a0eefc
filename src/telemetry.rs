//! Numbers that the daemon keeps about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number that others may read while it changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more, or `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// `n` less; for what can go down.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// A value that something else counts, as the kernel its drops.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets something be said once a second at most, and counts what was not said.
#[derive(Debug)]
pub struct Seldom {
    start: Instant,
    /// Seconds since `start`, plus 1, of the last time.
    last: AtomicU64,
    unsaid: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Seldom { start: Instant::now(), last: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }
}

impl Seldom {
    /// Whether it may be said now; if so, how often it was not said since the last time.
    pub fn tick(&self) -> Option<u64> {
        self.tick_at(self.start.elapsed())
    }

    fn tick_at(&self, since_start: Duration) -> Option<u64> {
        let now = since_start.as_secs() + 1;
        if self.last.swap(now, Ordering::Relaxed) == now {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_one_saying_and_the_next_tells_of_the_rest() {
        let seldom = Seldom::default();
        let said: Vec<_> =
            [0, 0, 900, 1000, 1999, 2500].map(|ms| seldom.tick_at(Duration::from_millis(ms))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
