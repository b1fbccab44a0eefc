//! A report as a row of the table: encoding only.

use std::borrow::Cow;
use std::fmt::Write;

use rusqlite::types::ValueRef;

use crate::record::{Host, Identity, Number, Received, Tags, Value, document, json};

/// The columns of one row. A text is UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) time: i64,
    pub(super) metric: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// The number; an integer above `i64` is rounded to a double, since SQLite has none.
    pub(super) value: ValueRef<'a>,
    pub(super) text: Option<Cow<'a, [u8]>>,
    pub(super) tags: Option<&'a [u8]>,
    pub(super) host: Cow<'a, str>,
    pub(super) rate: Option<f64>,
    pub(super) extra: Option<&'a [u8]>,
}

/// Makes rows. It keeps its buffers from one to the next: an ordinary report is encoded without an allocation.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    id: String,
    host: String,
    list: Vec<u8>,
    tags: Vec<u8>,
    extra: Vec<u8>,
}

impl Encoder {
    /// The row of `received`.
    pub(super) fn encode<'a>(&'a mut self, received: &Received<'a>) -> Row<'a> {
        self.fill(received);
        let record = &received.record;
        let (value, text) = match record.value {
            Value::Number(number, raw) => (self::number(number), Some(Cow::Borrowed(raw))),
            Value::Text(text) => (ValueRef::Null, Some(bytes(text.decode()))),
            Value::Bool(_, raw) => (ValueRef::Null, Some(Cow::Borrowed(raw))),
            Value::List(_) => (ValueRef::Null, Some(Cow::Borrowed(&self.list[..]))),
            Value::Null(_) | Value::Object(_) => (ValueRef::Null, None),
        };
        Row {
            id: match received.identity {
                Identity::Client(id) => id.decode(),
                Identity::Own(_) => Cow::Borrowed(&self.id),
            },
            time: received.time,
            metric: record.kind.text().decode(),
            name: record.name.decode(),
            value,
            text,
            tags: (!self.tags.is_empty()).then_some(&self.tags),
            host: match received.host {
                Host::Sent(host) => host.decode(),
                Host::Named(host) => Cow::Borrowed(host),
                Host::Peer(_) => Cow::Borrowed(&self.host),
            },
            rate: (record.rate != 1.0).then_some(record.rate),
            extra: (!self.extra.is_empty()).then_some(&self.extra),
        }
    }

    /// Writes what does not stand in the report as the row needs it.
    fn fill(&mut self, received: &Received<'_>) {
        let record = &received.record;
        // Writing to a String does not fail.
        if let Identity::Own(id) = received.identity {
            self.id.clear();
            let _ = write!(self.id, "{id}");
        }
        if let Host::Peer(address) = received.host {
            self.host.clear();
            let _ = write!(self.host, "{address}");
        }
        if let Value::List(raw) = record.value {
            self.list.clear();
            json::write_raw(raw, &mut self.list);
        }
        self.tags.clear();
        if record.tags != Tags::None {
            record.tags.write_json(&mut self.tags);
        }
        self.extra.clear();
        document::write_extra(record, &mut self.extra);
    }
}

fn number(number: Number) -> ValueRef<'static> {
    match number {
        Number::Int(int) => ValueRef::Integer(int),
        Number::Uint(int) => ValueRef::Real(int as f64),
        Number::Float(float) => ValueRef::Real(float),
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
