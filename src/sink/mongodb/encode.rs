//! From a record to a document. `docs/mongodb.md` describes it.

use std::io::Write;

use super::bson::Open;
use super::name;
use crate::record::member::{self, Member};
use crate::record::{Host, Identity, Number, Received, Tags, Text, Value, json};
use crate::sink::Rejection;

/// The nanoseconds since 1970, where `timestamp`, which has milliseconds, does not say all.
pub(super) const TIMESTAMP_NS: &str = "timestamp_ns";
/// Levels of objects and arrays in a document that MongoDB promises to take: its documented limit.
const MAX_DEPTH: u32 = 100;
/// Bytes of a document, for every server there is.
pub(super) const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// Appends the document of `received`; or nothing, and says why MongoDB would not take it.
pub(super) fn encode(received: &Received<'_>, out: &mut Vec<u8>) -> Result<(), Rejection> {
    let start = out.len();
    let mut document = Open::document(out);
    let deep = fill(&mut document, received).err();
    document.close();
    let size = out.len() - start;
    let rejection = match deep {
        Some(TooDeep) => Rejection {
            reason: "too_deep",
            detail: format!("more than {MAX_DEPTH} levels of objects and lists"),
        },
        None if size > MAX_DOCUMENT => Rejection {
            reason: "too_large",
            detail: format!("a document of {size} bytes; MongoDB takes {MAX_DOCUMENT}"),
        },
        None => return Ok(()),
    };
    out.truncate(start);
    Err(rejection)
}

/// Writes `_id` into `document`: the id of the record.
pub(super) fn write_id(document: &mut Open<'_>, identity: &Identity<'_>) {
    document.string("_id", |out| match identity {
        Identity::Client(id) => id.write(out),
        // Writing to a Vec does not fail.
        Identity::Own(id) => drop(write!(out, "{id}")),
    });
}

/// A value has more levels than a document may have.
#[derive(Debug)]
struct TooDeep;

fn fill(document: &mut Open<'_>, received: &Received<'_>) -> Result<(), TooDeep> {
    let record = &received.record;
    write_id(document, &received.identity);
    document.text("metric", record.kind.text());
    document.text("name", record.name);
    write_value(document, &record.value)?;
    if record.rate != 1.0 {
        document.number("rate", Number::Float(record.rate));
    }
    write_tags(document, &record.tags)?;
    document.date("timestamp", received.time.div_euclid(1_000_000));
    if received.time.rem_euclid(1_000_000) != 0 {
        document.int_64(TIMESTAMP_NS, received.time);
    }
    match received.host {
        Host::Sent(host) => document.text("host", host),
        Host::Named(host) => document.text("host", Text::plain(host.as_bytes())),
        Host::Peer(address) => document.string("host", |out| drop(write!(out, "{address}"))),
    }
    if record.delta {
        document.bool("delta", true);
    }
    for (key, text) in [
        ("container_id", record.container_id),
        ("external_data", record.external_data),
        ("cardinality", record.cardinality),
        ("priority", record.priority),
        ("alert_type", record.alert_type),
        ("aggregation_key", record.aggregation_key),
        ("source_type_name", record.source_type_name),
        ("message", record.message),
    ] {
        if let Some(text) = text {
            document.text(key, text);
        }
    }
    if record.fields.is_some() || matches!(record.value, Value::Object(_)) {
        let members = member::unpack(record, |name| name == TIMESTAMP_NS);
        write_members(document, members.into_iter(), 0)?;
    }
    Ok(())
}

fn write_value(document: &mut Open<'_>, value: &Value<'_>) -> Result<(), TooDeep> {
    match *value {
        Value::Number(number, _) => document.number("value", number),
        Value::Text(text) => document.text("value", text),
        Value::Bool(bool, _) => document.bool("value", bool),
        Value::Null(_) => document.null("value"),
        Value::List(list) => write_json(document, "value", list, 0)?,
        // Unpacked into the document.
        Value::Object(_) => {}
    }
    Ok(())
}

