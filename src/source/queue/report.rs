//! From the arguments of Kaneda's `report` to a line of the protocol: a JSON report.

use std::borrow::Cow;

use super::{Error, json};
use crate::record::json::{elements, members};
use crate::record::{Text, json::string};

/// The arguments in their order.
const NAMES: [&str; 5] = ["name", "metric", "value", "tags", "id_"];
/// Where the tags are among them.
const TAGS: usize = 3;
/// Where the id is.
const ID: usize = 4;
/// So many of them have no default.
const REQUIRED: usize = 3;
/// An empty text in JSON.
const EMPTY: &[u8] = b"\"\"";

/// The line of a message that is an object of the arguments, as Kaneda's ZeroMQ class sends it. Other members are kept:
/// the protocol knows more of them.
pub fn from_object(message: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    json::check(message)?;
    let object = message.trim_ascii();
    if !object.starts_with(b"{") {
        return Err(Error::BadArguments("it is no object"));
    }
    if is_line(object) {
        return Ok(Cow::Borrowed(object));
    }
    let mut line = Line::new(object.len());
    for (name, value) in members(object) {
        line.member(name, value);
    }
    Ok(Cow::Owned(line.end()))
}

/// Whether an object is as the protocol takes it, so far as that is seen at once: no name in it is escaped, its tags, and
/// whatever else has that name, are null or an object, and its id is no empty text.
fn is_line(object: &[u8]) -> bool {
    let is_taken = |name: &[u8], is_taken: fn(&[u8]) -> bool| {
        memchr::memmem::find_iter(object, name).all(|at| {
            let value = object[at + name.len()..].strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            value.is_some_and(is_taken)
        })
    };
    memchr::memchr3(b'\\', b'\n', b'\r', object).is_none()
        && is_taken(b"\"tags\"", |value| matches!(value.first(), Some(b'n' | b'{')))
        && is_taken(b"\"id_\"", |value| !value.starts_with(EMPTY))
}

/// The line of a call: a list of positional arguments and an object of those by name, both valid JSON.
pub(super) fn from_call(positional: &[u8], named: &[u8]) -> Result<Vec<u8>, Error> {
    if !positional.starts_with(b"[") || !named.starts_with(b"{") {
        return Err(Error::BadArguments("there is no list and no object of them"));
    }
    let mut arguments = [None; NAMES.len()];
    for (at, value) in elements(positional).enumerate() {
        *arguments.get_mut(at).ok_or(Error::BadArguments("there are more than five"))? = Some(value);
    }
    for (name, value) in members(named) {
        let at = NAMES.iter().position(|known| name.is(known));
        let place = &mut arguments[at.ok_or(Error::BadArguments("one of them has another name"))?];
        if place.replace(value).is_some() {
            return Err(Error::BadArguments("one of them is there twice"));
        }
    }
    if arguments[..REQUIRED].contains(&None) {
        return Err(Error::BadArguments("name, metric or value is missing"));
    }
    let mut line = Line::new(positional.len() + named.len());
    for (name, value) in NAMES.into_iter().zip(arguments) {
        if let Some(value) = value {
            line.member(Text::plain(name.as_bytes()), value);
        }
    }
    Ok(line.end())
}

/// A line that is being written.
struct Line(Vec<u8>);

impl Line {
    /// For members of so many bytes, more or less.
    fn new(bytes: usize) -> Self {
        let mut line = Vec::with_capacity(bytes + 64);
        line.push(b'{');
        Line(line)
    }

    fn member(&mut self, name: Text<'_>, value: &[u8]) {
        let Line(line) = self;
        if line.len() > 1 {
            line.push(b',');
        }
        name.write_json(line);
        line.push(b':');
        match () {
            () if name.is(NAMES[TAGS]) => tags(value, line),
            // As in Kaneda, an empty one is none.
            () if name.is(NAMES[ID]) && value == EMPTY => line.extend_from_slice(b"null"),
            () => json::write(value, line),
        }
    }

    fn end(self) -> Vec<u8> {
        let Line(mut line) = self;
        line.push(b'}');
        line
    }
}

/// Appends tags as the protocol takes them: Kaneda stores a list of numbers, or a text alone, as well as a list of texts.
fn tags(value: &[u8], line: &mut Vec<u8>) {
    match value.first() {
        Some(b'"') => {
            line.push(b'[');
            json::write(value, line);
            line.push(b']');
        }
        Some(b'[') => {
            line.push(b'[');
            for (at, element) in elements(value).enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                match element.first() {
                    // As a text, with the digits that were sent; true, false and null too.
                    Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Text::plain(element).write_json(line),
                    _ => json::write(element, line),
                }
            }
            line.push(b']');
        }
        _ => json::write(value, line),
    }
}

