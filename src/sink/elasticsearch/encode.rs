//! From records to the body of a `_bulk` request: pure.
//!
//! Two lines a record: what to do, and the document, in Kaneda's layout. `docs/elasticsearch.md` shows one. The format
//! is NDJSON, so nothing in a document may bring a line feed: JSON strings cannot, and a report has none elsewhere.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::index::{Index, Namer};
use super::member::{self, Moved};
use crate::record::{
    Batch, Chunk, Host, Identity, Number, Received, Record, Tags, Text, Value, escape, json, timestamp,
};
use crate::sink::Rejection;

/// Bytes that two lines have beyond those of the report, about: the first guess of a body's size.
const OVERHEAD: usize = 250;
/// Bytes that a store lets an `_id` have.
const ID_BYTES: usize = 512;

/// How records become documents.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Where they go.
    pub(super) index: Index,
    /// Written to each document, if there is one.
    pub(super) app_name: Option<String>,
}

/// A record to be sent: its place in the batch, and what of it goes to `extra`.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) place: usize,
    pub(super) moved: Moved,
}

/// A body and whose it is.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) body: Vec<u8>,
    /// What is in it, in order.
    pub(super) sent: Vec<Planned>,
    /// What may not be stored, by its place in the batch.
    pub(super) rejected: Vec<(usize, Rejection)>,
}

impl Layout {
    /// Encodes the records of `batch` that are in `plan`, whose places ascend.
    pub(super) fn encode(&self, batch: &Batch, plan: Vec<Planned>) -> Encoded {
        let share = batch.bytes() * plan.len() / batch.len().max(1);
        let mut encoded =
            Encoded { body: Vec::with_capacity(share + plan.len() * OVERHEAD), ..Encoded::default() };
        let mut writer = Writer { layout: self, namer: Namer::default(), scratch: Vec::new() };
        let mut places = batch.places().enumerate();
        for planned in plan {
            let found = places.find(|(place, _)| *place == planned.place);
            let Some((place, (chunk, index))) = found else { break };
            match writer.record(chunk, index, &planned.moved, &mut encoded.body) {
                Ok(()) => encoded.sent.push(planned),
                Err(rejection) => encoded.rejected.push((place, rejection)),
            }
        }
        encoded
    }
}

/// Every record of a batch, as it is.
pub(super) fn all(batch: &Batch) -> Vec<Planned> {
    (0..batch.len()).map(|place| Planned { place, moved: Moved::Nothing }).collect()
}

struct Writer<'a> {
    layout: &'a Layout,
    namer: Namer,
    /// For texts that hold JSON.
    scratch: Vec<u8>,
}

