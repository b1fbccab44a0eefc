//! What holds for any report at all: its document is valid BSON, and says the same to MongoDB's own reader.

use std::collections::HashSet;

use mongodb::bson::{Bson, Document, RawDocument};
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::encode;
use crate::record::{
    Host, Identity, Kind, LineId, Number, OwnId, RESERVED, Received, Record, Tags, Text, Value,
};

fn encoded(record: Record<'_>, host: &[u8]) -> Vec<u8> {
    let identity = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
    let host = Host::Sent(Text::plain(host));
    let received = Received { record, identity, time: 1, host, position: 0, source: "" };
    let mut out = Vec::new();
    encode::encode(&received, &mut out).unwrap();
    out
}

/// Reads a document by MongoDB's own reader: no name is there twice, and none is one that it refuses.
fn read(bytes: &[u8]) -> Document {
    fn look(document: &RawDocument) {
        let mut names = HashSet::new();
        for element in document {
            let (name, value) = element.unwrap();
            let name = name.as_str();
            assert!(names.insert(name.to_owned()) && !name.starts_with('$'), "{name:?}");
            value.as_document().inspect(|inner| look(inner));
            if let Some(array) = value.as_array() {
                array.into_iter().filter_map(|element| element.unwrap().as_document()).for_each(look);
            }
        }
    }
    let raw = RawDocument::from_bytes(bytes).unwrap();
    look(raw);
    Document::try_from(raw).unwrap()
}

/// Whether `stored` says what `sent` said.
fn is_same(sent: &Json, stored: &Bson) -> bool {
    match (sent, stored) {
        (Json::Null, Bson::Null) => true,
        (Json::Bool(sent), Bson::Boolean(stored)) => sent == stored,
        (Json::String(sent), Bson::String(stored)) => sent == stored,
        (Json::Number(sent), Bson::Int32(stored)) => sent.as_i64() == Some(i64::from(*stored)),
        (Json::Number(sent), Bson::Int64(stored)) => sent.as_i64() == Some(*stored),
        (Json::Number(sent), Bson::Double(stored)) => {
            sent.as_i64().is_none() && sent.as_f64() == Some(*stored)
        }
        (Json::Array(sent), Bson::Array(stored)) => {
            sent.len() == stored.len() && sent.iter().zip(stored).all(|(sent, stored)| is_same(sent, stored))
        }
        (Json::Object(sent), Bson::Document(stored)) => {
            sent.len() == stored.len() && sent.iter().all(|(name, value)| has(stored, name, value))
        }
        _ => false,
    }
}

/// Whether `stored` has the member `name` that was sent: under its name, or under one that `docs/mongodb.md` makes of it.
fn has(stored: &Document, name: &str, value: &Json) -> bool {
    let mut name = name.replace('\0', "␀");
    if name.starts_with('$') {
        name.insert(0, '_');
    }
    // At most one `_` more for each neighbour.
    (0..=stored.len() + 2).any(|more| {
        stored.get(format!("{name}{}", "_".repeat(more))).is_some_and(|stored| is_same(value, stored))
    })
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Json::from),
        "[a$.\0é\"\\\\\n]{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            object(inner).prop_map(Json::Object),
        ]
    })
}

fn object(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Map<String, Json>> {
    let name = "[a$._\0␀]{0,3}|name|_id|timestamp_ns|delta";
    proptest::collection::vec((name, value), 0..6).prop_map(Map::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_out_of_their_place(
        kind in proptest::collection::vec(any::<u8>(), 1..20),
        name: Vec<u8>, value: Vec<u8>, host: Vec<u8>,
        tags in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        let lossy = |bytes: &[u8]| Bson::String(String::from_utf8_lossy(bytes).into_owned());
        let mut record = Record::new(Kind::Custom(Text::plain(&kind)), Text::plain(&name), Value::Text(Text::plain(&value)));
        record.tags = Tags::List(&tags);
        let mut document = read(&encoded(record, &host));
        for (key, bytes) in [("metric", &kind), ("name", &name), ("value", &value), ("host", &host)] {
            prop_assert_eq!(document.remove(key), Some(lossy(bytes)));
        }
        let tags: Vec<Bson> = tags.split(|byte| *byte == b',').filter(|tag| !tag.is_empty()).map(lossy).collect();
        prop_assert_eq!(document.remove("tags"), Some(Bson::Array(tags)));
        prop_assert!(document.keys().eq(["_id", "timestamp", "timestamp_ns"]));
    }

    #[test]
    fn any_json_is_stored_as_it_was_sent(object in object(json()), list in proptest::collection::vec(json(), 0..5)) {
        let text = serde_json::to_vec(&object).unwrap();
        let mut record = Record::new(Kind::Gauge, Text::plain(b"n"), Value::Object(&text));
        record.tags = if object.is_empty() { Tags::None } else { Tags::Object(&text) };
        let mut document = read(&encoded(record, b"h"));
        if !object.is_empty() {
            prop_assert!(is_same(&Json::Object(object.clone()), &document.remove("tags").unwrap()));
        }
        let own: Vec<Option<Bson>> = ["metric", "name", "timestamp", "timestamp_ns", "host", "_id"].map(|key| document.remove(key)).to_vec();
        prop_assert!(own.iter().all(Option::is_some));
        prop_assert_eq!(document.len(), object.len());
        prop_assert!(object.iter().all(|(name, value)| has(&document, name, value)), "{:?} {}", object, document);
        prop_assert!(document.keys().all(|name| !RESERVED.contains(&name.as_str())));

        let text = serde_json::to_vec(&list).unwrap();
        let document = read(&encoded(Record::new(Kind::Gauge, Text::plain(b"n"), Value::List(&text)), b"h"));
        prop_assert!(is_same(&Json::Array(list), document.get("value").unwrap()));
    }

    #[test]
    fn any_number_is_exact_or_the_nearest_double(int: i64, large in (i64::MAX as u64 + 1)..) {
        let value = |number| {
            let record = Record::new(Kind::Gauge, Text::plain(b"n"), Value::Number(number, b""));
            read(&encoded(record, b"h")).remove("value").unwrap()
        };
        prop_assert!(is_same(&Json::from(int), &value(Number::Int(int))));
        prop_assert_eq!(value(Number::Uint(large)), Bson::Double(large as f64));
    }
}
