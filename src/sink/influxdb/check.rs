//! What holds for any bytes at all: whatever a report says, its line is one point and says the same.
//!
//! The reader here is written after the one of InfluxDB 1.6.7 (`models/points.go`), its two views of a backslash
//! included: where a line ends it skips the byte behind a backslash, where a tag ends it looks at the byte before.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde_json::value::RawValue;

use super::encode::Encoder;
use super::escape;
use crate::record::{
    Host, Identity, Kind, LineId, Number, OwnId, Received, Record, Tags, Text, Timestamp, Value,
};

/// A point as the server reads it.
#[derive(Debug, Default, PartialEq)]
struct Point {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, Field)>,
    time: i64,
}

#[derive(Debug, PartialEq)]
enum Field {
    Text(String),
    Float(f64),
    Integer(i64),
    Bool(bool),
}

/// Makes records of `bytes`, cut at each 0xFF, and panics if one of their lines does not read back as it.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0xff).collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let [kind, name, text, tags, host] = [0, 1, 2, 3, 4].map(part);
    let kind = if kind.is_empty() { &b"custom"[..] } else { kind };
    let members: Vec<(String, serde_json::Value)> = parts
        .chunks(2)
        .skip(3)
        .map(|pair| {
            let value = pair.get(1).copied().unwrap_or_default();
            let text = || serde_json::Value::from(String::from_utf8_lossy(value));
            let json = serde_json::from_slice(value).unwrap_or_else(|_| text());
            (String::from_utf8_lossy(pair[0]).into_owned(), json)
        })
        .collect();
    let object = serde_json::to_vec(&serde_json::Map::from_iter(members.clone())).unwrap_or_default();

    let mut plain =
        Record::new(Kind::Custom(Text::plain(kind)), Text::plain(name), Value::Text(Text::plain(text)));
    plain.tags = if tags.is_empty() { Tags::None } else { Tags::List(tags) };
    let mut unpacked = Record::new(Kind::Gauge, Text::plain(name), Value::Object(&object));
    unpacked.tags = if members.is_empty() { Tags::None } else { Tags::Object(&object) };
    unpacked.timestamp = Some(Timestamp { nanos: 1, digits: 9 });
    let number = Record::new(Kind::Counter, Text::plain(name), Value::Number(Number::Int(7), b"7"));

    let mut body = Vec::new();
    for record in [plain, unpacked, number] {
        let identity = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
        let received = Received {
            record,
            identity,
            time: 1,
            host: Host::Sent(Text::plain(host)),
            position: 0,
            source: "",
        };
        Encoder { integers: true }.encode(&received, &mut body);
    }
    let points = read(&body);
    assert_eq!(points.len(), 3, "a line is a point");
    for point in &points {
        let said = ("name".to_owned(), Field::Text(lossy(name)));
        assert_eq!(point.fields.first(), Some(&said), "the name is as sent");
        assert_eq!(point.time, 1, "nothing comes between fields and time");
        let keys: HashSet<&str> = point.fields.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), point.fields.len(), "no field hides another");
        assert!(point.tags.is_sorted_by(|(a, _), (b, _)| a < b), "tags are in order and differ");
        let stored = escape::tag(Cow::Owned(lossy(host)));
        let tag = point.tags.iter().find(|(key, _)| key == "host").map_or("", |(_, value)| value);
        assert_eq!(tag, stored, "nobody sets the host but its sender");
    }
    assert_eq!(points[0].measurement, escape::measurement(Cow::Owned(lossy(kind))));
    let key = if lossy(kind) == "event" { "value" } else { "text" };
    assert_eq!(points[0].fields[1..], [(key.to_owned(), Field::Text(lossy(text)))]);
    assert_eq!(points[1].measurement, "gauge");
    check_members(&object, &points[1].fields[1..]);
    assert_eq!(
        (points[2].measurement.as_str(), points[2].tags.len()),
        ("counter", usize::from(!host.is_empty()))
    );
    assert_eq!(points[2].fields[1..], [("value".to_owned(), Field::Integer(7))]);
}

/// Every member that is not null is a field, in their order.
fn check_members(object: &[u8], fields: &[(String, Field)]) {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(object).unwrap_or_default();
    let stored: Vec<_> = members.values().map(|value| value.get()).filter(|value| *value != "null").collect();
    assert_eq!(stored.len(), fields.len(), "every member is a field");
    for (value, (_, field)) in stored.into_iter().zip(fields) {
        let sent: serde_json::Value = serde_json::from_str(value).unwrap_or_default();
        let same = match (&sent, field) {
            (serde_json::Value::String(sent), Field::Text(text)) => sent == text,
            (serde_json::Value::Bool(sent), Field::Bool(bool)) => sent == bool,
            // Not by `sent`, in which it is rounded twice.
            (serde_json::Value::Number(_), Field::Float(float)) => value.parse() == Ok(*float),
            (nested, Field::Text(text)) => {
                serde_json::from_str::<serde_json::Value>(text).ok().as_ref() == Some(nested)
            }
            _ => false,
        };
        assert!(same, "{value} is stored as {field:?}");
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a body as the server does.
fn read(body: &[u8]) -> Vec<Point> {
    let mut rest = body;
    let mut points = Vec::new();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_length(rest));
        rest = after.strip_prefix(b"\n").unwrap_or(after);
        assert!(!line.starts_with(b"#"), "a comment is no point");
        assert!(
            !matches!(line.first(), None | Some(b' ' | b'\t' | 0)),
            "what is skipped is not a measurement"
        );
        points.push(point(line));
    }
    points
}

