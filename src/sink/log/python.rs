//! The lines of Kaneda's `LoggerBackend`: `%(asctime)s - %(name)s - %(message)s`, the message being the document as a
//! Python dict. `ast.literal_eval` reads it back.

use std::io::Write;

use crate::record::{Number, Record, Tags, Text, Value, document, json};

/// The logger's name in Kaneda.
const LOGGER: &str = "kaneda.backends.logger";

/// Appends the line of `record` without a line feed. The time is in UTC; Python would have said it in local time.
///
/// The members are those of Kaneda in its order: `host`, `name`, `value` or the unpacked members, `tags`, `metric`,
/// `_id`. What Kaneda does not know follows: `rate` and other members of the document.
pub(super) fn write(record: &Record<'_>, time: i64, host: Text<'_>, id: Text<'_>, out: &mut Vec<u8>) {
    write_time(time, out);
    out.extend_from_slice(b" - ");
    out.extend_from_slice(LOGGER.as_bytes());
    out.extend_from_slice(b" - {'host': ");
    write_text(host, out);
    out.extend_from_slice(b", 'name': ");
    write_text(record.name, out);
    let mut extra = Vec::new();
    document::write_extra(record, &mut extra);
    let is_unpacked = matches!(record.value, Value::Object(_));
    if is_unpacked {
        write_members(&extra, out);
    } else {
        out.extend_from_slice(b", 'value': ");
        write_value(&record.value, out);
    }
    match record.tags {
        Tags::None => {}
        Tags::Object(object) => {
            out.extend_from_slice(b", 'tags': ");
            write_json(object, out);
        }
        Tags::List(_) | Tags::JsonList(_) => {
            out.extend_from_slice(b", 'tags': [");
            for (index, tag) in record.tags.list().enumerate() {
                out.extend_from_slice(if index > 0 { b", " } else { b"" });
                write_text(tag, out);
            }
            out.push(b']');
        }
    }
    out.extend_from_slice(b", 'metric': ");
    write_text(record.kind.text(), out);
    out.extend_from_slice(b", '_id': ");
    write_text(id, out);
    if record.rate != 1.0 {
        out.extend_from_slice(b", 'rate': ");
        Number::Float(record.rate).write(out);
    }
    if !is_unpacked {
        write_members(&extra, out);
    }
    out.push(b'}');
}

/// As `logging.Formatter` prints it: `2026-11-22 19:46:40,123`.
fn write_time(nanos: i64, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail; the years of 64-bit nanoseconds are all within jiff's.
    if let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(nanos)) {
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        let _ = write!(
            out,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        );
    }
}

fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        // Python's integers have no end, and the nearest double is not what was sent.
        Value::Number(Number::Float(_), sent) if is_integer(sent) => out.extend_from_slice(sent),
        Value::Number(number, _) => number.write(out),
        Value::Text(text) => write_text(*text, out),
        Value::Bool(_, raw) | Value::Null(raw) | Value::List(raw) | Value::Object(raw) => {
            write_json(raw, out)
        }
    }
}

