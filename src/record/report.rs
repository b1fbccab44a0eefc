//! A record as a report in JSON that reads back as the same record, with all that is known of it: for replaying it.

use super::document::Object;
use super::{Host, Identity, Number, Received, Tags, Text, Value, json, timestamp};

/// Digits of a second that a time of ours has.
const DIGITS: u8 = 9;

/// Appends `received` as a line of `protocol.md`, section 5, without a line feed behind it.
///
/// It has `id`, `timestamp` and `host` as they are stored, so that whoever stores the line again stores the same
/// document; a client's timestamp has as many digits as were sent. Bytes that are not UTF-8 are U+FFFD, as every
/// store reads them. A number that JSON does not spell so (`+5`, `.5`) is written as it was understood.
pub fn write(received: &Received<'_>, out: &mut Vec<u8>) {
    write_as(received, true, out);
}

/// As [`write()`], but an id of ours is left out: for a line whose origin says it.
pub fn write_unnamed(received: &Received<'_>, out: &mut Vec<u8>) {
    write_as(received, false, out);
}

fn write_as(received: &Received<'_>, has_own_id: bool, out: &mut Vec<u8>) {
    let record = &received.record;
    let mut object = Object::open(out);
    object.text("metric", record.kind.text());
    object.text("name", record.name);
    match record.value {
        // Stores that keep the spelling get it again, where JSON has it.
        Value::Number(_, sent) if json::is_number(sent) => object.key("value").extend_from_slice(sent),
        value => value.write_json(object.key("value")),
    }
    if record.rate != 1.0 {
        Number::Float(record.rate).write(object.key("rate"));
    }
    if record.tags != Tags::None {
        record.tags.write_json(object.key("tags"));
    }
    let digits = record.timestamp.map_or(DIGITS, |sent| sent.digits);
    let time = object.key("timestamp");
    time.push(b'"');
    timestamp::write_digits(received.time, digits, time);
    time.push(b'"');
    match received.host {
        Host::Sent(text) => object.text("host", text),
        Host::Named(name) => object.text("host", Text::plain(name.as_bytes())),
        Host::Peer(address) => object.text("host", Text::plain(address.to_string().as_bytes())),
    }
    match received.identity {
        Identity::Client(id) => object.text("id", id),
        Identity::Own(id) if has_own_id => object.text("id", Text::plain(id.to_string().as_bytes())),
        Identity::Own(_) => {}
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
    for (name, text) in texts {
        object.optional(name, text);
    }
    match record.fields {
        Some(fields) => json::write_raw(fields, object.key("fields")),
        None if record.delta => object.key("fields").extend_from_slice(br#"{"delta":true}"#),
        None => {}
    }
    object.close();
}
