//! From a record to a line of line protocol: pure.
//!
//! The layout is Kaneda's, told in `docs/influxdb.md`: the measurement is the metric; `name` and `value`, or the
//! members of an object, are fields; tags and `host` are tags. A field of our own always has one type.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{escape, tag, time};
use crate::record::member::{self, Member};
use crate::record::{Identity, Number, Received, Record, Value, json};

/// Names that a member may not have, beside those that no document lets it have. `time` is ignored by the server.
const RESERVED: [&str; 3] = ["text", "float", "time"];

/// How records become lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoder {
    /// Whether an integer is stored as one; else every number is a float.
    pub(super) integers: bool,
}

impl Encoder {
    /// Appends the line of `received`, with its LF.
    pub(super) fn encode(self, received: &Received<'_>, out: &mut Vec<u8>) {
        let record = &received.record;
        escape::write_measurement(&escape::measurement(record.kind.text().decode()), out);
        tag::write(received, out);
        // The first field is one of ours: the server skips tabs and NULs before a client's.
        out.extend_from_slice(b" name=");
        escape::write_string(&record.name.decode(), out);
        self.value(record, out);
        if record.rate != 1.0 {
            field("rate", out);
            Number::Float(record.rate).write(out);
        }
        if record.delta {
            field("delta", out);
            out.extend_from_slice(b"true");
        }
        if let Identity::Client(id) = received.identity {
            string("id", &id.decode(), out);
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
        for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
            string(key, &text.decode(), out);
        }
        if record.fields.is_some() || matches!(record.value, Value::Object(_)) {
            members(record, out);
        }
        out.push(b' ');
        Number::Int(time::of(received)).write(out);
        out.push(b'\n');
    }

    /// The value: of an event always a text in `value`, else a number in `value` and what is no number in `text`.
    fn value(self, record: &Record<'_>, out: &mut Vec<u8>) {
        let is_event = record.kind.text().is("event");
        let text_key = if is_event { "value" } else { "text" };
        match record.value {
            Value::Null(_) | Value::Object(_) => {}
            Value::Text(text) => string(text_key, &text.decode(), out),
            Value::Number(number, _) if !is_event => self.number(number, out),
            Value::Number(..) | Value::Bool(..) | Value::List(_) => {
                let mut json = Vec::new();
                record.value.write_json(&mut json);
                string(text_key, &String::from_utf8_lossy(&json), out);
            }
        }
    }

    /// A number; with `integers` what is no integer goes to a field of its own, since a field has one type.
    fn number(self, number: Number, out: &mut Vec<u8>) {
        match number {
            Number::Int(_) if self.integers => {
                field("value", out);
                number.write(out);
                out.push(b'i');
            }
            _ => {
                field(if self.integers { "float" } else { "value" }, out);
                number.write(out);
            }
        }
    }
}

/// The members of an unpacked object: numbers are floats, and nested values their JSON. A null is not stored.
fn members(record: &Record<'_>, out: &mut Vec<u8>) {
    let members = member::unpack(record, |name| RESERVED.contains(&name));
    for (key, member) in keys(&members).iter().zip(&members) {
        match member.value {
            b"null" => {}
            [b'"', ..] => string(key, &json::string(member.value).decode(), out),
            b"true" | b"false" => {
                field(key, out);
                out.extend_from_slice(member.value);
            }
            [b'{' | b'[', ..] => {
                let mut json = Vec::new();
                json::write_raw(member.value, &mut json);
                string(key, &String::from_utf8_lossy(&json), out);
            }
            number => {
                field(key, out);
                float(number, out);
            }
        }
    }
}

/// The keys of members: their names, and where one cannot be stored, the nearest that is free.
fn keys<'m>(members: &'m [Member<'_>]) -> Vec<Cow<'m, str>> {
    let mut keys: Vec<Cow<'m, str>> = members.iter().map(|member| storable(&member.name)).collect();
    let changed = |index: usize, key: &str| members[index].name != key;
    let mut taken: HashSet<String> = HashSet::new();
    if keys.iter().enumerate().any(|(index, key)| changed(index, key)) {
        taken.extend(members.iter().map(|member| member.name.clone().into_owned()));
    }
    for (index, key) in keys.iter_mut().enumerate() {
        while changed(index, key) && !taken.insert(key.to_string()) {
            key.to_mut().push('_');
        }
    }
    keys
}

fn storable(name: &str) -> Cow<'_, str> {
    if name.is_empty() { Cow::Borrowed("_") } else { escape::field_key(Cow::Borrowed(name)) }
}

/// A valid JSON number, in the spelling that the server reads.
fn float(json: &[u8], out: &mut Vec<u8>) {
    let number = str::from_utf8(json).ok().and_then(|text| text.parse::<f64>().ok());
    // The parser has refused what is not finite; 0 would be a lie, but so would a line that is none.
    Number::Float(number.unwrap_or_default()).write(out);
}

fn field(key: &str, out: &mut Vec<u8>) {
    out.push(b',');
    escape::write_key(key, out);
    out.push(b'=');
}

