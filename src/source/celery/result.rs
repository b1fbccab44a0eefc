//! What became of tasks, for those who wait for it, as Celery's own result backend for Redis has it.
//!
//! Source: `celery/backends/redis.py` and `base.py`. A task's result is a text at `celery-task-meta-ID`, for a day, and is
//! published under the same name. Like Celery's worker it is tried once: a result that cannot be written is lost, and its
//! report is not.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use redis::RedisResult;
use serde_json::json;
use tracing::warn;

use crate::source::queue::Connection;

/// Before the id of a task.
const KEY: &str = "celery-task-meta-";
/// Celery's `result_expires`.
const EXPIRES_SECONDS: u64 = 24 * 3600;
/// How long an answer may take: reports wait meanwhile.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long no result is written after one could not be.
const PAUSE: Duration = Duration::from_secs(10);
/// Bytes of a reason that are told.
const LONGEST_REASON: usize = 200;

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    id: String,
    /// Why not, if it was not done.
    error: Option<Error>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Error {
    Expired,
    /// Why it is no report.
    Unread(String),
}

impl Outcome {
    pub(super) fn done(id: String) -> Self {
        Outcome { id, error: None }
    }

    pub(super) fn expired(id: String) -> Self {
        Outcome { id, error: Some(Error::Expired) }
    }

    pub(super) fn unread(id: String, code: &str, reason: &str) -> Self {
        let mut told = format!("{code}: {reason}");
        told.truncate(told.floor_char_boundary(LONGEST_REASON));
        Outcome { id, error: Some(Error::Unread(told)) }
    }

    /// What Celery would have written.
    fn value(&self, now: Timestamp) -> String {
        let (status, class, module, why) = match &self.error {
            None => ("SUCCESS", "", "", ""),
            Some(Error::Expired) => ("REVOKED", "TaskRevokedError", "celery.exceptions", "expired"),
            Some(Error::Unread(why)) => ("FAILURE", "ValueError", "builtins", why.as_str()),
        };
        let result = self
            .error
            .is_some()
            .then(|| json!({"exc_type": class, "exc_message": [why], "exc_module": module}));
        let value = json!({
            "status": status,
            "result": result,
            "traceback": null,
            "children": [],
            "date_done": now.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            "task_id": self.id,
        });
        value.to_string()
    }
}

/// A result backend.
pub(super) struct Results {
    connection: Connection,
    not_before: Instant,
}

impl Results {
    /// Nothing is connected to yet.
    pub(super) fn new(connection: Connection) -> Self {
        Results { connection: connection.within(RESPONSE_TIMEOUT), not_before: Instant::now() }
    }

    /// Writes outcomes, if that can be done. Whether it could.
    pub(super) async fn write(&mut self, outcomes: &[Outcome]) -> bool {
        if Instant::now() < self.not_before {
            return false;
        }
        match self.try_write(outcomes).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "results cannot be written: those who wait for them are not told for a while");
                self.connection.disconnect();
                self.not_before = Instant::now() + PAUSE;
                false
            }
        }
    }

    async fn try_write(&mut self, outcomes: &[Outcome]) -> RedisResult<()> {
        let mut connection = self.connection.get().await?;
        let now = Timestamp::now();
        let mut pipe = redis::pipe();
        for outcome in outcomes {
            let (key, value) = (format!("{KEY}{}", outcome.id), outcome.value(now));
            pipe.cmd("SETEX").arg(&key).arg(EXPIRES_SECONDS).arg(&value).ignore();
            pipe.cmd("PUBLISH").arg(&key).arg(&value).ignore();
        }
        pipe.query_async(&mut connection).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(outcome: &Outcome) -> serde_json::Value {
        serde_json::from_str(&outcome.value("2026-11-28T19:00:00.5Z".parse().unwrap())).unwrap()
    }

    #[test]
    fn a_result_has_the_form_of_celerys() {
        let expected = json!({
            "status": "SUCCESS", "result": null, "traceback": null, "children": [],
            "date_done": "2026-11-28T19:00:00.500000+00:00", "task_id": "t-1",
        });
        assert_eq!(value(&Outcome::done("t-1".to_owned())), expected);
        let expired = value(&Outcome::expired("t-2".to_owned()));
        assert_eq!(
            (&expired["status"], &expired["result"]["exc_message"]),
            (&json!("REVOKED"), &json!(["expired"]))
        );
        let unread = value(&Outcome::unread("t-3".to_owned(), "bad_json", &"é".repeat(200)));
        assert_eq!(
            (&unread["status"], &unread["result"]["exc_type"]),
            (&json!("FAILURE"), &json!("ValueError"))
        );
        let why = unread["result"]["exc_message"][0].as_str().unwrap();
        assert!(why.starts_with("bad_json: é") && why.len() <= LONGEST_REASON, "{why}");
    }
}
