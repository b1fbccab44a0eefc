//! Celery's messages, protocols 1 and 2, as any broker carries them.
//!
//! Source: Celery's "Message Protocol" and `celery/app/amqp.py`; `kombu/transport/virtual/base.py` for the envelope that
//! brokers without properties of their own have, as Redis.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

use super::{Error, LONGEST_ID, Limits, inflate, json, kombu, pickle, report};
use crate::record::json::{elements, members};

/// The task that reports.
const REPORT: &str = "kaneda.tasks.celery.report";

/// The error of a task that is no report.
pub fn other_task(task: Option<&str>) -> Option<Error> {
    task.filter(|task| *task != REPORT).map(|other| Error::Other(other.to_owned()))
}

/// A message without its broker.
#[derive(Debug)]
pub struct Message<'m> {
    /// Such as `application/json`.
    pub content_type: &'m str,
    /// The task's id, wherever the protocol has no other.
    pub correlation_id: Option<&'m str>,
    /// What protocol 2 says outside of the body.
    pub headers: &'m Headers,
    /// Not base64 any more, but compressed if the headers say so.
    pub body: &'m [u8],
}

/// Those of a message's headers that matter. Protocol 1 has at most `compression`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Headers {
    /// The task's name.
    pub task: Option<String>,
    /// The task's id.
    pub id: Option<String>,
    /// Not before.
    pub eta: Option<String>,
    /// Not after.
    pub expires: Option<String>,
    /// A content type.
    pub compression: Option<String>,
    /// Nobody waits for a result.
    #[serde(default, deserialize_with = "is_true")]
    pub ignore_result: bool,
}

/// Whether it is `true`; whatever else it is counts as not.
fn is_true<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(serde_json::Value::deserialize(value)? == serde_json::Value::Bool(true))
}

/// A message with all that kombu puts around it where the broker has nothing but texts.
#[derive(Debug, Deserialize)]
pub struct Envelope<'m> {
    #[serde(borrow)]
    body: Cow<'m, str>,
    #[serde(rename = "content-type")]
    content_type: String,
    /// What protocol 2 says outside of the body.
    #[serde(default)]
    pub headers: Headers,
    /// What a broker has by itself.
    pub properties: Properties,
}

/// What a broker has by itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Properties {
    /// Names this delivery, as an acknowledgement does.
    pub delivery_tag: Option<String>,
    /// The task's id.
    pub correlation_id: Option<String>,
    body_encoding: Option<String>,
}

impl<'m> Envelope<'m> {
    /// Reads an element of a list in Redis.
    pub fn read(element: &'m [u8]) -> Result<Self, Error> {
        serde_json::from_slice(element).map_err(|error| Error::BadEnvelope(error.to_string()))
    }

    /// The task's name where protocol 2 has it, of an element of which nothing else need be right.
    pub fn task_name(element: &[u8]) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Named<'m> {
            #[serde(borrow)]
            headers: Name<'m>,
        }
        #[derive(Deserialize)]
        struct Name<'m> {
            #[serde(borrow)]
            task: Cow<'m, str>,
        }
        serde_json::from_slice::<Named>(element).ok().map(|named| named.headers.task)
    }

    /// The task in it.
    pub fn task(&self, limits: Limits) -> Result<Task, Error> {
        let body = match self.properties.body_encoding.as_deref() {
            Some("base64") => match STANDARD.decode(self.body.as_bytes()) {
                Ok(body) => Cow::Owned(body),
                Err(error) => return Err(Error::BadEnvelope(format!("its body is no base64: {error}"))),
            },
            None | Some("utf-8" | "") => Cow::Borrowed(self.body.as_bytes()),
            Some(other) => return Err(Error::BadEnvelope(format!("its body is encoded as {other:?}"))),
        };
        let message = Message {
            content_type: &self.content_type,
            correlation_id: self.properties.correlation_id.as_deref(),
            headers: &self.headers,
            body: &body,
        };
        message.task(limits)
    }
}

/// A task that is a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// 1 to 127 bytes.
    pub id: String,
    /// Not to be taken before.
    pub eta: Option<Timestamp>,
    /// Not to be taken after.
    pub expires: Option<Timestamp>,
    /// A line of the protocol.
    pub line: Vec<u8>,
}