fn string(key: &str, text: &str, out: &mut Vec<u8>) {
    field(key, out);
    escape::write_string(text, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Form, Host, Kind, LineId, OwnId, Tags, Text};

    fn written(record: Record<'_>, integers: bool) -> String {
        let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
        let identity = record.id.map_or(own, Identity::Client);
        let received =
            Received { record, identity, time: 17, host: Host::Named("h"), position: 0, source: "s" };
        let mut out = Vec::new();
        Encoder { integers }.encode(&received, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn record<'a>(kind: Kind<'a>, value: Value<'a>) -> Record<'a> {
        Record::new(kind, Text::plain(b"n"), value)
    }

    fn value(kind: Kind<'_>, value: Value<'_>, integers: bool) -> String {
        let line = written(record(kind, value), integers);
        let from = line.find(" name=\"n\"").unwrap() + 9;
        line[from..].strip_suffix(" 17\n").unwrap().to_owned()
    }

    #[test]
    fn a_counter_is_kanedas_point() {
        let mut counter = record(Kind::Counter, Value::Number(Number::Int(1), b"1"));
        counter.tags = Tags::List(b"from:login");
        assert_eq!(written(counter, false), "counter,from=login,host=h name=\"n\",value=1 17\n");
    }

    #[test]
    fn an_event_is_always_a_text() {
        let event = |what| value(Kind::Event, what, true);
        assert_eq!(
            event(Value::Text(Text { raw: br#"a\nb"\\"#, form: Form::Event })),
            ",value=\"a\nb\\\"\\\\\""
        );
        assert_eq!(event(Value::Number(Number::Int(1), b"1")), ",value=\"1\"");
        assert_eq!(event(Value::Bool(true, b"true")), ",value=\"true\"");
        let named = Kind::Custom(Text::plain(b"event"));
        assert_eq!(value(named, Value::Number(Number::Int(1), b"1"), false), ",value=\"1\"");
    }

    #[test]
    fn a_number_is_a_float_and_what_is_none_is_a_text() {
        let gauge = |what| value(Kind::Gauge, what, false);
        assert_eq!(gauge(Value::Number(Number::Int(-3), b"-3")), ",value=-3");
        assert_eq!(gauge(Value::Number(Number::Uint(u64::MAX), b"")), ",value=18446744073709551615");
        assert_eq!(gauge(Value::Number(Number::Float(0.5), b"0.5")), ",value=0.5");
        assert_eq!(gauge(Value::Text(Text::plain(b"12"))), ",text=\"12\"");
        assert_eq!(gauge(Value::Bool(false, b"false")), ",text=\"false\"");
        assert_eq!(gauge(Value::List(b"[1,\"a\"]")), r#",text="[1,\"a\"]""#);
        assert_eq!(gauge(Value::Null(b"null")), "");
    }

    #[test]
    fn with_integers_every_field_still_has_one_type() {
        let gauge = |what| value(Kind::Gauge, what, true);
        assert_eq!(gauge(Value::Number(Number::Int(-3), b"-3")), ",value=-3i");
        assert_eq!(gauge(Value::Number(Number::Uint(u64::MAX), b"")), ",float=18446744073709551615");
        assert_eq!(gauge(Value::Number(Number::Float(3.0), b"3.0")), ",float=3.0");
    }

    #[test]
    fn an_object_is_unpacked_and_its_nested_values_are_json() {
        let object = br#"{"a":1,"b":"x\"y","c":true,"d":null,"e":{"f":[1]},"g":[],"h":1E2}"#;
        assert_eq!(
            value(Kind::Custom(Text::plain(b"m")), Value::Object(object), true),
            r#",a=1.0,b="x\"y",c=true,e="{\"f\":[1]}",g="[]",h=100.0"#
        );
    }

    #[test]
    fn a_member_with_a_name_of_ours_is_moved() {
        let object = br#"{"name":1,"value":2,"text":3,"time":4,"float":5,"":6}"#;
        assert_eq!(
            value(Kind::Gauge, Value::Object(object), false),
            ",name_=1.0,value_=2.0,text_=3.0,time_=4.0,float_=5.0,_=6.0"
        );
    }

    #[test]
    fn members_whose_names_cannot_be_stored_never_share_a_field() {
        let object = br#"{"a\nb":1,"a b":2,"a b_":3,"c\\":4,"c/":5}"#;
        assert_eq!(
            value(Kind::Gauge, Value::Object(object), false),
            r",a\ b__=1.0,a\ b=2.0,a\ b_=3.0,c/_=4.0,c/=5.0"
        );
    }

    #[test]
    fn what_was_sent_beside_the_value_is_stored_beside_it() {
        let mut gauge = record(Kind::Gauge, Value::Number(Number::Int(1), b"1"));
        gauge.rate = 0.5;
        gauge.delta = true;
        gauge.id = Some(Text::plain(b"i"));
        gauge.container_id = Some(Text::plain(b"c"));
        gauge.external_data = Some(Text::plain(b"e"));
        gauge.cardinality = Some(Text::plain(b"low"));
        gauge.priority = Some(Text::plain(b"p"));
        gauge.alert_type = Some(Text::plain(b"t"));
        gauge.aggregation_key = Some(Text::plain(b"k"));
        gauge.source_type_name = Some(Text::plain(b"s"));
        gauge.message = Some(Text::plain(b"m"));
        gauge.fields = Some(br#"{"more":1}"#);
        assert_eq!(
            written(gauge, false),
            "gauge,host=h name=\"n\",value=1,rate=0.5,delta=true,id=\"i\",container_id=\"c\",\
             external_data=\"e\",cardinality=\"low\",priority=\"p\",alert_type=\"t\",aggregation_key=\"k\",\
             source_type_name=\"s\",message=\"m\",more=1.0 17\n"
        );
    }
}
