//! What a `[[source]]` of type `celery` may say.

use std::path::PathBuf;

use serde::Deserialize;

use crate::secret::Secret;
use crate::unit::{Duration, Size};

/// The keys of a `celery` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the broker is (Kaneda's CELERY_BROKER): `redis://user:password@host:port/database`.
    pub broker: Secret,
    /// The queue (Kaneda's CELERY_QUEUE_NAME). Empty: Celery's default, `celery`.
    pub queue_name: String,
    /// What the broker's transport options call `global_keyprefix`.
    pub global_keyprefix: String,
    /// A message that was taken and not acknowledged for so long goes back to its queue, whoever took it. It has to be the
    /// one of all workers at this broker.
    pub visibility_timeout: Duration,
    /// Messages that are taken and not acknowledged at the same time.
    pub prefetch: usize,
    /// What becomes of messages for another task.
    pub other_tasks: OtherTasks,
    /// How long an empty queue is left alone.
    pub poll_interval: Duration,
    /// The `host` of reports. Not set: the machine's name, as in Kaneda.
    pub hostname: Option<String>,
    /// The longest message, as it came and inflated.
    pub max_message: Size,
    /// The file of messages that are no reports; empty: they are only logged.
    pub dead_letters: Option<PathBuf>,
    /// Bytes of that file. A full one is kept until the next is full.
    pub dead_letters_max_size: Size,
}

/// What becomes of messages for another task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherTasks {
    /// They go back to the far end of the queue, for other workers.
    #[default]
    Leave,
    /// They become dead letters.
    DeadLetter,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            broker: Secret::from("redis://127.0.0.1:6379/0"),
            queue_name: String::new(),
            global_keyprefix: String::new(),
            visibility_timeout: Duration::from_secs(3600),
            prefetch: 4000,
            other_tasks: OtherTasks::default(),
            poll_interval: Duration::from_millis(100),
            hostname: None,
            max_message: Size::from_kib(256),
            dead_letters: None,
            dead_letters_max_size: Size::from_mib(64),
        }
    }
}

/// The queue of Celery's applications that name none.
const DEFAULT_QUEUE: &str = "celery";
/// Messages that are taken at once: what comes of them is acknowledged together.
pub(super) const BATCH: usize = 200;
/// The most `prefetch`: each message has an id and a delivery tag that are kept.
const MOST_PREFETCH: usize = 100_000;
/// Bytes of a message that is not acknowledged: its id twice, its tag, and what holds them.
const UNACKNOWLEDGED_BYTES: usize = 1024;

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.broker.starts_with("redis://") {
            return Err("broker: write it as \"redis://user:password@host:port/database\"".to_owned());
        }
        if let Err(error) = redis::Client::open(&*self.broker) {
            // The text of the error has no part of the URL, which may hold a password.
            return Err(format!("broker: this is no URL of a Redis: {:?}", error.kind()));
        }
        if !(1..=MOST_PREFETCH).contains(&self.prefetch) {
            return Err(format!("prefetch = {}: must be from 1 to {MOST_PREFETCH}", self.prefetch));
        }
        if self.visibility_timeout < Duration::from_secs(1) {
            return Err("visibility_timeout: must be at least 1s".to_owned());
        }
        if self.poll_interval == Duration::default() {
            return Err("poll_interval = 0: must be more".to_owned());
        }
        if self.max_message.bytes() == 0 {
            return Err("max_message = 0: must be at least 1B".to_owned());
        }
        Ok(())
    }

    /// The queue.
    pub(super) fn queue(&self) -> &str {
        if self.queue_name.is_empty() { DEFAULT_QUEUE } else { &self.queue_name }
    }

    /// Bytes that the source holds at most, chunks and dead letters apart, if messages are no longer than `max_message`.
    pub fn memory(&self) -> usize {
        // A batch as it came, and one message of it on its way to a line.
        (BATCH + 3) * self.max_message.bytes() as usize + self.prefetch * UNACKNOWLEDGED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key_and_no_password_is_shown() {
        for text in [
            "broker = 'amqp://me:hush@host'",
            "broker = 'redis://me:hush@host:port/x'",
            "prefetch = 0",
            "visibility_timeout = '0s'",
            "poll_interval = '0s'",
            "max_message = '0B'",
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let error = config.check().unwrap_err();
            assert!(error.starts_with(text.split(' ').next().unwrap()) && !error.contains("hush"), "{error}");
        }
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(Config::default().queue(), "celery");
    }

    #[test]
    fn the_place_of_a_broker_is_shown_without_its_login() {
        let config = Config {
            broker: Secret::from("redis://me:hush@127.0.0.1:6380/3"),
            queue_name: "kaneda".to_owned(),
            ..Config::default()
        };
        let place = crate::source::celery::worker(&config).unwrap().place();
        assert_eq!(place, "redis://127.0.0.1:6380/3 kaneda");
    }
}
