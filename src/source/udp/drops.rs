//! The kernel's count of datagrams it dropped for want of room, made one that never wraps.

/// The count of one socket.
///
/// The kernel tells it in two ways, beside a datagram (as it was when that came) and when asked (as it is): both are
/// the same 32-bit counter, so the newest reading stands, and an older one that comes later adds nothing.
#[derive(Debug, Default)]
pub(super) struct Drops {
    last: u32,
}

impl Drops {
    /// Takes a reading. Returns how many were dropped since the newest one before.
    pub(super) fn since(&mut self, reading: u32) -> u64 {
        let more = reading.wrapping_sub(self.last);
        // More than half way round is a step back: an older reading.
        if more > u32::MAX / 2 {
            return 0;
        }
        self.last = reading;
        u64::from(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_of_reading_one_counter_are_not_summed() {
        let mut drops = Drops::default();
        assert_eq!(drops.since(7), 7);
        assert_eq!(drops.since(7), 0);
        assert_eq!(drops.since(9), 2);
    }

    #[test]
    fn an_older_reading_adds_nothing_and_forgets_nothing() {
        let mut drops = Drops::default();
        assert_eq!(drops.since(100), 100);
        assert_eq!(drops.since(60), 0);
        assert_eq!(drops.since(101), 1);
    }

    #[test]
    fn the_kernels_counter_wraps() {
        let mut drops = Drops { last: u32::MAX - 1 };
        assert_eq!(drops.since(3), 5);
        assert_eq!(drops.since(u32::MAX), 0, "older, from before the wrap");
    }
}
