//! What becomes of each kind of report.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::record::{Form, Kind, LineId, OwnId};
use crate::sink::elasticsearch::index::Window;

const NOON: i64 = 1_700_049_600_000_000_000;

fn layout() -> Layout {
    Layout { index: Index::Dated("kaneda".into(), Window::default()), app_name: None }
}

fn received(record: Record<'_>) -> Received<'_> {
    let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
    let identity = record.id.map_or(own, Identity::Client);
    Received { record, identity, time: NOON, host: Host::Named("h"), position: 0, source: "s" }
}

fn written(layout: &Layout, received: &Received<'_>, moved: &Moved) -> (String, serde_json::Value) {
    let mut writer = Writer { layout, namer: Namer::default(), scratch: Vec::new() };
    let mut out = Vec::new();
    writer.action(received, &mut out);
    writer.document(received, moved, &mut out);
    let text = String::from_utf8(out).unwrap();
    let (action, document) = text.strip_suffix('\n').unwrap().split_once('\n').unwrap();
    (action.to_owned(), serde_json::from_str(document).unwrap())
}

fn document(record: Record<'_>) -> serde_json::Value {
    written(&layout(), &received(record), &Moved::Nothing).1
}

fn record(value: Value<'_>) -> Record<'_> {
    Record::new(Kind::Gauge, Text::plain(b"n"), value)
}

/// The members that a value becomes.
fn value(value: Value<'_>) -> serde_json::Value {
    let mut document = document(record(value));
    for name in ["@timestamp", "metric", "name", "host"] {
        document.as_object_mut().unwrap().remove(name).expect(name);
    }
    document
}

#[test]
fn a_counter_is_kanedas_document() {
    let counter = Record::new(Kind::Counter, Text::plain(b"a\"b"), Value::Number(Number::Int(1), b"1"));
    let layout = Layout { app_name: Some("shop".into()), ..layout() };
    let (action, document) = written(&layout, &received(counter), &Moved::Nothing);
    assert_eq!(action, r#"{"create":{"_index":"kaneda-2023.11.15","_id":"o"}}"#);
    assert_eq!(
        document,
        json!({"@timestamp": "2023-11-15T12:00:00Z", "metric": "counter", "name": "a\"b", "value": 1,
               "host": "h", "app_name": "shop"})
    );
}

#[test]
fn a_clients_id_replaces_but_not_in_a_data_stream() {
    let mut record = record(Value::Null(b"null"));
    record.id = Some(Text { raw: br"a\u0022b", form: Form::Json });
    let (action, _) = written(&layout(), &received(record), &Moved::Nothing);
    assert_eq!(action, r#"{"index":{"_index":"kaneda-2023.11.15","_id":"a\u0022b"}}"#);
    let stream = Layout { index: Index::Stream("kaneda".into()), app_name: None };
    let (action, _) = written(&stream, &received(record), &Moved::Nothing);
    assert_eq!(action, r#"{"create":{"_index":"kaneda","_id":"a\u0022b"}}"#);
}

#[test]
fn an_id_that_is_too_long_for_the_store_is_hashed() {
    let id = |length: usize| {
        let origin = "\"".repeat(length);
        let mut received = received(record(Value::Null(b"null")));
        received.identity = Identity::Own(OwnId { line: LineId::Origin(&origin), index: 0 });
        let (action, _) = written(&layout(), &received, &Moved::Nothing);
        let action: serde_json::Value = serde_json::from_str(&action).unwrap();
        action["create"]["_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(512), "\"".repeat(512));
    // A fixture: a later version that hashes otherwise would store repeats twice.
    assert_eq!(id(513), "sha256-9caf4cdfb78fc65c21481548588ca7b579d294a870e1b500e1f642d1f9359b57");
}

#[test]
fn what_is_no_number_is_in_text_too_and_a_list_there_alone() {
    assert_eq!(value(Value::Number(Number::Uint(u64::MAX), b"")), json!({"value": u64::MAX}));
    assert_eq!(value(Value::Text(Text::plain(b"v\xff"))), json!({"value": "v\u{fffd}", "text": "v\u{fffd}"}));
    assert_eq!(value(Value::Bool(true, b"true")), json!({"value": true, "text": "true"}));
    assert_eq!(value(Value::Null(b"null")), json!({"value": null}));
    assert_eq!(value(Value::List(b"[1,[\"a\"]]")), json!({"text": r#"[1,["a"]]"#}));
}

#[test]
fn tags_are_a_list_however_they_were_sent_and_an_object_is_kept_beside() {
    let mut sent = record(Value::Null(b"null"));
    sent.tags = Tags::List(b"env:prod,canary");
    assert_eq!(document(sent)["tags"], json!(["env:prod", "canary"]));
    assert!(document(sent)["labels"].is_null());
    sent.tags = Tags::Object(br#"{"env":"prod","n":1.50,"a\"b":[1,"x"],"z":null}"#);
    let document = document(sent);
    assert_eq!(document["tags"], json!(["env:prod", "n:1.50", r#"a"b:[1,"x"]"#, "z:null"]));
    assert_eq!(document["labels"], json!({"env": "prod", "n": 1.5, "a\"b": [1, "x"], "z": null}));
}

#[test]
fn a_member_with_a_name_of_ours_or_of_the_store_gets_another() {
    let object = br#"{"name":1,"value":2,"text":3,"@timestamp":4,"extra":5,"_source":6,"_x":7,"labels":8}"#;
    assert_eq!(
        value(Value::Object(object)),
        json!({"name_": 1, "value_": 2, "text_": 3, "@timestamp_": 4, "extra_": 5, "_source_": 6, "_x": 7,
               "labels_": 8})
    );
}

#[test]
fn a_member_whose_name_cannot_be_indexed_is_in_extra() {
    let object = br#"{"":1,"a":2,".":[3],"b..c":"\"","d.e":5}"#;
    assert_eq!(
        value(Value::Object(object)),
        json!({"a": 2, "d.e": 5, "extra": r#"{"":1,".":[3],"b..c":"\""}"#})
    );
}

#[test]
fn what_the_store_has_refused_is_in_extra() {
    let object = record(Value::Object(br#"{"a":1,"b":{"c":2}}"#));
    let named = Moved::Named(BTreeSet::from(["b".to_owned()]));
    let (_, document) = written(&layout(), &received(object), &named);
    assert_eq!((&document["a"], &document["extra"]), (&json!(1), &json!(r#"{"b":{"c":2}}"#)));
    let mut text = record(Value::Text(Text::plain(b"v")));
    text.tags = Tags::Object(br#"{"x":1}"#);
    let (_, document) = written(&layout(), &received(text), &Moved::Everything);
    assert_eq!(document["extra"], json!(r#"{"value":"v","labels":{"x":1}}"#));
    assert_eq!((&document["text"], &document["tags"]), (&json!("v"), &json!(["x:1"])));
    assert!(document["value"].is_null() && document["labels"].is_null());
}

#[test]
fn what_was_sent_beside_the_value_is_stored_beside_it() {
    let mut sent = record(Value::Number(Number::Int(1), b"1"));
    sent.rate = 0.5;
    sent.delta = true;
    sent.host = Some(Text::plain(b"h2"));
    sent.container_id = Some(Text::plain(b"c"));
    sent.external_data = Some(Text::plain(b"e"));
    sent.cardinality = Some(Text::plain(b"low"));
    sent.priority = Some(Text::plain(b"p"));
    sent.alert_type = Some(Text::plain(b"t"));
    sent.aggregation_key = Some(Text::plain(b"k"));
    sent.source_type_name = Some(Text::plain(b"s"));
    sent.message = Some(Text::plain(b"m"));
    sent.fields = Some(br#"{"more":1}"#);
    let mut received = received(sent);
    received.host = Host::Sent(Text::plain(b"h2"));
    assert_eq!(
        written(&layout(), &received, &Moved::Nothing).1,
        json!({"@timestamp": "2023-11-15T12:00:00Z", "metric": "gauge", "name": "n", "value": 1, "host": "h2",
               "rate": 0.5, "delta": true, "container_id": "c", "external_data": "e", "cardinality": "low",
               "priority": "p", "alert_type": "t", "aggregation_key": "k", "source_type_name": "s",
               "message": "m", "more": 1})
    );
}
