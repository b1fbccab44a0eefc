//! An instant as the client sent it, and how it is printed.

use std::io::Write;

/// An instant as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Nanoseconds since 1970, UTC; more than 0.
    pub nanos: i64,
    /// How many decimal digits of the second were sent, 0 to 9.
    pub digits: u8,
}

/// Appends `nanos` since 1970 as RFC 3339 in UTC, `2026-11-22T19:00:00.5Z`: no more digits of the second than it takes.
pub fn write_rfc3339(nanos: i64, out: &mut Vec<u8>) {
    if let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(nanos)) {
        // Writing to a Vec does not fail; the years of 64-bit nanoseconds are all within jiff's.
        let _ = write!(out, "{time}");
    }
}

/// Appends `nanos` since 1970 as RFC 3339 in UTC with so many `digits` of the second, 0 to 9.
pub fn write_digits(nanos: i64, digits: u8, out: &mut Vec<u8>) {
    if let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(nanos)) {
        let _ = write!(out, "{time:.0$}", usize::from(digits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(nanos: i64) -> String {
        let mut out = Vec::new();
        write_rfc3339(nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_time_is_printed_without_trailing_zeros() {
        assert_eq!(printed(1_795_374_000_123_456_789), "2026-11-22T19:00:00.123456789Z");
        assert_eq!(printed(1_795_374_000_500_000_000), "2026-11-22T19:00:00.5Z");
        assert_eq!(printed(1_795_374_000_000_000_000), "2026-11-22T19:00:00Z");
        assert_eq!(printed(1), "1970-01-01T00:00:00.000000001Z");
    }

    #[test]
    fn a_time_is_printed_with_the_digits_that_were_sent() {
        for (digits, expected) in
            [(0, "2026-11-22T19:00:00Z"), (1, "2026-11-22T19:00:00.5Z"), (3, "2026-11-22T19:00:00.500Z")]
        {
            let mut out = Vec::new();
            write_digits(1_795_374_000_500_000_000, digits, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn every_time_of_64_bits_has_a_text() {
        assert_eq!(printed(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(printed(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }
}
