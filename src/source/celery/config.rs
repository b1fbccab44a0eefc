//! What a `[[source]]` of type `celery` may say.

use std::path::PathBuf;

use serde::Deserialize;

use crate::secret::Secret;
use crate::source::queue::RedisUrl;
use crate::tls;
use crate::unit::{Duration, Size};

/// The keys of a `celery` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the broker is (Kaneda's CELERY_BROKER): `redis://user:password@host:port/database` or
    /// `amqp://user:password@host:port/vhost`; with TLS `rediss://..` or `amqps://..`.
    pub broker: Secret,
    /// How `rediss://` and `amqps://` are spoken.
    pub tls: Option<tls::Config>,
    /// The queue (Kaneda's CELERY_QUEUE_NAME). Empty: Celery's default, `celery`.
    pub queue_name: String,
    /// What the broker's transport options call `global_keyprefix`; of a Redis.
    pub global_keyprefix: String,
    /// A message that was taken and not acknowledged for so long goes back to its queue, whoever took it. It has to be the
    /// one of all workers at this broker; of a Redis.
    pub visibility_timeout: Duration,
    /// Messages that are taken and not acknowledged at the same time. Not set: 4000 of a Redis, 200 of a RabbitMQ, which
    /// sends them before they are asked for.
    pub prefetch: Option<usize>,
    /// What becomes of messages for another task.
    pub other_tasks: OtherTasks,
    /// Whether a RabbitMQ is told that a message which is no report is rejected, so that it goes to the dead-letter exchange
    /// of its queue too.
    pub reject_unread: bool,
    /// Where results are written, for tasks that ask for one (Celery's `result_backend`):
    /// `redis://user:password@host:port/database`. Not set: nowhere.
    pub result_backend: Option<Secret>,
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
            tls: None,
            queue_name: String::new(),
            global_keyprefix: String::new(),
            visibility_timeout: Duration::from_secs(3600),
            prefetch: None,
            other_tasks: OtherTasks::default(),
            reject_unread: false,
            result_backend: None,
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
/// `prefetch` of a Redis.
const REDIS_PREFETCH: usize = 4000;
/// `prefetch` of a RabbitMQ, whose messages lie here in whole until there is room for them.
const AMQP_PREFETCH: usize = 200;
/// The most `prefetch`: each message has an id and a delivery tag that are kept.
const MOST_PREFETCH: usize = 100_000;
/// The most that AMQP can say.
const MOST_AMQP_PREFETCH: usize = u16::MAX as usize;
/// The longest name that AMQP can say.
#[cfg(feature = "amqp")]
const LONGEST_AMQP_NAME: usize = 255;
/// Bytes of a message that is not acknowledged: its id twice, its tag, and what holds them.
const UNACKNOWLEDGED_BYTES: usize = 1024;
/// Bytes of the headers of a message.
const AMQP_HEADERS_BYTES: usize = 8 << 10;
/// Bytes of the library's two buffers of a connection: 32 frames each.
const AMQP_BUFFERS_BYTES: usize = 2 * 32 * (128 << 10);
/// Messages that are put aside at the same time, beside `prefetch`.
pub(super) const MOST_ASIDE: usize = 20_000;
/// Bytes of one of these: its tag twice, its time, and what holds them.
const ASIDE_BYTES: usize = 256;

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let most_prefetch = match self.broker.split_once("://").map(|(scheme, _)| scheme) {
            Some("amqp" | "amqps") => {
                self.check_amqp()?;
                MOST_AMQP_PREFETCH
            }
            Some("redis" | "rediss") => {
                self.redis_url()?;
                if self.reject_unread {
                    return Err("reject_unread: only a RabbitMQ has dead-letter exchanges".to_owned());
                }
                MOST_PREFETCH
            }
            _ => {
                let redis = "redis://user:password@host:port/database";
                let amqp = "amqp://user:password@host:port/vhost";
                return Err(format!(
                    "broker: write it as \"{redis}\" or \"{amqp}\", with TLS rediss:// or amqps://"
                ));
            }
        };
        let prefetch = self.prefetch();
        if !(1..=most_prefetch).contains(&prefetch) {
            return Err(format!("prefetch = {prefetch}: must be from 1 to {most_prefetch}"));
        }
        self.results_url()?;
        self.tls.as_ref().map_or(Ok(()), tls::Config::check).map_err(|error| error.to_string())?;
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

    #[cfg(feature = "amqp")]
    fn check_amqp(&self) -> Result<(), String> {
        // No error has a part of the URL, which may hold a password.
        super::rabbitmq::address(&self.broker)
            .map_err(|error| format!("broker: this is no URL of a RabbitMQ: {error}"))?;
        if self.queue().len() > LONGEST_AMQP_NAME {
            return Err(format!("queue_name: RabbitMQ's have {LONGEST_AMQP_NAME} bytes at most"));
        }
        Ok(())
    }

    #[cfg(not(feature = "amqp"))]
    fn check_amqp(&self) -> Result<(), String> {
        Err("broker: this daemon was built without the feature amqp, which RabbitMQ takes".to_owned())
    }

    /// Whether the broker is a RabbitMQ.
    pub(super) fn is_amqp(&self) -> bool {
        self.broker.starts_with("amqp")
    }

    /// Whether anything is reached with TLS for which `tls` says how.
    pub(super) fn check_tls(&self, results: Option<&RedisUrl>) -> Result<(), tls::Error> {
        let is_used = match self.is_amqp() {
            true => self.broker.starts_with("amqps:"),
            false => self.redis_url().is_ok_and(|url| url.is_by_table()),
        };
        if self.tls.is_none() || is_used || results.is_some_and(RedisUrl::is_by_table) {
            return Ok(());
        }
        Err(tls::Error::Unused(if self.is_amqp() { "amqps" } else { "rediss" }))
    }

    /// The broker, if it is a Redis.
    pub(super) fn redis_url(&self) -> Result<RedisUrl, String> {
        RedisUrl::read(&self.broker, self.tls.as_ref()).map_err(|error| format!("broker: {error}"))
    }

    /// Where results are written.
    pub(super) fn results_url(&self) -> Result<Option<RedisUrl>, String> {
        let url = self.result_backend.as_ref().map(|url| RedisUrl::read(url, self.tls.as_ref()));
        url.transpose().map_err(|error| format!("result_backend: {error}"))
    }

    /// The queue.
    pub(super) fn queue(&self) -> &str {
        if self.queue_name.is_empty() { DEFAULT_QUEUE } else { &self.queue_name }
    }

    /// Messages that are taken and not acknowledged at the same time.
    pub(super) fn prefetch(&self) -> usize {
        self.prefetch.unwrap_or(if self.is_amqp() { AMQP_PREFETCH } else { REDIS_PREFETCH })
    }

    /// Bytes that the source holds at most, chunks and dead letters apart, if messages are no longer than `max_message`.
    pub fn memory(&self) -> usize {
        let message = self.max_message.bytes() as usize;
        let kept = self.prefetch() * UNACKNOWLEDGED_BYTES + MOST_ASIDE * ASIDE_BYTES;
        match self.is_amqp() {
            // All that the broker sends ahead, also what counts against a consumer that has just been followed by another.
            true => {
                (self.prefetch() * 5 / 4 + 3) * (message + AMQP_HEADERS_BYTES) + AMQP_BUFFERS_BYTES + kept
            }
            // A batch as it came, one message of it on its way to a line, and the batch that was asked for ahead.
            false => (2 * BATCH + 3) * message + kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key_and_no_password_is_shown() {
        for text in [
            "broker = 'amqps://me:hush@host:port/x'",
            "broker = 'rediss://me:hush@host?ssl_cert_reqs=hush'",
            "tls = { key = '/k' }\nbroker = 'amqps://me:hush@host'",
            "broker = 'amqp://me:hush@host:port/x'",
            "broker = 'sqs://me:hush@host'",
            "reject_unread = true",
            "result_backend = 'amqp://me:hush@host'",
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
        for (scheme, words) in [("redis", ""), ("rediss", "?ssl_cert_reqs=none")] {
            let config = Config {
                broker: Secret::from(&*format!("{scheme}://me:hush@127.0.0.1:6380/3{words}")),
                queue_name: "kaneda".to_owned(),
                ..Config::default()
            };
            let place = crate::source::celery::worker(&config, "celery").unwrap().place();
            assert_eq!(place, format!("{scheme}://127.0.0.1:6380/3 kaneda"));
        }
    }
}
