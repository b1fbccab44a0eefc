//! What Celery says beside the body of a message, from a header table of AMQP.

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::source::celery::delivery::Properties;
use crate::source::queue::sieve::LONGEST_HEADER;
use crate::source::queue::{Error, Headers};

/// Those of a message's properties that matter.
pub(super) fn properties(properties: &BasicProperties) -> Properties {
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        content_type: text(properties.content_type()).unwrap_or_default(),
        correlation_id: text(properties.correlation_id()),
        task: properties.headers().as_ref().and_then(task),
        headers: properties.headers().as_ref().map_or(Ok(Headers::default()), headers),
    }
}

fn headers(table: &FieldTable) -> Result<Headers, Error> {
    Ok(Headers {
        task: text(table, "task")?,
        id: text(table, "id")?,
        eta: time(table, "eta")?,
        expires: time(table, "expires")?,
        compression: text(table, "compression")?,
        ignore_result: matches!(value(table, "ignore_result"), Some(AMQPValue::Boolean(true))),
    })
}

/// The start of the task's name, if it is a text.
fn task(table: &FieldTable) -> Option<String> {
    let name = bytes(value(table, "task")?)?;
    Some(String::from_utf8_lossy(&name[..name.len().min(LONGEST_HEADER)]).into_owned())
}

fn value<'t>(table: &'t FieldTable, name: &str) -> Option<&'t AMQPValue> {
    table.inner().get(name).filter(|value| !matches!(value, AMQPValue::Void))
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

/// A text, if there is one.
fn text(table: &FieldTable, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = value(table, name) else { return Ok(None) };
    let Some(bytes) = bytes(value) else {
        return Err(Error::BadEnvelope(format!("its header {name} is no text")));
    };
    if bytes.len() > LONGEST_HEADER {
        return Err(Error::BadEnvelope(format!("its header {name} is longer than {LONGEST_HEADER} bytes")));
    }
    let text = str::from_utf8(bytes);
    text.map(|text| Some(text.to_owned()))
        .map_err(|_| Error::BadEnvelope(format!("its header {name} is no UTF-8")))
}

/// A time as text: Celery sends `isoformat()`; a `datetime` itself would become a time of AMQP, in seconds.
fn time(table: &FieldTable, name: &str) -> Result<Option<String>, Error> {
    let Some(AMQPValue::Timestamp(seconds)) = value(table, name) else { return text(table, name) };
    let time = i64::try_from(*seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    match time {
        Some(time) => Ok(Some(time.to_string())),
        None => Err(Error::BadEnvelope(format!("its header {name} is no time: {seconds}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, value: AMQPValue) -> FieldTable {
        let mut table = FieldTable::default();
        table.insert(name.into(), value);
        table
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn texts_of_either_kind_are_read_and_null_is_nothing() {
        let mut all = table("task", long("kaneda.tasks.celery.report"));
        for (name, value) in [
            ("id", AMQPValue::ShortString("i-1".into())),
            ("eta", AMQPValue::Void),
            ("expires", long("2026-11-28T19:00:00+00:00")),
            ("compression", AMQPValue::ByteArray(b"application/x-gzip".to_vec().into())),
            ("retries", AMQPValue::ShortShortInt(0)),
            ("ignore_result", AMQPValue::Boolean(true)),
            ("timelimit", AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::Void].into())),
        ] {
            all.insert(name.into(), value);
        }
        let headers = headers(&all).unwrap();
        assert_eq!(headers.task.as_deref(), Some("kaneda.tasks.celery.report"));
        assert_eq!(headers.id.as_deref(), Some("i-1"));
        assert!(headers.ignore_result);
        assert_eq!((headers.eta, headers.expires.as_deref()), (None, Some("2026-11-28T19:00:00+00:00")));
        assert_eq!(headers.compression.as_deref(), Some("application/x-gzip"));
    }

    #[test]
    fn a_time_of_amqp_is_a_time() {
        let headers = headers(&table("eta", AMQPValue::Timestamp(1_800_000_000))).unwrap();
        assert_eq!(headers.eta.as_deref(), Some("2027-01-15T08:00:00Z"));
    }

    #[test]
    fn a_header_that_is_no_text_is_named() {
        for (table, reason) in [
            (table("id", AMQPValue::LongInt(5)), "its header id is no text"),
            (table("task", AMQPValue::FieldTable(FieldTable::default())), "its header task is no text"),
            (table("eta", AMQPValue::Double(1.5)), "its header eta is no text"),
            (table("eta", AMQPValue::Timestamp(u64::MAX)), "its header eta is no time: 18446744073709551615"),
            (table("task", AMQPValue::LongString(b"\xff"[..].into())), "its header task is no UTF-8"),
            (table("id", long(&"x".repeat(1025))), "its header id is longer than 1024 bytes"),
        ] {
            assert_eq!(headers(&table).unwrap_err(), Error::BadEnvelope(reason.to_owned()));
        }
    }

    #[test]
    fn the_task_is_named_whatever_the_other_headers_are() {
        let named = |value| {
            let mut all = table("task", value);
            all.insert("eta".into(), AMQPValue::Double(1.5));
            let read = properties(&BasicProperties::default().with_headers(all));
            assert!(read.headers.is_err());
            read.task
        };
        assert_eq!(named(long("shop.pay")).as_deref(), Some("shop.pay"));
        assert_eq!(named(long(&"x".repeat(1025))), Some("x".repeat(1024)));
        assert_eq!(named(AMQPValue::LongInt(5)), None);
    }

    #[test]
    fn a_message_without_headers_is_of_protocol_1() {
        let properties = properties(&BasicProperties::default().with_correlation_id("c-1".into()));
        assert_eq!(properties.correlation_id.as_deref(), Some("c-1"));
        assert_eq!(properties.content_type, "");
        assert_eq!(properties.headers.unwrap().task, None);
    }
}
