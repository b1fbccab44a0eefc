//! How long to let datagrams gather before the next read: a wake-up costs as much as forty datagrams.

use std::time::{Duration, Instant};

/// The rate of datagrams that a pause must stand: the socket's buffer has to hold what comes meanwhile.
const RATE: usize = 100_000;
/// What a datagram takes up of the socket's buffer at most, its bookkeeping included: up to an Ethernet frame,
/// with the page that some network drivers give each.
const DATAGRAM_BYTES: usize = 4096;
/// A pause has to bring more datagrams than this, else waking for each of them is cheaper.
const WORTH: f64 = 2.0;
/// How much of what was seen before is forgotten with each look.
const FORGET: f64 = 0.5;

/// Decides on the pause after each read that left nothing behind, from the rate of what came.
#[derive(Debug)]
pub(super) struct Pause {
    longest: Duration,
    looked: Instant,
    datagrams: f64,
    seconds: f64,
}

impl Pause {
    /// With pauses of at most `max_latency`, and of no more than a buffer of `buffer` bytes has room for.
    pub(super) fn new(max_latency: Duration, buffer: usize, now: Instant) -> Self {
        let room = Duration::from_nanos((buffer / DATAGRAM_BYTES) as u64 * (1_000_000_000 / RATE) as u64);
        Pause { longest: max_latency.min(room), looked: now, datagrams: 0.0, seconds: 0.0 }
    }

    /// A read that left nothing behind is done, and `datagrams` came since the last such one. `None`: wait for the
    /// next datagram itself.
    pub(super) fn after(&mut self, datagrams: usize, now: Instant) -> Option<Duration> {
        let elapsed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        self.datagrams = self.datagrams * FORGET + datagrams as f64;
        self.seconds = self.seconds * FORGET + elapsed;
        let expected = self.datagrams / self.seconds.max(f64::MIN_POSITIVE) * self.longest.as_secs_f64();
        (datagrams > 0 && expected > WORTH).then_some(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(2);

    /// Datagrams `gap` apart for `total`, read by a loop that does as the pause says. Returns wake-ups and datagrams.
    fn simulate(pause: &mut Pause, start: Instant, gap: Duration, total: Duration) -> (u32, u32) {
        let (mut now, mut next) = (start, start + gap);
        let (mut wakes, mut datagrams) = (0, 0);
        while now < start + total {
            let mut came = 0;
            while next <= now {
                came += 1;
                next += gap;
            }
            datagrams += came;
            wakes += 1;
            now = match pause.after(came as usize, now) {
                Some(pause) => now + pause,
                None => next,
            };
        }
        (wakes, datagrams)
    }

    fn pause(buffer: usize) -> (Pause, Instant) {
        let start = Instant::now();
        (Pause::new(LATENCY, buffer, start), start)
    }

    #[test]
    fn at_thirty_thousand_a_second_it_wakes_once_in_max_latency() {
        let (mut pause, start) = pause(16 << 20);
        let (wakes, datagrams) =
            simulate(&mut pause, start, Duration::from_micros(33), Duration::from_secs(1));
        assert!(datagrams > 29_900, "{datagrams}");
        assert!((490..=510).contains(&wakes), "{wakes}");
    }

    #[test]
    fn lone_datagrams_are_not_paused_after() {
        let (mut pause, start) = pause(16 << 20);
        let (wakes, datagrams) =
            simulate(&mut pause, start, Duration::from_millis(10), Duration::from_secs(1));
        assert_eq!(wakes, datagrams + 1, "one wake-up each, and the start");
    }

    #[test]
    fn after_a_burst_it_soon_waits_for_datagrams_again() {
        let (mut pause, start) = pause(16 << 20);
        assert!(pause.after(50, start + Duration::from_millis(1)).is_some());
        assert_eq!(pause.after(0, start + Duration::from_millis(3)), None);
    }

    #[test]
    fn one_datagram_after_a_long_silence_is_no_rate() {
        let (mut pause, start) = pause(16 << 20);
        assert_eq!(pause.after(1, start + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_small_buffer_shortens_the_pause_to_what_it_holds() {
        let (mut pause, start) = pause(212_992);
        let paused = pause.after(10, start + Duration::from_micros(100)).unwrap();
        assert_eq!(paused, Duration::from_micros(520), "52 datagrams at 100 000 a second");
    }

    #[test]
    fn a_buffer_for_no_datagram_allows_no_pause() {
        let (mut pause, start) = pause(2048);
        assert_eq!(pause.after(10, start + Duration::from_micros(100)), None);
    }

    #[test]
    fn a_clock_that_stands_still_does_no_harm() {
        let (mut pause, start) = pause(16 << 20);
        assert_eq!(pause.after(0, start), None);
        assert_eq!(pause.after(5, start), Some(LATENCY));
    }
}
