//! Reports of a queue that are taken as they came, without the clock being looked at for each.

use super::{Intake, Push, is_utf8};
use crate::protocol;

/// Messages that were there at once.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// Up to here nanoseconds belong to the read that is under way.
    claimed: i64,
    /// Bytes of reports that came so far.
    reports: usize,
}

impl Intake {
    /// Reports were read now, nobody knows yet how many.
    pub(in crate::pipeline) fn begin_reports(&mut self) {
        self.burst = Burst { claimed: self.time, reports: 0 };
    }

    /// Takes `line` if it is one line of UTF-8 and a report in JSON; if not, nothing comes of it.
    pub(in crate::pipeline) fn take_report(&mut self, line: &[u8]) -> bool {
        if !line.starts_with(b"{") || memchr::memchr2(b'\n', b'\r', line).is_some() || !is_utf8(line) {
            return false;
        }
        let length = line.len() + 1;
        if self.burst.claimed - self.time < length as i64 {
            // As many as came so far: the clock is looked at seldom, and is never ahead by more than was received.
            let bytes = length.max(self.burst.reports);
            self.begin_read(bytes);
            self.burst.claimed = self.time.saturating_add(bytes as i64);
        }
        if self.is_new_read || self.open.is_empty() {
            self.open.begin_read(self.time);
            self.is_new_read = false;
        }
        let at = self.open.append(line).start;
        let dialect = self.open.origin().dialect;
        let (bytes, table) = self.open.parts();
        let mark = table.mark();
        let line = &bytes[at..at + line.len()];
        match protocol::parse_to(line, dialect, &self.ingest.limits, &mut Push { table, bytes, at }) {
            Ok(notes) => {
                self.counted.received += 1;
                self.counted.accepted += 1;
                self.counted.ignored += u64::from(notes.ignored);
                self.counted.records += 1;
                self.time += length as i64;
                self.burst.reports += length;
                true
            }
            Err(_) => {
                self.open.take_back(at, mark);
                self.is_new_read = true;
                false
            }
        }
    }
}