/// Whether digits are an integer as Python spells it.
fn is_integer(sent: &[u8]) -> bool {
    let digits = sent.strip_prefix(b"-").unwrap_or(sent);
    matches!(digits, [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit)
}

/// Appends the members of a JSON object behind others, each with a comma before it.
fn write_members(object: &[u8], out: &mut Vec<u8>) {
    for (name, value) in json::members(object) {
        out.extend_from_slice(b", ");
        write_text(name, out);
        out.extend_from_slice(b": ");
        write_json(value, out);
    }
}

/// Appends a valid JSON value as Python prints it. How deep it may go is limited by the protocol.
fn write_json(raw: &[u8], out: &mut Vec<u8>) {
    let raw = raw.trim_ascii();
    match raw.first() {
        Some(b'{') => {
            out.push(b'{');
            for (index, (name, value)) in json::members(raw).enumerate() {
                out.extend_from_slice(if index > 0 { b", " } else { b"" });
                write_text(name, out);
                out.extend_from_slice(b": ");
                write_json(value, out);
            }
            out.push(b'}');
        }
        Some(b'[') => {
            out.push(b'[');
            for (index, element) in json::elements(raw).enumerate() {
                out.extend_from_slice(if index > 0 { b", " } else { b"" });
                write_json(element, out);
            }
            out.push(b']');
        }
        Some(b'"') => write_text(json::string(raw), out),
        Some(b't') => out.extend_from_slice(b"True"),
        Some(b'f') => out.extend_from_slice(b"False"),
        Some(b'n') => out.extend_from_slice(b"None"),
        _ => out.extend_from_slice(raw),
    }
}

/// Appends a text as Python's `repr` prints it.
fn write_text(text: Text<'_>, out: &mut Vec<u8>) {
    let text = text.decode();
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote as u8);
    for char in text.chars() {
        // Writing to a Vec does not fail.
        let _ = match char {
            '\\' => out.write_all(b"\\\\"),
            '\n' => out.write_all(b"\\n"),
            '\r' => out.write_all(b"\\r"),
            '\t' => out.write_all(b"\\t"),
            char if char == quote => write!(out, "\\{char}"),
            ' '..='~' => write!(out, "{char}"),
            char if char.escape_debug().len() == 1 => write!(out, "{char}"),
            char if char <= '\u{ff}' => write!(out, "\\x{:02x}", char as u32),
            char if char <= '\u{ffff}' => write!(out, "\\u{:04x}", char as u32),
            char => write!(out, "\\U{:08x}", char as u32),
        };
    }
    out.push(quote as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(record, 1_700_000_000_012_999_999, Text::plain(b"web"), Text::plain(b"7"), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn repr(text: &str) -> String {
        let mut out = Vec::new();
        write_text(Text::plain(text.as_bytes()), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_is_written_as_kaneda_writes_it() {
        let mut record = Record::new(Kind::Counter, Text::plain(b"a"), Value::Number(Number::Int(1), b"1"));
        record.tags = Tags::List(b"x,y");
        assert_eq!(
            line(&record),
            "2023-11-14 22:13:20,012 - kaneda.backends.logger - {'host': 'web', 'name': 'a', 'value': 1, \
             'tags': ['x', 'y'], 'metric': 'counter', '_id': '7'}"
        );
    }

    #[test]
    fn an_object_is_unpacked_and_what_kaneda_does_not_know_comes_last() {
        let value = Value::Object(br#"{"ok": true, "no":false,"list":[null, 1.5e3,{"a":"b"}]}"#);
        let mut record = Record::new(Kind::Custom(Text::plain(b"seen")), Text::plain(b"a"), value);
        record.tags = Tags::Object(br#"{"k": [1]}"#);
        record.rate = 0.5;
        assert!(line(&record).ends_with(
            "{'host': 'web', 'name': 'a', 'ok': True, 'no': False, 'list': [None, 1.5e3, {'a': 'b'}], \
             'tags': {'k': [1]}, 'metric': 'seen', '_id': '7', 'rate': 0.5}"
        ));
        let mut record = Record::new(Kind::Event, Text::plain(b"a"), Value::Text(Text::plain(b"b")));
        record.priority = Some(Text::plain(b"low"));
        assert!(line(&record).ends_with("'value': 'b', 'metric': 'event', '_id': '7', 'priority': 'low'}"));
    }

    #[test]
    fn an_integer_beyond_64_bits_keeps_its_digits() {
        let value = |sent: &'static [u8]| {
            let value = Value::Number(Number::Float(1180591620717411303424.0), sent);
            let line = line(&Record::new(Kind::Gauge, Text::plain(b"a"), value));
            let (_, rest) = line.split_once("'value': ").unwrap();
            rest.split_once(',').unwrap().0.to_owned()
        };
        assert_eq!(value(b"1180591620717411303424"), "1180591620717411303424");
        assert_eq!(value(b"-1180591620717411303424"), "-1180591620717411303424");
        for sent in [&b"1.180591620717411303424e21"[..], b"01180591620717411303424"] {
            assert!(value(sent).contains('e') && value(sent).parse::<f64>() == Ok(1180591620717411303424.0));
        }
    }

    #[test]
    fn texts_have_the_quotes_and_escapes_of_python() {
        assert_eq!(repr("it's"), r#""it's""#);
        assert_eq!(repr(r#"it's "it""#), r#"'it\'s "it"'"#);
        assert_eq!(repr(r#"say "it""#), r#"'say "it"'"#);
        assert_eq!(repr("a\\b\n\r\t\0\x1b\u{7f}é😀"), r"'a\\b\n\r\t\x00\x1b\x7fé😀'");
        assert_eq!(repr("\u{a0}\u{2028}\u{e0001}"), r"'\xa0\u2028\U000e0001'");
    }
}
