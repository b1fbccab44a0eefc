//! The kernel's count of datagrams it dropped for want of room, made one that never wraps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The count of one socket; clones are of the same socket, for several threads that read it.
///
/// The kernel tells it in two ways, beside a datagram (as it was when that came) and when asked (as it is): both are
/// the same 32-bit counter, so the newest reading stands, and an older one that comes later adds nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Drops {
    last: Arc<AtomicU32>,
}

impl Drops {
    /// Counts from `reading` on.
    pub(super) fn after(reading: u32) -> Self {
        Drops { last: Arc::new(AtomicU32::new(reading)) }
    }

    /// Takes a reading. Returns how many were dropped since the newest one before.
    pub(super) fn since(&self, reading: u32) -> u64 {
        // More than half way round is a step back: an older reading.
        let newer = |last: u32| Some(reading).filter(|_| reading.wrapping_sub(last) <= u32::MAX / 2);
        match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, newer) {
            Ok(last) => u64::from(reading.wrapping_sub(last)),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_of_reading_one_counter_are_not_summed() {
        let drops = Drops::default();
        assert_eq!(drops.since(7), 7);
        assert_eq!(drops.since(7), 0);
        assert_eq!(drops.since(9), 2);
    }

    #[test]
    fn threads_that_read_one_socket_do_not_count_its_drops_each() {
        let drops = Drops::after(5);
        let other = drops.clone();
        assert_eq!(drops.since(7), 2);
        assert_eq!(other.since(8), 1);
        assert_eq!(drops.since(8), 0);
    }

    #[test]
    fn an_older_reading_adds_nothing_and_forgets_nothing() {
        let drops = Drops::default();
        assert_eq!(drops.since(100), 100);
        assert_eq!(drops.since(60), 0);
        assert_eq!(drops.since(101), 1);
    }

    #[test]
    fn the_kernels_counter_wraps() {
        let drops = Drops::after(u32::MAX - 1);
        assert_eq!(drops.since(3), 5);
        assert_eq!(drops.since(u32::MAX), 0, "older, from before the wrap");
    }
}
