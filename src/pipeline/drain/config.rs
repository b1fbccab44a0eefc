//! What can be set for every sink.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::pipeline::WhenFull;
use crate::pipeline::backoff::backoff;
use crate::pipeline::letter;
use crate::pipeline::ring::BatchSize;
use crate::problem::{self, unless};
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
    /// Batches under way at once; for some types of sinks more than here, unless it is set.
    pub concurrency: NonZeroUsize,
    /// Pause before the second attempt; it doubles with each further one.
    pub retry_first: unit::Duration,
    /// Longest pause between attempts.
    pub retry_ceiling: unit::Duration,
    /// The file of the records that the store refused for good; none: below `kaneda-data/dead`. Empty: they are not kept.
    pub dead_letters: Option<PathBuf>,
    /// Bytes at which another file is begun.
    pub dead_letters_max_size: unit::Size,
    /// How many files there are at most; of more the oldest is deleted.
    pub dead_letters_max_files: NonZeroUsize,
    /// A record that alone is refused for the moment, while others are stored, becomes a dead letter after so long;
    /// `"0"`: never.
    pub retry_limit: unit::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            flush_interval: unit::Duration::from_secs(1),
            batch_max_records: const { NonZeroUsize::new(5000).unwrap() },
            batch_max_bytes: unit::Size::from_mib(4),
            ring_bytes: unit::Size::from_mib(4),
            backlog_bytes: unit::Size::from_mib(12),
            when_full: WhenFull::Wait,
            concurrency: NonZeroUsize::MIN,
            retry_first: unit::Duration::from_millis(250),
            retry_ceiling: unit::Duration::from_secs(30),
            dead_letters: None,
            dead_letters_max_size: unit::Size::from_mib(16),
            dead_letters_max_files: const { NonZeroUsize::new(8).unwrap() },
            retry_limit: unit::Duration::from_secs(3600),
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
        let sizes = sizes.map(|(key, size)| {
            unless(size.bytes() > 0, || {
                format!("{key} = 0: must be more, or no record ever reaches the sink")
            })
        });
        let pauses = [("retry_first", self.retry_first), ("retry_ceiling", self.retry_ceiling)];
        let pauses = pauses.map(|(key, pause)| {
            unless(!pause.get().is_zero(), || {
                format!("{key} = 0: must be more, or a store in trouble gets no rest")
            })
        });
        let (first, ceiling) = (self.retry_first, self.retry_ceiling);
        let others = [
            unless(self.dead_letters_max_size.bytes() > 0, || {
                "dead_letters_max_size = 0: must be more; dead_letters = \"\" keeps none".to_owned()
            }),
            unless(first <= ceiling || ceiling.get().is_zero(), || {
                format!("retry_ceiling = \"{ceiling}\": must not be less than retry_first = \"{first}\"")
            }),
        ];
        problem::all(sizes.into_iter().chain(pauses).chain(others))
    }

    /// Bytes of memory that a lane may hold with lines of up to `max_line` bytes: ring and backlog, which batches in hand
    /// are part of, each over its limit by a chunk at most (those of one read of the journal take up no more), and what a
    /// sink encodes of the batches in hand.
    pub fn memory(&self, max_line: usize) -> u64 {
        let chunk = largest_memory(max_line) as u64;
        let in_hand = self.batch_max_bytes.bytes().saturating_mul(self.concurrency.get() as u64);
        let letters = letter::Config::memory(max_line);
        [self.ring_bytes.bytes(), self.backlog_bytes.bytes(), 2 * chunk, in_hand, letters]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What the keeper of dead letters of the sink `name` is told; none: they are not kept.
    pub fn letters(&self, name: &str) -> Option<letter::Config> {
        Some(letter::Config {
            path: letter::Config::path(self.dead_letters.as_deref(), name)?,
            max_size: self.dead_letters_max_size.bytes(),
            max_files: self.dead_letters_max_files.get(),
            retry_first: self.retry_first.get(),
            retry_ceiling: self.retry_ceiling.get(),
        })
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

    pub(super) fn retry_limit(&self) -> Option<Duration> {
        Some(self.retry_limit.get()).filter(|limit| !limit.is_zero())
    }

    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        backoff(attempt, self.retry_first.get(), self.retry_ceiling.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_makes_no_sense_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let config = Config {
            ring_bytes: unit::Size::default(),
            backlog_bytes: unit::Size::default(),
            retry_first: unit::Duration::from_secs(3600),
            retry_ceiling: unit::Duration::from_secs(1),
            ..Config::default()
        };
        let error = config.check().unwrap_err();
        let keys: Vec<_> = error.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(keys, ["ring_bytes", "backlog_bytes", "retry_ceiling"], "{error}");
    }
}
