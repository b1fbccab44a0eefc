//! What can be set for every sink.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

use super::backoff::backoff;
use crate::pipeline::WhenFull;
use crate::pipeline::ring::BatchSize;
use crate::record::open::largest_memory;
use crate::unit;

/// The keys that every `[[sink]]` has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Records wait at most so long for others before they are sent.
    pub flush_interval: unit::Duration,
    /// A batch is sent when it has so many records.
    pub batch_max_records: NonZeroUsize,
    /// A batch is sent when its lines have so many bytes.
    pub batch_max_bytes: unit::Size,
    /// Memory of the queue between sources and this sink.
    pub ring_bytes: unit::Size,
    /// Memory for what waits while the sink is sending or in an outage.
    pub backlog_bytes: unit::Size,
    /// What happens to streams when the ring is full.
    pub when_full: WhenFull,
    /// Batches under way at once.
    pub concurrency: NonZeroUsize,
    /// Pause before the second attempt; it doubles with each further one.
    pub retry_first: unit::Duration,
    /// Longest pause between attempts.
    pub retry_ceiling: unit::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            flush_interval: unit::Duration::from_secs(1),
            batch_max_records: const { NonZeroUsize::new(5000).unwrap() },
            batch_max_bytes: unit::Size::from_mib(4),
            ring_bytes: unit::Size::from_mib(4),
            backlog_bytes: unit::Size::from_mib(16),
            when_full: WhenFull::Wait,
            concurrency: NonZeroUsize::MIN,
            retry_first: unit::Duration::from_millis(250),
            retry_ceiling: unit::Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Whether the values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("batch_max_bytes", self.batch_max_bytes),
            ("ring_bytes", self.ring_bytes),
            ("backlog_bytes", self.backlog_bytes),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| size.bytes() == 0) {
            return Err(format!("{key} = 0: must be more, or no record ever reaches the sink"));
        }
        let pauses = [("retry_first", self.retry_first), ("retry_ceiling", self.retry_ceiling)];
        if let Some((key, _)) = pauses.iter().find(|(_, pause)| pause.get().is_zero()) {
            return Err(format!("{key} = 0: must be more, or a store in trouble gets no rest"));
        }
        Ok(())
    }

    /// Bytes of memory that a lane may hold with lines of up to `max_line` bytes: ring and backlog, which batches in hand are part of, each over its
    /// limit by a chunk at most, and what a sink encodes of the batches in hand.
    pub fn memory(&self, max_line: usize) -> u64 {
        let chunk = largest_memory(max_line) as u64;
        let in_hand = self.batch_max_bytes.bytes().saturating_mul(self.concurrency.get() as u64);
        [self.ring_bytes.bytes(), self.backlog_bytes.bytes(), 2 * chunk, in_hand]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What fills a batch.
    pub fn batch_size(&self) -> BatchSize {
        BatchSize { records: self.batch_max_records(), bytes: self.batch_max_bytes() }
    }

    pub(super) fn batch_max_records(&self) -> usize {
        self.batch_max_records.get()
    }

    pub(super) fn backlog_bytes(&self) -> usize {
        self.backlog_bytes.bytes() as usize
    }

    pub(super) fn batch_max_bytes(&self) -> usize {
        self.batch_max_bytes.bytes() as usize
    }

    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        backoff(attempt, self.retry_first.get(), self.retry_ceiling.get())
    }
}
