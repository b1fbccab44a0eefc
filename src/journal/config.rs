//! What `[journal]` may say.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::log::Begin;
use crate::problem::{self, unless};
use crate::unit;

/// Segments that the journal has room for at least: those that are done with have to go before it is full.
const SEGMENTS: u64 = 4;
/// The least `segment_size`: room for the largest chunk of lines of the usual length.
const LEAST_SEGMENT: unit::Size = unit::Size::from_kib(64);

/// The keys of `[journal]`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether every report is on disk before it is acknowledged.
    pub enabled: bool,
    /// The folder of its files.
    pub path: PathBuf,
    /// When what was written is forced to disk; at once where somebody waits for it, unless `off`.
    pub sync: Sync,
    /// Bytes that its files may have together.
    pub max_size: unit::Size,
    /// What happens then.
    pub on_full: OnFull,
    /// Segments older than this are dropped, delivered or not; `"0"`: never.
    pub max_age: unit::Duration,
    /// With less free on the disk it goes on in memory.
    pub min_free: unit::Size,
    /// Bytes at which a new file is begun.
    pub segment_size: unit::Size,
    /// What a sink without a cursor gets: `"end"`, only what comes from now on; `"start"`, all that is there.
    pub new_sinks: Begin,
}

/// When the journal is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Behind each group of chunks.
    Always,
    /// So long after something was written.
    Interval(Duration),
    /// The kernel decides: a crash of the daemon loses nothing that was written, a power failure may.
    Off,
}

/// What happens when the journal is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Streams are not read, HTTP answers 503, datagrams are dropped, counted.
    Stop,
    /// The oldest segment goes, counted, acknowledged reports with it.
    DropOldest,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            path: PathBuf::from("kaneda-data/journal"),
            sync: Sync::Interval(Duration::from_millis(100)),
            max_size: unit::Size::from_gib(2),
            on_full: OnFull::Stop,
            max_age: unit::Duration::from_secs(0),
            min_free: unit::Size::from_mib(512),
            segment_size: unit::Size::from_mib(64),
            new_sinks: Begin::End,
        }
    }
}

impl Config {
    /// Whether the values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let Config { segment_size, max_size, path, .. } = self;
        problem::all([
            unless(*segment_size >= LEAST_SEGMENT, || {
                format!(
                    "segment_size = \"{segment_size}\": must be {LEAST_SEGMENT} at least, or there are too many files"
                )
            }),
            unless(max_size.bytes() >= 1 << 20, || {
                format!("max_size = \"{max_size}\": must be 1MiB at least")
            }),
            unless(!path.as_os_str().is_empty(), || {
                "path = \"\": name a folder; enabled = false goes without a journal".to_owned()
            }),
        ])
    }

    /// Bytes at which a segment ends.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_size.bytes().min(self.max_size.bytes() / SEGMENTS)
    }

    pub(super) fn max_age(&self) -> Option<Duration> {
        Some(self.max_age.get()).filter(|age| !age.is_zero())
    }
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "always" => Ok(Sync::Always),
            "off" => Ok(Sync::Off),
            interval => match interval.parse::<unit::Duration>() {
                Ok(interval) if interval.get().is_zero() => Ok(Sync::Always),
                Ok(interval) => Ok(Sync::Interval(interval.get())),
                Err(_) => Err(D::Error::custom(format!(
                    "`{interval}` is none of \"always\", \"off\" and an interval such as \"100ms\""
                ))),
            },
        }
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sync::Always => f.write_str("always"),
            Sync::Interval(interval) => write!(f, "{interval:?}"),
            Sync::Off => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_makes_no_sense_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let size = unit::Size::from_bytes(1);
        let config = Config { segment_size: size, max_size: size, path: PathBuf::new(), ..Config::default() };
        let error = config.check().unwrap_err();
        let keys: Vec<_> = error.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(keys, ["segment_size", "max_size", "path"], "{error}");
    }
}