/// The text of a JSON value; none if it is something else.
pub(super) fn text(value: &[u8]) -> Option<String> {
    value.starts_with(b"\"").then(|| string(value).decode().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(message: &str) -> String {
        String::from_utf8(from_object(message.as_bytes()).unwrap().into_owned()).unwrap()
    }

    fn call(positional: &str, named: &str) -> Result<String, Error> {
        let line = from_call(positional.as_bytes(), named.as_bytes())?;
        Ok(String::from_utf8(line).unwrap())
    }

    #[test]
    fn a_call_becomes_an_object_wherever_its_arguments_stand() {
        let expected = r#"{"name":"a","metric":"gauge","value":{"b": 1},"tags":["x"],"id_":null}"#;
        assert_eq!(call(r#"["a", "gauge", {"b": 1}, ["x"], null]"#, "{}").unwrap(), expected);
        let named = r#"{"id_":null,"value":{"b": 1},"tags":["x"]}"#;
        assert_eq!(call(r#"["a","gauge"]"#, named).unwrap(), expected);
        let least = r#"{"name":"a","metric":"gauge","value":1}"#;
        assert_eq!(call(r#"["a","gauge",1]"#, "{}").unwrap(), least);
    }

    #[test]
    fn arguments_that_are_not_those_of_a_report_are_refused() {
        for (positional, named, problem) in [
            ("[1,2,3,4,5,6]", "{}", "there are more than five"),
            ("[1,2,3]", r#"{"host":1}"#, "one of them has another name"),
            ("[1,2,3]", r#"{"metric":1}"#, "one of them is there twice"),
            ("[1,2]", "{}", "name, metric or value is missing"),
            ("[]", "{}", "name, metric or value is missing"),
            ("{\"name\":1}", "{}", "there is no list and no object of them"),
            ("[1,2,3]", "[]", "there is no list and no object of them"),
        ] {
            assert_eq!(call(positional, named), Err(Error::BadArguments(problem)));
        }
        assert_eq!(from_object(b"[1]"), Err(Error::BadArguments("it is no object")));
        assert_eq!(from_object(b"{").unwrap_err().code(), "bad_json");
    }

    #[test]
    fn tags_become_what_the_protocol_takes() {
        for (sent, written) in [
            ("null", "null"),
            (r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            (r#"["a",  "b"]"#, r#"["a","b"]"#),
            ("[1, 2.50, true, \"x\", null]", r#"["1","2.50","true","x","null"]"#),
            (r#""alone""#, r#"["alone"]"#),
            ("[]", "[]"),
        ] {
            let message = format!(r#"{{"name":"a","tags":{sent}}}"#);
            assert_eq!(object(&message), format!(r#"{{"name":"a","tags":{written}}}"#));
        }
    }

    #[test]
    fn an_id_that_is_an_empty_text_is_none() {
        let none = r#"{"name":"a","metric":"gauge","value":"","id_":null}"#;
        assert_eq!(object(r#"{"name": "a", "metric": "gauge", "value": "", "id_": ""}"#), none);
        assert_eq!(call(r#"["a","gauge",""]"#, r#"{"id_":""}"#).unwrap(), none);
        let some = r#"{"name":"","metric":"","value":"","id_":" "}"#;
        assert_eq!(object(some), some);
    }

    #[test]
    fn an_object_that_is_a_line_as_it_is_is_not_written_anew() {
        for (message, is_anew) in [
            (r#"{"name": "a", "tags": null}"#, false),
            (r#"{"name": "a", "tags": {"b": [1]}}"#, false),
            (r#"{"name": "a", "tags": [1]}"#, true),
            (r#"{"name": "a", "tags" : 1}"#, true),
            (r#"{"name": "a", "ta\u0067s": [1]}"#, true),
            (r#"{"name": "tags", "tags": null}"#, true),
            (r#"{"name": "a", "tags": null, "id_": "1"}"#, false),
            (r#"{"name": "a", "tags": null, "id_": ""}"#, true),
        ] {
            let line = from_object(message.as_bytes()).unwrap();
            assert_eq!(matches!(line, Cow::Owned(_)), is_anew, "{message}");
        }
    }

    #[test]
    fn an_object_is_written_on_one_line_and_keeps_what_it_has() {
        let message = "\r\n{ \"name\":\n\"a\",\"timestamp\" : 5,\r\"value\":[\n1]}\n";
        assert_eq!(object(message), r#"{"name":"a","timestamp":5,"value":[ 1]}"#);
    }

    #[test]
    fn every_recorded_message_of_zeromq_is_read() {
        let file = format!("{}/tests/data/queue/zmq.jsonl", env!("CARGO_MANIFEST_DIR"));
        let messages = std::fs::read_to_string(file).unwrap();
        let (mut read, mut not_finite) = (0, 0);
        for message in messages.lines() {
            match from_object(message.as_bytes()) {
                Ok(line) => {
                    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
                    assert_eq!(value(&line), value(message.as_bytes()));
                    read += 1;
                }
                Err(error) => {
                    assert_eq!(error, Error::NotFinite);
                    not_finite += 1;
                }
            }
        }
        assert_eq!((read, not_finite), (14, 2));
    }
}