fn write_tags(document: &mut Open<'_>, tags: &Tags<'_>) -> Result<(), TooDeep> {
    match *tags {
        Tags::None => {}
        Tags::Object(object) => write_json(document, "tags", object, 0)?,
        Tags::List(_) | Tags::JsonList(_) => {
            let mut array = document.open_array("tags");
            for tag in tags.list() {
                let mut digits = [0; 10];
                let key = array.next_key(&mut digits);
                array.text(key, tag);
            }
            array.close();
        }
    }
    Ok(())
}

fn write_members<'a>(
    document: &mut Open<'_>,
    members: impl Iterator<Item = Member<'a>>,
    depth: u32,
) -> Result<(), TooDeep> {
    for member in name::distinct(members) {
        write_json(document, &member.name, member.value, depth)?;
    }
    Ok(())
}

/// Writes a valid JSON value that has `depth` objects and arrays around it in the document.
fn write_json(document: &mut Open<'_>, key: &str, value: &[u8], depth: u32) -> Result<(), TooDeep> {
    let depth = depth + 1;
    match value.first() {
        Some(b'{' | b'[') if depth > MAX_DEPTH => return Err(TooDeep),
        Some(b'{') => {
            let mut object = document.open_document(key);
            let members = json::members(value).map(|(name, value)| Member { name: name.decode(), value });
            write_members(&mut object, members, depth)?;
            object.close();
        }
        Some(b'[') => {
            let mut array = document.open_array(key);
            for element in json::elements(value) {
                let mut digits = [0; 10];
                let key = array.next_key(&mut digits);
                write_json(&mut array, key, element, depth)?;
            }
            array.close();
        }
        Some(b'"') => document.text(key, json::string(value)),
        Some(b't') => document.bool(key, true),
        Some(b'f') => document.bool(key, false),
        Some(b'-' | b'0'..=b'9') => document.number(key, number(value)),
        _ => document.null(key),
    }
    Ok(())
}

