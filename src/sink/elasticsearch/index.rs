//! The index of a document: one for each day of UTC, or one data stream for all.

use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use crate::sink::Rejection;
use crate::unit::Duration;

/// Nanoseconds of a day of UTC, which has no leap seconds.
const DAY: i64 = 86_400_000_000_000;
/// Bytes that a store lets the name of an index have.
const NAME_BYTES: usize = 255;
/// What `-YYYY.MM.DD` adds to it.
const DATE_BYTES: usize = 11;

/// How far the time of a report may be from when it was received. It bounds how many indices one sender can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// Before.
    pub past: Duration,
    /// Behind: clocks differ.
    pub future: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Window { past: Duration::from_days(31), future: Duration::from_days(1) }
    }
}

/// Where documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Index {
    /// `{name}-YYYY.MM.DD`, by the time of the report, which has to be within the window.
    Dated(String, Window),
    /// A data stream of this name.
    Stream(String),
}

impl Index {
    /// The index of today, as far as this machine knows: for questions about rights and settings.
    pub(super) fn today(&self) -> String {
        let nanos = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        self.on(nanos)
    }

    /// The index of a day that nobody writes to: for a question about rights that must not store anything.
    pub(super) fn of_1970(&self) -> String {
        self.on(0)
    }

    fn on(&self, nanos: i64) -> String {
        let mut name = Vec::new();
        Namer::default().write(self, nanos, &mut name);
        String::from_utf8(name).unwrap_or_default()
    }

    /// Whether a report of the instant `time`, received at `received`, may be stored; both nanoseconds since 1970.
    pub(super) fn takes(&self, time: i64, received: i64) -> Result<(), Rejection> {
        let Index::Dated(_, window) = self else { return Ok(()) };
        let is_late = i128::from(received) - i128::from(time) > nanos(window.past);
        let is_early = i128::from(time) - i128::from(received) > nanos(window.future);
        if !is_late && !is_early {
            return Ok(());
        }
        let mut detail = b"its time, ".to_vec();
        crate::record::timestamp::write_rfc3339(time, &mut detail);
        detail.extend_from_slice(b", is outside of `index_window` around ");
        crate::record::timestamp::write_rfc3339(received, &mut detail);
        let detail = String::from_utf8(detail).unwrap_or_default();
        Err(Rejection { reason: "time_out_of_window", detail })
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.get().as_nanos()).unwrap_or(i128::MAX)
}

/// Writes names of indices. Most reports are of the same day as the one before, whose date it remembers.
#[derive(Debug, Default)]
pub(super) struct Namer {
    /// Days since 1970, and how the day is written.
    last: Option<(i64, String)>,
}

impl Namer {
    /// Appends the name of the index of the instant `time`; nothing in it needs an escape in JSON.
    pub(super) fn write(&mut self, index: &Index, time: i64, out: &mut Vec<u8>) {
        match index {
            Index::Stream(name) => out.extend_from_slice(name.as_bytes()),
            Index::Dated(name, _) => {
                // Writing to a Vec does not fail.
                let _ = write!(out, "{name}-{}", self.date(time));
            }
        }
    }

    fn date(&mut self, time: i64) -> &str {
        let day = time.div_euclid(DAY);
        if self.last.as_ref().is_none_or(|(last, _)| *last != day) {
            let date = date(day);
            let text = format!("{:04}.{:02}.{:02}", date.year(), date.month(), date.day());
            self.last = Some((day, text));
        }
        self.last.as_ref().map_or("", |(_, text)| text)
    }
}

/// The date so many days behind 1970-01-01. Those of 64-bit nanoseconds are all within jiff's.
fn date(day: i64) -> Date {
    Date::constant(1970, 1, 1).saturating_add(jiff::Span::new().days(day))
}

/// What is wrong with the name of an index, by the rules of both stores.
pub(super) fn mistake(name: &str) -> Option<&'static str> {
    const FORBIDDEN: &[char] = &['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() + DATE_BYTES > NAME_BYTES {
        return Some("it is longer than 244 bytes");
    }
    if name.chars().any(char::is_uppercase) {
        return Some("it has capitals, and the store allows none");
    }
    if name.contains(FORBIDDEN) || name.chars().any(char::is_control) {
        return Some("it has a space, a control character or one of \\ / * ? \" < > | , # :");
    }
    if name.starts_with(['-', '_', '+', '.']) {
        return Some("it begins with one of - _ + .");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_700_049_600_000_000_000;

    fn dated() -> Index {
        Index::Dated("kaneda".into(), Window::default())
    }

    #[test]
    fn the_index_is_that_of_the_reports_own_day_in_utc() {
        let index = dated();
        let mut namer = Namer::default();
        let mut named = |time| {
            let mut out = Vec::new();
            namer.write(&index, time, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(named(NOON), "kaneda-2023.11.15");
        assert_eq!(named(NOON + DAY / 2 - 1), "kaneda-2023.11.15");
        assert_eq!(named(NOON + DAY / 2), "kaneda-2023.11.16");
        assert_eq!(named(1), "kaneda-1970.01.01");
        assert_eq!(named(-1), "kaneda-1969.12.31");
        assert_eq!(named(i64::MAX), "kaneda-2262.04.11");
        assert_eq!(named(i64::MIN), "kaneda-1677.09.21");
    }

    #[test]
    fn a_time_far_from_when_it_was_received_is_refused() {
        let index = dated();
        let reason = |time| index.takes(time, NOON).map_err(|rejection| rejection.reason);
        for time in [NOON, NOON - 31 * DAY, NOON + DAY] {
            assert_eq!(reason(time), Ok(()));
        }
        for time in [NOON - 31 * DAY - 1, NOON + DAY + 1, i64::MIN, i64::MAX] {
            assert_eq!(reason(time), Err("time_out_of_window"));
        }
        let detail = index.takes(1, NOON).unwrap_err().detail;
        assert_eq!(
            detail,
            "its time, 1970-01-01T00:00:00.000000001Z, is outside of `index_window` around 2023-11-15T12:00:00Z"
        );
    }

    #[test]
    fn a_data_stream_takes_any_time() {
        let stream = Index::Stream("kaneda".into());
        assert_eq!(stream.takes(1, NOON), Ok(()));
        assert_eq!(stream.today(), "kaneda");
    }

    #[test]
    fn names_that_the_store_refuses_are_told() {
        for name in ["kaneda", "a.b_c-1", "é"] {
            assert_eq!(mistake(name), None, "{name}");
        }
        for name in ["", "Kaneda", "a b", "a,b", "a\n", "-a", "_a", ".a", "a*", &"a".repeat(245)] {
            assert!(mistake(name).is_some(), "{name}");
        }
    }
}