/// Up to the first line feed that is not in quotes. Only among fields a quote is one, behind a `=`.
fn line_length(bytes: &[u8]) -> usize {
    let (mut at, mut quoted, mut fields, mut equals, mut commas) = (0, false, false, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if at + 2 < bytes.len() => at += 1,
            b'\n' if !quoted => break,
            b' ' => fields = true,
            b'=' if fields && !quoted => equals += 1,
            b',' if fields && !quoted => commas += 1,
            b'"' if fields && equals > commas => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    at
}

fn point(line: &[u8]) -> Point {
    let (measurement, mut rest) = until(line, b", ");
    let mut point = Point { measurement: unescaped(measurement, b",= \""), ..Point::default() };
    while let Some(tag) = rest.strip_prefix(b",") {
        let (key, after) = until(tag, b"= ,");
        let value = after.strip_prefix(b"=").expect("a tag has a value");
        let (value, after) = until(value, b", =");
        assert!(!key.is_empty() && !value.is_empty() && !after.starts_with(b"="), "a tag is whole");
        point.tags.push((unescaped(key, b",= "), unescaped(value, b",= ")));
        rest = after;
    }
    loop {
        let (key, after) = field_key(&rest[1..]);
        let (value, after) = field(after.strip_prefix(b"=").expect("a field has a value"));
        point.fields.push((unescaped(key, b",= \""), value));
        rest = after;
        if !rest.starts_with(b",") {
            break;
        }
    }
    let time = rest.strip_prefix(b" ").expect("a space before the time");
    point.time = str::from_utf8(time).ok().and_then(|time| time.parse().ok()).expect("a time");
    point
}

/// Up to the first of `ends` without a backslash before it.
fn until<'a>(bytes: &'a [u8], ends: &[u8]) -> (&'a [u8], &'a [u8]) {
    let ends = |at: &usize| ends.contains(&bytes[*at]) && (*at == 0 || bytes[*at - 1] != b'\\');
    bytes.split_at((0..bytes.len()).find(ends).unwrap_or(bytes.len()))
}

/// Up to the first `=` that no backslash skips.
fn field_key(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'=' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.split_at(at.min(bytes.len()))
}

fn field(bytes: &[u8]) -> (Field, &[u8]) {
    if let Some(text) = bytes.strip_prefix(b"\"") {
        let mut at = 0;
        while text[at] != b'"' {
            at += if text[at] == b'\\' { 2 } else { 1 };
        }
        return (Field::Text(unescaped(&text[..at], b"\"\\")), &text[at + 1..]);
    }
    let (raw, after) = until(bytes, b", ");
    let raw = str::from_utf8(raw).expect("ASCII");
    let field = match raw {
        "true" => Field::Bool(true),
        "false" => Field::Bool(false),
        _ => match raw.strip_suffix('i') {
            Some(integer) => Field::Integer(integer.parse().expect("an integer")),
            None => Field::Float(raw.parse().expect("a float")),
        },
    };
    (field, after)
}

/// Without the backslashes before one of `escaped`.
fn unescaped(bytes: &[u8], escaped: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let escape = first == b'\\' && after.first().is_some_and(|next| escaped.contains(next));
        text.push(if escape { after[0] } else { first });
        rest = if escape { &after[1..] } else { after };
    }
    lossy(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reader_reads_what_the_server_reads() {
        let points = read(b"m\\,1,t\\=a=b\\ c,u=\\x x=\"q\\\"\n\\\\\",y=1i,z=-2.5e3,b=true 9\nn a=1 10\n");
        assert_eq!(points.len(), 2);
        assert_eq!(points[0].measurement, "m,1");
        assert_eq!(points[0].tags, [("t=a".into(), "b c".into()), ("u".into(), "\\x".into())]);
        assert_eq!(points[0].fields[0], ("x".into(), Field::Text("q\"\n\\".into())));
        assert_eq!(points[0].fields[2], ("z".into(), Field::Float(-2500.0)));
        assert_eq!(points[1].time, 10);
    }

    #[test]
    fn a_number_with_more_digits_than_it_can_hold_is_the_nearest() {
        check(b"\xff\xff\xff\xff\xff\xff\xff\xfff\xef\xff99999999999999499999999999999999999999\xff");
    }

    #[test]
    fn a_newline_in_a_tag_forges_no_point() {
        check(b"m\nforged v=1 1\xffn\xfft\xfftag:a\nforged v=1 1\xffh\nforged v=1 1");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_out_of_their_place(bytes: Vec<u8>) {
            check(&bytes);
        }

        #[test]
        fn no_mix_of_special_characters_breaks_out(
            parts in proptest::collection::vec("[\\\\,= \n\r\t\0\"#:a1{}\\[\\]_é]{0,8}", 5..20)
        ) {
            check(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>().join(&0xff));
        }
    }
}
