//! How long to wait before a store is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Twice as long with each attempt, from `first` to `ceiling`, less up to half of it by chance, so that daemons
/// that lost their store at one moment do not come back to it at one moment.
pub(super) fn backoff(attempt: u32, first: Duration, ceiling: Duration) -> Duration {
    let full = first.saturating_mul(1 << attempt.min(20)).min(ceiling);
    let chance = RandomState::new().hash_one(attempt) as u32;
    full - full.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_never_fall_below_half() {
        let (first, ceiling) = (Duration::from_millis(100), Duration::from_secs(5));
        for attempt in 0..100 {
            let full = first.saturating_mul(1 << attempt.min(20)).min(ceiling);
            let wait = backoff(attempt, first, ceiling);
            assert!(wait <= full && wait >= full / 2, "{wait:?} at attempt {attempt}");
        }
    }
}
