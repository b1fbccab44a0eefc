//! What the running journal counts.

use crate::telemetry::Counter;

/// What is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries written.
    pub entries: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Times that what was written was forced to disk.
    pub syncs: Counter,
    /// Times that something failed on the disk.
    pub failures: Counter,
    /// Entries that were not written because the disk failed.
    pub not_written: Counter,
    /// Entries that were appended again, so that their segment could go.
    pub carried: Counter,
    /// Stretches that were no entry, found at the start or while reading.
    pub corrupt_entries: Counter,
    /// Their bytes.
    pub corrupt_bytes: Counter,
    /// Entries that gave other records than were counted when they came.
    pub miscounted: Counter,
    /// Segments that the disk did not give at the start, or not to their end.
    pub unread_segments: Counter,
    /// Bytes of a torn tail that were cut at the start.
    pub torn_bytes: Counter,
    /// Segments that were removed before every cursor had passed them.
    pub removed_segments: Counter,
    /// Records that cursors without a sink lost with them.
    pub removed_of_orphans: Counter,
}