impl Writer<'_> {
    fn record(
        &mut self,
        chunk: &Chunk,
        index: usize,
        moved: &Moved,
        out: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let received = chunk.received(index);
        self.layout.index.takes(received.time, chunk.receive_time(index))?;
        self.action(&received, out);
        self.document(&received, moved, out);
        Ok(())
    }

    /// An id of ours that is there already stays as it is; a client's replaces, unless the store cannot do that.
    fn action(&mut self, received: &Received<'_>, out: &mut Vec<u8>) {
        let replaces =
            matches!((received.identity, &self.layout.index), (Identity::Client(_), Index::Dated(..)));
        out.extend_from_slice(if replaces {
            b"{\"index\":{\"_index\":\""
        } else {
            b"{\"create\":{\"_index\":\""
        });
        self.namer.write(&self.layout.index, received.time, out);
        out.extend_from_slice(b"\",\"_id\":");
        self.id(received.identity, out);
        out.extend_from_slice(b"}}\n");
    }

    fn id(&mut self, identity: Identity<'_>, out: &mut Vec<u8>) {
        match identity {
            // At most 127 bytes.
            Identity::Client(id) => id.write_json(out),
            Identity::Own(id) => {
                self.scratch.clear();
                // Writing to a Vec does not fail.
                let _ = write!(self.scratch, "{id}");
                if self.scratch.len() > ID_BYTES {
                    out.extend_from_slice(b"\"sha256-");
                    for byte in Sha256::digest(&self.scratch) {
                        let _ = write!(out, "{byte:02x}");
                    }
                    out.push(b'"');
                } else {
                    Text::plain(&self.scratch).write_json(out);
                }
            }
        }
    }

    fn document(&mut self, received: &Received<'_>, moved: &Moved, out: &mut Vec<u8>) {
        let record = &received.record;
        out.extend_from_slice(b"{\"@timestamp\":\"");
        timestamp::write_rfc3339(received.time, out);
        out.extend_from_slice(b"\",\"metric\":");
        record.kind.text().write_json(out);
        out.extend_from_slice(b",\"name\":");
        record.name.write_json(out);
        let mut extra = Extra::default();
        self.value(record, moved, &mut extra, out);
        self.tags(record, moved, &mut extra, out);
        host(received.host, out);
        if let Some(app_name) = &self.layout.app_name {
            text("app_name", Text::plain(app_name.as_bytes()), out);
        }
        if record.rate != 1.0 {
            Number::Float(record.rate).write(key("rate", out));
        }
        if record.delta {
            key("delta", out).extend_from_slice(b"true");
        }
        let texts = [
            ("container_id", record.container_id),
            ("external_data", record.external_data),
            ("cardinality", record.cardinality),
            ("priority", record.priority),
            ("alert_type", record.alert_type),
            ("aggregation_key", record.aggregation_key),
            ("source_type_name", record.source_type_name),
            ("message", record.message),
        ];
        for (name, sent) in texts.into_iter().filter_map(|(name, sent)| Some((name, sent?))) {
            text(name, sent, out);
        }
        if record.fields.is_some() || matches!(record.value, Value::Object(_)) {
            for member in member::unpack(record) {
                if moved.has(&member.name) || !member::is_indexable(&member.name) {
                    json::write_raw(member.value, extra.key(&member.name));
                } else {
                    json::write_raw(member.value, key(&member.name, out));
                }
            }
        }
        extra.close(out);
        out.extend_from_slice(b"}\n");
    }

    /// Kaneda's `value`, and in `text` what is no number. A list is in `text` alone: a field that holds a number has no
    /// place for lists of lists, nor for objects.
    fn value(&mut self, record: &Record<'_>, moved: &Moved, extra: &mut Extra, out: &mut Vec<u8>) {
        match record.value {
            Value::Object(_) => return,
            Value::List(_) => {}
            _ if moved.has("value") => record.value.write_json(extra.key("value")),
            _ => record.value.write_json(key("value", out)),
        }
        match record.value {
            Value::Text(sent) => text("text", sent, out),
            Value::Bool(..) | Value::List(_) => {
                self.scratch.clear();
                record.value.write_json(&mut self.scratch);
                text("text", Text::plain(&self.scratch), out);
            }
            Value::Number(..) | Value::Null(_) | Value::Object(_) => {}
        }
    }

    /// `tags` is always a list of texts, so that one query finds both: a member of an object is `name:value`. The
    /// object itself is in `labels`.
    fn tags(&mut self, record: &Record<'_>, moved: &Moved, extra: &mut Extra, out: &mut Vec<u8>) {
        match record.tags {
            Tags::None => {}
            Tags::List(_) | Tags::JsonList(_) => record.tags.write_json(key("tags", out)),
            Tags::Object(object) => {
                key("tags", out).push(b'[');
                for (index, (name, value)) in record.tags.members().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.scratch.clear();
                    name.write(&mut self.scratch);
                    self.scratch.push(b':');
                    match value {
                        [b'"', ..] => json::string(value).write(&mut self.scratch),
                        _ => json::write_raw(value, &mut self.scratch),
                    }
                    Text::plain(&self.scratch).write_json(out);
                }
                out.push(b']');
                let labels = if moved.has("labels") { extra.key("labels") } else { key("labels", out) };
                json::write_raw(object, labels);
            }
        }
    }
}

/// What goes to `extra`: an object whose JSON is one text there.
#[derive(Default)]
struct Extra(Vec<u8>);

impl Extra {
    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'{');
            Text::plain(name.as_bytes()).write_json(&mut self.0);
            self.0.push(b':');
            return &mut self.0;
        }
        key(name, &mut self.0)
    }

    fn close(mut self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            self.0.push(b'}');
            let out = key("extra", out);
            out.push(b'"');
            escape::write_escaped(&self.0, out);
            out.push(b'"');
        }
    }
}

fn host(host: Host<'_>, out: &mut Vec<u8>) {
    match host {
        Host::Sent(sent) => text("host", sent, out),
        Host::Named(name) => text("host", Text::plain(name.as_bytes()), out),
        Host::Peer(address) => {
            // Writing to a Vec does not fail.
            let _ = write!(key("host", out), "\"{address}\"");
        }
    }
}

/// Writes the name of a member that is not the first; the caller writes the value behind it.
fn key<'o>(name: &str, out: &'o mut Vec<u8>) -> &'o mut Vec<u8> {
    out.push(b',');
    Text::plain(name.as_bytes()).write_json(out);
    out.push(b':');
    out
}

fn text(name: &str, text: Text<'_>, out: &mut Vec<u8>) {
    text.write_json(key(name, out));
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