impl Task {
    /// Whether its time is over, now or before it comes.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        let soonest = self.eta.map_or(now, |eta| eta.max(now));
        self.expires.is_some_and(|expires| expires < soonest)
    }
}

impl Message<'_> {
    /// The task in it.
    pub fn task(&self, limits: Limits) -> Result<Task, Error> {
        if let Some(other) = other_task(self.headers.task.as_deref()) {
            return Err(other);
        }
        if self.body.len() > limits.max_message {
            return Err(Error::TooLong(limits.max_message));
        }
        let body = match self.headers.compression.as_deref() {
            Some(compression) => Cow::Owned(inflate::body(compression, self.body, limits)?),
            None => Cow::Borrowed(self.body),
        };
        let body = self.json(&body, limits)?;
        let first = body.trim_ascii_start().first();
        match first {
            Some(b'[') => self.of_protocol_2(&body),
            Some(b'{') => self.of_protocol_1(&body),
            _ => Err(Error::BadArguments("its body is neither a list nor an object")),
        }
    }

    /// The body as plain JSON.
    fn json<'b>(&self, body: &'b [u8], limits: Limits) -> Result<Cow<'b, [u8]>, Error> {
        let mut plain = Vec::new();
        match self.content_type {
            "application/json" => {
                json::check(body)?;
                if !kombu::has_wrapped(body) {
                    return Ok(Cow::Borrowed(body));
                }
                kombu::unwrap(body, &mut plain)?;
            }
            "application/x-python-serialize" => pickle::to_json(body, limits.pickle(), &mut plain)?,
            other => return Err(Error::ContentType(other.to_owned())),
        }
        Ok(Cow::Owned(plain))
    }

    /// `[args, kwargs, embed]`; all else is in the headers.
    fn of_protocol_2(&self, body: &[u8]) -> Result<Task, Error> {
        let mut parts = elements(body);
        let (Some(positional), Some(named)) = (parts.next(), parts.next()) else {
            return Err(Error::BadArguments("its body has no arguments"));
        };
        if self.headers.task.is_none() {
            return Err(Error::BadEnvelope("it names no task".to_owned()));
        }
        let Headers { id, eta, expires, .. } = self.headers;
        self.of(id.as_deref(), eta.as_deref(), expires.as_deref(), positional, named)
    }

    /// An object that says everything.
    fn of_protocol_1(&self, body: &[u8]) -> Result<Task, Error> {
        let member =
            |name: &str| members(body).filter(|(other, _)| other.is(name)).last().map(|(_, value)| value);
        let text = |name| member(name).and_then(report::text);
        match text("task") {
            Some(task) if task == REPORT => {}
            Some(other) => return Err(Error::Other(other)),
            None => return Err(Error::BadEnvelope("it names no task".to_owned())),
        }
        let (id, eta, expires) = (text("id"), text("eta"), text("expires"));
        let positional = member("args").unwrap_or(b"[]");
        let named = member("kwargs").unwrap_or(b"{}");
        self.of(id.as_deref(), eta.as_deref(), expires.as_deref(), positional, named)
    }

    fn of(
        &self,
        id: Option<&str>,
        eta: Option<&str>,
        expires: Option<&str>,
        positional: &[u8],
        named: &[u8],
    ) -> Result<Task, Error> {
        let id = id.or(self.correlation_id).filter(|id| (1..=LONGEST_ID).contains(&id.len()));
        Ok(Task {
            id: id.ok_or(Error::BadId)?.to_owned(),
            eta: eta.map(instant).transpose()?,
            expires: expires.map(instant).transpose()?,
            line: report::from_call(positional, named)?,
        })
    }
}

/// An instant as `isoformat()` prints it. Without an offset it is UTC: Celery's default.
fn instant(text: &str) -> Result<Timestamp, Error> {
    let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let instant = text.parse().ok().or_else(naive);
    instant.ok_or_else(|| Error::BadEnvelope(format!("its eta or expires is no time: {text:?}")))
}

#[cfg(test)]
mod tests;
