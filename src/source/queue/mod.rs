//! What the sources that take messages off Kaneda's queues share: from a message to a line of the protocol.
//!
//! Kaneda's queue classes send the arguments of one function, `report(name, metric, value, tags, id_)`: as a JSON object
//! (ZeroMQ), as those of a Celery task, or as those of an RQ job. Here each becomes a JSON report, which is a line of the
//! protocol. What such a message holds of Python alone is read as data and nothing else.

#[cfg(feature = "redis")]
mod connection;
mod error;
mod inflate;
mod job;
mod json;
mod kombu;
pub mod pickle;
#[cfg(feature = "redis")]
mod redis_url;
mod report;
pub mod sieve;
mod task;

use std::borrow::Cow;

#[cfg(feature = "redis")]
pub use connection::{Connection, RECONNECT_PAUSE};
pub use error::Error;
pub use job::{HEAD, Job};
#[cfg(feature = "redis")]
pub use redis_url::RedisUrl;
pub use report::from_object;
pub use task::{Envelope, Headers, Message, Properties, Task, other_task};

/// What a message may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message: as it came, inflated, and of what is read out of it.
    pub max_message: usize,
}

impl Limits {
    fn pickle(self) -> pickle::Limits {
        pickle::Limits { json: self.max_message, depth: MAX_DEPTH }
    }
}

/// How deep a message may be nested: the tuple of arguments is in another one, and a report may have 64 levels by default.
const MAX_DEPTH: usize = 120;

/// The longest id of a task or job, in bytes: as of a client's `id`, since stores have limits.
pub const LONGEST_ID: usize = 127;

/// What holds for any bytes at all, for the fuzzer: whatever queue they come from, a line of them is JSON, without a line end.
pub fn check(bytes: &[u8]) {
    let limits = Limits { max_message: 4096 };
    let task = Envelope::read(bytes).and_then(|envelope| envelope.task(limits)).map(|task| task.line);
    let headers = Headers { task: Some("kaneda.tasks.celery.report".to_owned()), ..Headers::default() };
    let message = |content_type| {
        Message { content_type, correlation_id: Some("1"), headers: &headers, body: bytes }.task(limits)
    };
    let tasks = ["application/json", "application/x-python-serialize"]
        .map(message)
        .map(|task| task.map(|task| task.line));
    let job = Job::read(bytes, limits).map(|job| job.line);
    for line in tasks.into_iter().chain([task, job, from_object(bytes).map(Cow::into_owned)]).flatten() {
        assert!(!line.contains(&b'\n'));
        let read = serde_json::from_slice::<&serde_json::value::RawValue>(&line);
        assert!(read.is_ok(), "{}: {read:?}", line.escape_ascii());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_give_a_line_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check(&bytes);
        }

        #[test]
        fn any_text_like_a_message_gives_a_line_or_an_error(
            text in r#"(\[\[|\{"name": ?|\{"task": ?|"a"|1|NaN|null|, ?|: ?|\[|\]|\{|\}|"__type__":|"__value__":|"args":|"decimal"|\r){0,30}"#,
        ) {
            check(text.as_bytes());
        }
    }
}