/// An integer of 64 bits where it is written as one, else the nearest double.
fn number(json: &[u8]) -> Number {
    let integer = str::from_utf8(json).ok().and_then(|text| text.parse().ok());
    integer.map_or_else(|| Number::Float(fast_float2::parse(json).unwrap_or_default()), Number::Int)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, DateTime, Document, doc};

    use super::*;
    use crate::record::{ChunkId, Form, Kind, LineId, OwnId, Record};

    fn encoded(record: Record<'_>, time: i64) -> Result<Document, Rejection> {
        let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 2 });
        let identity = record.id.map_or(own, Identity::Client);
        let received = Received { record, identity, time, host: Host::Named("h"), position: 0, source: "s" };
        let mut out = b"before".to_vec();
        let result = encode(&received, &mut out);
        assert_eq!(result.is_err(), out == b"before");
        result.map(|()| Document::from_reader(&out[6..]).unwrap())
    }

    fn of_value(value: Value<'_>) -> Document {
        encoded(Record::new(Kind::Event, Text::plain(b"n"), value), 0).unwrap()
    }

    /// The members of an object value, as they are stored.
    fn unpacked(object: &str) -> Document {
        let mut document = of_value(Value::Object(object.as_bytes()));
        for key in ["_id", "metric", "name", "timestamp", "host"] {
            assert!(document.remove(key).is_some(), "{key}");
        }
        document
    }

    #[test]
    fn every_member_has_its_place() {
        let mut record =
            Record::new(Kind::Custom(Text::plain(b"m\0")), Text::plain(b"\xff"), Value::Null(b"null"));
        record.rate = 0.25;
        record.tags = Tags::JsonList(br#"["a\u0000", "b"]"#);
        record.delta = true;
        record.id = Some(Text { raw: br"\u0041", form: Form::Json });
        record.container_id = Some(Text::plain(b"c"));
        record.message = Some(Text { raw: br"a\nb", form: Form::Message });
        let expected = doc! {
            "_id": "A", "metric": "m\0", "name": "\u{fffd}", "value": null, "rate": 0.25, "tags": ["a\0", "b"],
            "timestamp": DateTime::from_millis(1), "timestamp_ns": 1_999_999_i64, "host": "h", "delta": true,
            "container_id": "c", "message": "a\nb",
        };
        assert_eq!(encoded(record, 1_999_999), Ok(expected));
    }

    #[test]
    fn ids_of_ours_are_spelt_as_everywhere() {
        assert_eq!(of_value(Value::Null(b"null")).get_str("_id").unwrap(), "o-2");
        let chunk = ChunkId::new();
        let mut out = Vec::new();
        let mut document = Open::document(&mut out);
        write_id(&mut document, &Identity::Own(OwnId { line: LineId::Place(chunk, 7), index: 0 }));
        document.close();
        assert_eq!(Document::from_reader(&out[..]).unwrap(), doc! {"_id": format!("{chunk}-7")});
    }

    #[test]
    fn a_time_before_1970_is_rounded_down_and_whole_milliseconds_say_all() {
        let time = |nanos| {
            let document =
                encoded(Record::new(Kind::Gauge, Text::plain(b"n"), Value::Null(b"null")), nanos).unwrap();
            let millis = document.get_datetime("timestamp").unwrap().timestamp_millis();
            (millis, document.get(TIMESTAMP_NS).cloned())
        };
        assert_eq!(time(5_000_000), (5, None));
        assert_eq!(time(-1), (-1, Some(Bson::Int64(-1))));
        assert_eq!(time(i64::MAX), (9_223_372_036_854, Some(Bson::Int64(i64::MAX))));
    }

    #[test]
    fn json_keeps_its_types() {
        assert_eq!(
            unpacked(
                r#"{"i":1,"l":-9223372036854775808,"u":9223372036854775808,"d":1.0,"e":1e2,"z":-0.0,"t":true,"f":false,
                    "n":null,"s":"\ud83d\ude00","o":{"a":[{}, [1 ,"x"]]}}"#
            ),
            doc! {
                "i": 1, "l": i64::MIN, "u": 9_223_372_036_854_775_808.0, "d": 1.0, "e": 100.0, "z": -0.0, "t": true, "f": false,
                "n": null, "s": "😀", "o": {"a": [{}, [1, "x"]]},
            }
        );
        assert_eq!(
            of_value(Value::List(b"[1,[]]")).get_array("value").unwrap(),
            &[1.into(), Bson::Array(vec![])]
        );
    }

    #[test]
    fn a_reserved_name_is_moved_only_beside_the_documents_own() {
        assert_eq!(
            unpacked(r#"{"_id":1,"timestamp_ns":2,"in":{"_id":3,"timestamp_ns":4}}"#),
            doc! {"_id_": 1, "timestamp_ns_": 2, "in": {"_id": 3, "timestamp_ns": 4}}
        );
    }

    #[test]
    fn names_that_mongodb_refuses_are_changed_at_every_level() {
        assert_eq!(
            unpacked(r#"{"$set":1,"a.b":2,"":3,"\u0000":4,"in":[{"$x":5,"a":6,"a":7}]}"#),
            doc! {"_$set": 1, "a.b": 2, "": 3, "␀": 4, "in": [{"_$x": 5, "a": 7}]}
        );
        let mut record = Record::new(Kind::Set, Text::plain(b"n"), Value::Null(b"null"));
        record.tags = Tags::Object(br#"{"$t":1,"\u0000":null}"#);
        assert_eq!(encoded(record, 0).unwrap().get_document("tags").unwrap(), &doc! {"_$t": 1, "␀": null});
    }

    #[test]
    fn more_than_a_hundred_levels_are_rejected() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let (most, more) = (nested(100), nested(101));
        let record = |list| Record::new(Kind::Set, Text::plain(b"n"), Value::List(list));
        encoded(record(most.as_bytes()), 0).unwrap();
        assert_eq!(encoded(record(more.as_bytes()), 0).unwrap_err().reason, "too_deep");
    }

    #[test]
    fn more_than_sixteen_mebibytes_are_rejected() {
        let record = |text| Record::new(Kind::Set, Text::plain(b"n"), Value::Text(Text::plain(text)));
        let text = vec![b'x'; MAX_DOCUMENT];
        let overhead = {
            let document = encoded(record(b""), 0).unwrap();
            mongodb::bson::serialize_to_vec(&document).unwrap().len()
        };
        encoded(record(&text[overhead..]), 0).unwrap();
        assert_eq!(encoded(record(&text[overhead - 1..]), 0).unwrap_err().reason, "too_large");
    }
}
