//! Values and tags of a report.

use super::json;
use super::text::Text;

/// What a report says. Every variant that came from the wire keeps the bytes as sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A finite number and its text as sent.
    Number(Number, &'a [u8]),
    /// Any text: a set, an event, a bare or JSON string of a custom report.
    Text(Text<'a>),
    /// JSON `true` or `false`, as sent.
    Bool(bool, &'a [u8]),
    /// JSON `null`, as sent.
    Null(&'a [u8]),
    /// A valid JSON array, as sent.
    List(&'a [u8]),
    /// A valid JSON object, as sent; it is unpacked into the document.
    Object(&'a [u8]),
}

impl Value<'_> {
    /// Appends the value as JSON. A number is written as it was understood, not as it was spelled.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Value::Number(number, _) => number.write(out),
            Value::Text(text) => text.write_json(out),
            Value::Bool(_, raw) | Value::Null(raw) | Value::List(raw) | Value::Object(raw) => {
                json::write_raw(raw, out)
            }
        }
    }
}

/// A finite number. Integers of 64 bits stay exact; all others are the nearest double.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer in `i64`.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// Anything else; finite.
    Float(f64),
}

impl Number {
    /// Appends the number as JSON: an integer with all its digits, a double with the fewest that give it back.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a Vec does not fail, and a Number is finite.
        let _ = match self {
            Number::Int(int) => serde_json::to_writer(out, int),
            Number::Uint(int) => serde_json::to_writer(out, int),
            Number::Float(float) => serde_json::to_writer(out, float),
        };
    }

    /// The nearest double.
    #[inline]
    pub fn as_f64(&self) -> f64 {
        match *self {
            Number::Int(int) => int as f64,
            Number::Uint(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

/// Tags as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags<'a> {
    /// Not sent, or nothing but empty ones.
    None,
    /// The text behind `#`: at least one tag that is not empty, split at `,`; empty ones are passed over.
    List(&'a [u8]),
    /// A valid JSON array of strings of which at least one is not empty; empty ones are passed over.
    JsonList(&'a [u8]),
    /// A valid JSON object, not empty.
    Object(&'a [u8]),
}

impl<'a> Tags<'a> {
    /// The tags of a list that are not empty, in order. Nothing for an object: see [`Tags::members`].
    pub fn list(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let (plain, json) = match *self {
            Tags::List(raw) => (raw, &b""[..]),
            Tags::JsonList(raw) => (&b""[..], raw),
            Tags::None | Tags::Object(_) => (&b""[..], &b""[..]),
        };
        plain
            .split(|&byte| byte == b',')
            .map(Text::plain)
            .chain(json::elements(json).map(json::string))
            .filter(|tag| !tag.is_empty())
    }

    /// The members of tags sent as an object, each value as sent. Nothing for a list: see [`Tags::list`].
    pub fn members(&self) -> impl Iterator<Item = (Text<'a>, &'a [u8])> + use<'a> {
        let object = if let Tags::Object(object) = *self { object } else { b"" };
        json::members(object)
    }

    /// Appends the tags as JSON: a list of strings without the empty ones, or the object as sent.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        if let Tags::Object(object) = self {
            return json::write_raw(object, out);
        }
        out.push(b'[');
        for (index, tag) in self.list().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            tag.write_json(out);
        }
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_exactly_or_shortest() {
        let cases = [
            (Number::Int(-12), "-12"),
            (Number::Uint(u64::MAX), "18446744073709551615"),
            (Number::Float(0.1), "0.1"),
            (Number::Float(320.0), "320.0"),
        ];
        for (number, expected) in cases {
            assert_eq!(json(|out| number.write(out)), expected);
        }
        let large = json(|out| Number::Float(1e300).write(out));
        assert_eq!(serde_json::from_str::<f64>(&large).unwrap(), 1e300);
    }

    #[test]
    fn empty_tags_are_passed_over_in_either_list() {
        assert_eq!(json(|out| Tags::List(b",a,,b:c,").write_json(out)), r#"["a","b:c"]"#);
        assert_eq!(json(|out| Tags::JsonList(br#"["", "a,b" ,"c"]"#).write_json(out)), r#"["a,b","c"]"#);
    }

    #[test]
    fn an_object_of_tags_is_written_as_sent() {
        assert_eq!(json(|out| Tags::Object(b"{\"a\": 1, \"a\":2}").write_json(out)), "{\"a\": 1, \"a\":2}");
    }
}
