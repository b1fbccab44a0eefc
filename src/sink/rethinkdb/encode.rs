//! From a record to the JSON of its document: pure. `docs/rethinkdb.md` shows what comes of it.

use std::fmt::Write;

use super::query::write_string;
use super::value::{self, Exact, Path};
use crate::record::{Host, Identity, LineId, Number, Received, Tags, Text, Value, json, member};

/// The time that a store of milliseconds cuts off, and the integers that a store of doubles rounds, as text.
const NANOSECONDS: &str = "timestamp_ns";
const EXACT: &str = "exact";

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Makes documents. It keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    id: String,
    exact: Exact,
}

impl Encoder {
    /// Appends the document of `received`.
    pub(super) fn encode(&mut self, received: &Received<'_>, out: &mut Vec<u8>) {
        let record = &received.record;
        out.extend_from_slice(b"{\"id\":");
        self.write_id(received.identity, out);
        write_time(received.time, out);
        text("metric", record.kind.text(), out);
        text("name", record.name, out);
        self.write_value(record.value, out);
        if record.rate != 1.0 {
            Number::Float(record.rate).write(key("rate", out));
        }
        match record.tags {
            Tags::None => {}
            Tags::Object(tags) => value::write(tags, &Path::of("tags"), &mut self.exact, key("tags", out)),
            Tags::List(_) | Tags::JsonList(_) => record.tags.write_json(key("tags", out)),
        }
        match received.host {
            Host::Sent(host) => text("host", host, out),
            Host::Named(host) => write_string(host, key("host", out)),
            Host::Peer(address) => write_string(&address.to_string(), key("host", out)),
        }
        self.write_rest(received, out);
        if !self.exact.is_empty() {
            let out = key(EXACT, out);
            for (index, (place, digits)) in self.exact.drain().enumerate() {
                out.push(if index == 0 { b'{' } else { b',' });
                write_string(&place, out);
                out.push(b':');
                write_string(&digits, out);
            }
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn write_id(&mut self, identity: Identity<'_>, out: &mut Vec<u8>) {
        match identity {
            Identity::Client(id) => id.write_json(out),
            Identity::Own(id) => {
                self.id.clear();
                // Writing to a String does not fail.
                let _ = write!(self.id, "{id}");
                match id.line {
                    // Nothing of it needs an escape.
                    LineId::Place(..) => {
                        out.push(b'"');
                        out.extend_from_slice(self.id.as_bytes());
                        out.push(b'"');
                    }
                    LineId::Origin(_) => write_string(&self.id, out),
                }
            }
        }
    }

    fn write_value(&mut self, value: Value<'_>, out: &mut Vec<u8>) {
        let path = Path::of("value");
        match value {
            Value::Object(_) => {}
            Value::Number(number, sent) => {
                self.exact.keep(&path, sent);
                number.write(key("value", out));
            }
            Value::Text(value) => text("value", value, out),
            Value::Bool(_, sent) | Value::Null(sent) => json::write_raw(sent, key("value", out)),
            Value::List(sent) => value::write(sent, &path, &mut self.exact, key("value", out)),
        }
    }

    /// The members that few records have.
    fn write_rest(&mut self, received: &Received<'_>, out: &mut Vec<u8>) {
        let record = &received.record;
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
        for (name, value) in texts {
            if let Some(value) = value {
                text(name, value, out);
            }
        }
        if record.fields.is_none() && !matches!(record.value, Value::Object(_)) {
            return;
        }
        for member in member::unpack(record, |name| matches!(name, NANOSECONDS | EXACT | value::TYPE)) {
            out.push(b',');
            write_string(&member.name, out);
            out.push(b':');
            value::write(member.value, &Path::of(&member.name), &mut self.exact, out);
        }
    }
}

/// Appends the time as ReQL has it, which is one of milliseconds, and beside it the nanoseconds that it lacks.
fn write_time(nanos: i64, out: &mut Vec<u8>) {
    let millis = nanos.div_euclid(NANOS_PER_MILLI);
    let digit = |unit| b'0' + (millis.rem_euclid(1000) / unit % 10) as u8;
    let time = key("timestamp", out);
    time.extend_from_slice(br#"{"$reql_type$":"TIME","epoch_time":"#);
    Number::Int(millis.div_euclid(1000)).write(time);
    time.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    time.extend_from_slice(br#","timezone":"+00:00"}"#);
    if nanos % NANOS_PER_MILLI != 0 {
        let text = key(NANOSECONDS, out);
        text.push(b'"');
        Number::Int(nanos).write(text);
        text.push(b'"');
    }
}

/// Appends the name of a further member, which needs no escape; its value is to be written behind it.
fn key<'a>(name: &'static str, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out
}

fn text(name: &'static str, text: Text<'_>, out: &mut Vec<u8>) {
    text.write_json(key(name, out));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::{Form, Kind, LineId, OwnId, Record};

    fn counter() -> Record<'static> {
        Record::new(Kind::Counter, Text::plain(b"login"), Value::Number(Number::Int(1), b"1"))
    }

    fn encoded(record: Record<'_>, identity: Identity<'_>, time: i64, host: Host<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        let received = Received { record, identity, time, host, position: 0, source: "" };
        Encoder::default().encode(&received, &mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn document(record: Record<'_>) -> serde_json::Value {
        let identity = Identity::Own(OwnId { line: LineId::Origin("o\"1"), index: 2 });
        encoded(record, identity, 1_700_000_000_123_000_000, Host::Named("web1"))
    }

    #[test]
    fn a_document_is_kanedas_with_the_metric_and_a_time_of_reql() {
        let mut record = counter();
        record.rate = 0.5;
        record.tags = Tags::List(b"a,b:c");
        assert_eq!(
            document(record),
            json!({
                "id": "o\"1-2",
                "timestamp": {"$reql_type$": "TIME", "epoch_time": 1_700_000_000.123, "timezone": "+00:00"},
                "metric": "counter", "name": "login", "value": 1, "rate": 0.5, "tags": ["a", "b:c"], "host": "web1",
            })
        );
    }

    #[test]
    fn nanoseconds_stand_beside_the_time_if_it_has_some() {
        let time = |nanos| {
            let id = Identity::Client(Text::plain(b"i"));
            let document = encoded(counter(), id, nanos, Host::Named(""));
            (document["timestamp"]["epoch_time"].clone(), document.get("timestamp_ns").cloned())
        };
        assert_eq!(time(1_700_000_000_007_000_000), (json!(1_700_000_000.007), None));
        assert_eq!(
            time(1_700_000_000_000_000_001),
            (json!(1_700_000_000.0), Some("1700000000000000001".into()))
        );
        assert_eq!(time(1), (json!(0.0), Some("1".into())));
        assert_eq!(time(i64::MAX), (json!(9_223_372_036.854), Some(i64::MAX.to_string().into())));
    }

    #[test]
    fn an_object_is_unpacked_and_takes_no_name_of_ours() {
        let mut record = counter();
        record.value = Value::Object(
            br#"{"took":1,"id":2,"timestamp_ns":3,"exact":4,"$reql_type$":"TIME","deep":{"$reql_type$":"BINARY"}}"#,
        );
        let document = document(record);
        for (name, value) in [
            ("took", json!(1)),
            ("id_", json!(2)),
            ("timestamp_ns_", json!(3)),
            ("exact_", json!(4)),
            ("$reql_type$_", json!("TIME")),
            ("deep", json!({"$reql_type$_": "BINARY"})),
        ] {
            assert_eq!(document[name], value, "{name}");
        }
        assert!(document.get("value").is_none());
    }

    #[test]
    fn what_a_double_rounds_stands_beside_it_exactly() {
        let mut record = counter();
        record.value = Value::Number(Number::Uint(u64::MAX), b"18446744073709551615");
        record.tags = Tags::Object(br#"{"order":9007199254740993,"$reql_type$":1}"#);
        let document = document(record);
        assert_eq!(
            document["exact"],
            json!({"/value": "18446744073709551615", "/tags/order": "9007199254740993"})
        );
        assert_eq!(document["tags"]["$reql_type$_"], 1);

        let mut record = counter();
        record.value = Value::List(b"[9007199254740993]");
        assert_eq!(self::document(record)["exact"], json!({"/value/0": "9007199254740993"}));
        assert!(self::document(counter()).get("exact").is_none());
    }

    #[test]
    fn all_that_was_sent_is_in_it_once() {
        let text = Text { raw: br"a\u0000", form: Form::Json };
        let mut record = counter();
        record.kind = Kind::Custom(text);
        record.value = Value::Null(b"null");
        record.delta = true;
        record.container_id = Some(text);
        record.external_data = Some(text);
        record.cardinality = Some(text);
        record.priority = Some(text);
        record.alert_type = Some(text);
        record.aggregation_key = Some(text);
        record.source_type_name = Some(text);
        record.message = Some(text);
        record.fields = Some(br#"{"more":[1]}"#);
        let document = encoded(record, Identity::Client(text), 1, Host::Peer([127, 0, 0, 1].into()));
        for name in [
            "id",
            "metric",
            "container_id",
            "external_data",
            "cardinality",
            "priority",
            "alert_type",
            "aggregation_key",
            "source_type_name",
            "message",
        ] {
            assert_eq!(document[name], "a\0", "{name}");
        }
        assert_eq!((&document["delta"], &document["more"]), (&json!(true), &json!([1])));
        assert_eq!((&document["host"], &document["value"]), (&json!("127.0.0.1"), &json!(null)));
    }
}
