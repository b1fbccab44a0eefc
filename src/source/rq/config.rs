//! What a `[[source]]` of type `rq` may say.

use std::path::PathBuf;

use serde::Deserialize;

use crate::secret::Secret;
use crate::source::queue::{LONGEST_ID, RedisUrl};
use crate::tls;
use crate::unit::{Duration, Size};

/// The keys of an `rq` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the Redis is (Kaneda's RQ_REDIS_URL): `redis://user:password@host:port/database`; with TLS
    /// `rediss://..`.
    pub redis_url: Secret,
    /// How `rediss://` is spoken.
    pub tls: Option<tls::Config>,
    /// The queue (Kaneda's RQ_QUEUE_NAME).
    pub queue_name: String,
    /// What all keys of RQ begin with: the applications' RQ_KEY_PREFIX.
    pub key_prefix: String,
    /// Jobs that are taken and not settled at the same time.
    pub prefetch: usize,
    /// What becomes of jobs of another function.
    pub other_jobs: OtherJobs,
    /// How long RQ keeps a finished job that does not say so itself; zero: it is deleted at once.
    pub result_ttl: Duration,
    /// The applications' RQ is older than 1.0: failed jobs go into its list `rq:queue:failed`.
    pub failed_queue: bool,
    /// A daemon that was not heard of for so long has left the jobs in its hands: RQ's own maintenance fails them then.
    pub abandoned_after: Duration,
    /// How long an empty queue is left alone.
    pub poll_interval: Duration,
    /// The `host` of reports. Not set: the machine's name, as in Kaneda.
    pub hostname: Option<String>,
    /// The longest job, as it came and inflated.
    pub max_message: Size,
    /// The file of jobs that are no reports; empty: they are only logged.
    pub dead_letters: Option<PathBuf>,
    /// Bytes of that file. A full one is kept until the next is full.
    pub dead_letters_max_size: Size,
}

/// What becomes of jobs of another function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherJobs {
    /// They stay where they are in the queue, for other workers.
    #[default]
    Leave,
    /// They fail, and become dead letters.
    DeadLetter,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            redis_url: Secret::from("redis://127.0.0.1:6379/0"),
            tls: None,
            queue_name: "kaneda".to_owned(),
            key_prefix: "rq".to_owned(),
            prefetch: 4000,
            other_jobs: OtherJobs::default(),
            // `DEFAULT_RESULT_TTL` of RQ.
            result_ttl: Duration::from_secs(500),
            failed_queue: false,
            abandoned_after: Duration::from_secs(3600),
            poll_interval: Duration::from_millis(100),
            hostname: None,
            max_message: Size::from_kib(256),
            dead_letters: None,
            dead_letters_max_size: Size::from_mib(64),
        }
    }
}

/// Jobs that are looked at, taken and settled at once.
pub(super) const BATCH: usize = 200;
/// Jobs of other functions at the front of the queue of which it is known that they were looked at.
pub(super) const REMEMBERED: usize = 1000;
/// Bytes of data that are looked at at once, if no job has more.
const BATCH_BYTES: usize = 4 << 20;
/// The most `prefetch`: the id of each job is kept.
const MOST_PREFETCH: usize = 100_000;
/// Bytes of a job that is not settled: its id three times, why it failed, and what holds them.
const UNSETTLED_BYTES: usize = 1536;
/// The least `abandoned_after`: twice as long as the books are left alone.
const LEAST_ABANDONED: Duration = Duration::from_secs(60);
/// The most seconds of a `result_ttl`, ten years.
const MOST_TTL: Duration = Duration::from_days(3650);

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.redis_url.starts_with("redis://") && !self.redis_url.starts_with("rediss://") {
            let plain = "redis://user:password@host:port/database";
            return Err(format!("redis_url: write it as \"{plain}\", with TLS rediss://"));
        }
        self.tls.as_ref().map_or(Ok(()), tls::Config::check).map_err(|error| error.to_string())?;
        self.url()?;
        if self.queue_name.is_empty() {
            return Err("queue_name = \"\": must be the name of a queue".to_owned());
        }
        if self.key_prefix.is_empty() {
            return Err("key_prefix = \"\": must be at least one character; RQ's own is \"rq\"".to_owned());
        }
        if !(1..=MOST_PREFETCH).contains(&self.prefetch) {
            return Err(format!("prefetch = {}: must be from 1 to {MOST_PREFETCH}", self.prefetch));
        }
        if self.result_ttl > MOST_TTL {
            return Err(format!("result_ttl: must be at most {MOST_TTL}"));
        }
        if !(LEAST_ABANDONED..=MOST_TTL).contains(&self.abandoned_after) {
            return Err(format!("abandoned_after: must be from {LEAST_ABANDONED} to {MOST_TTL}"));
        }
        if self.poll_interval == Duration::default() {
            return Err("poll_interval = 0: must be more".to_owned());
        }
        if self.max_message.bytes() == 0 {
            return Err("max_message = 0: must be at least 1B".to_owned());
        }
        Ok(())
    }

    /// Where the Redis is.
    pub(super) fn url(&self) -> Result<RedisUrl, String> {
        RedisUrl::read(&self.redis_url, self.tls.as_ref()).map_err(|error| format!("redis_url: {error}"))
    }

    /// Bytes of data that are looked at at once.
    pub(super) fn batch_bytes(&self) -> usize {
        BATCH_BYTES.max(self.longest())
    }

    /// Bytes of the longest job.
    pub(super) fn longest(&self) -> usize {
        self.max_message.bytes() as usize
    }

    /// Bytes that the source holds at most, chunks and dead letters apart.
    pub fn memory(&self) -> usize {
        // A batch as it came, the one before as it was read, and one job on its way to a line.
        let batch = 2 * self.batch_bytes() + 3 * self.longest();
        // What holds an id has twice its room at most.
        let remembered = REMEMBERED * 2 * (LONGEST_ID + size_of::<Vec<u8>>());
        batch + remembered + self.prefetch * UNSETTLED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key_and_no_password_is_shown() {
        for text in [
            "redis_url = 'unix://me:hush@host'",
            "redis_url = 'rediss://me:hush@host?ssl_cert_reqs=hush'",
            "redis_url = 'redis://me:hush@host:port/x'",
            "queue_name = ''",
            "key_prefix = ''",
            "prefetch = 0",
            "result_ttl = '4000d'",
            "abandoned_after = '59s'",
            "poll_interval = '0s'",
            "max_message = '0B'",
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let error = config.check().unwrap_err();
            assert!(error.starts_with(text.split(' ').next().unwrap()) && !error.contains("hush"), "{error}");
        }
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn the_place_of_a_queue_is_shown_without_its_login() {
        for (scheme, words) in [("redis", ""), ("rediss", "?ssl_cert_reqs=none")] {
            let redis_url = Secret::from(&*format!("{scheme}://me:hush@127.0.0.1:6380/3{words}"));
            let config = Config { redis_url, ..Config::default() };
            let place = crate::source::rq::worker(&config, "rq").unwrap().place();
            assert_eq!(place, format!("{scheme}://127.0.0.1:6380/3 kaneda"));
        }
    }
}
