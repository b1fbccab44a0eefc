//! JSON that was found valid when its line was parsed: walking over it, and writing it.

use super::escape::write_lossy;
use super::text::{Form, Text};

/// The members of a valid JSON object, in order, repeated names included: each name and the value as sent.
pub fn members<'a>(object: &'a [u8]) -> impl Iterator<Item = (Text<'a>, &'a [u8])> {
    let mut rest = inside(object);
    std::iter::from_fn(move || {
        let (name, after) = split_value(separated(rest))?;
        let (value, after) = split_value(separated(after))?;
        rest = after;
        Some((string(name), value))
    })
}

/// The elements of a valid JSON array, in order, each as sent.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = inside(array);
    std::iter::from_fn(move || {
        let (value, after) = split_value(separated(rest))?;
        rest = after;
        Some(value)
    })
}

/// The text of a valid JSON string with its quotes.
pub fn string(quoted: &[u8]) -> Text<'_> {
    let raw = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(quoted);
    Text { raw, form: Form::Json }
}

/// Appends a valid JSON value as sent, in UTF-8 and on one line: a carriage return between its parts becomes a space.
pub fn write_raw(json: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    write_lossy(json, out);
    if memchr::memchr(b'\r', json).is_some() {
        out[from..].iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b' ');
    }
}

/// Whether `text` is a number as JSON spells it (RFC 8259, section 6).
pub fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    let (head, mut rest) = rest.split_at(whole);
    if whole == 0 || whole > 1 && head[0] == b'0' {
        return false;
    }
    if let [b'.', fraction @ ..] = rest {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

fn inside(container: &[u8]) -> &[u8] {
    container.trim_ascii_start().get(1..).unwrap_or_default()
}

/// What follows white space, `,` and `:`.
fn separated(rest: &[u8]) -> &[u8] {
    let length =
        rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')).count();
    &rest[length..]
}

/// The value at the start of `rest` and what follows it; `None` at the end of the object or array around it.
fn split_value(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match rest.first()? {
        b'"' => string_length(rest),
        b'{' | b'[' => container_length(rest),
        b'}' | b']' => return None,
        _ => rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            .unwrap_or(rest.len()),
    };
    Some(rest.split_at(length))
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = rest.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if rest[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    rest.len()
}

fn container_length(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => {
                at += string_length(&rest[at..]);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_between_any_white_space() {
        let object =
            b" { \"a\" : 1 ,\t\"b\\\"}\":[{\"x\":\"]\"},[]] , \"c\" : \"q\\\"\" ,\"d\":{}, \"e\":null}";
        let found: Vec<_> = members(object)
            .map(|(name, value)| (name.decode().into_owned(), String::from_utf8_lossy(value)))
            .collect();
        let expected =
            [("a", "1"), ("b\"}", "[{\"x\":\"]\"},[]]"), ("c", "\"q\\\"\""), ("d", "{}"), ("e", "null")];
        assert_eq!(found.len(), expected.len());
        for ((name, value), (expected_name, expected_value)) in found.iter().zip(expected) {
            assert_eq!((name.as_str(), value.as_ref()), (expected_name, expected_value));
        }
    }

    #[test]
    fn an_empty_object_and_an_empty_array_have_nothing() {
        assert_eq!(members(b"{ }").count(), 0);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn a_number_is_what_json_calls_one() {
        for text in ["0", "-0", "10", "1.50", "0.5e+3", "1E5", "-12e-07", "12345678901234567890123"] {
            assert!(is_number(text.as_bytes()), "{text}");
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{text}");
        }
        for text in ["", "-", "+5", ".5", "5.", "01", "1e", "1e+", "1.e5", "1 ", "0x1", "1.5.5", "--1", "e5"]
        {
            assert!(!is_number(text.as_bytes()), "{text}");
            assert!(
                serde_json::from_str::<serde_json::Number>(text.trim_end_matches(' ')).is_err()
                    || text == "1 "
            );
        }
    }

    #[test]
    fn what_is_not_json_ends_the_walk() {
        for bytes in [&b"{\"a"[..], b"{\"a\":", b"{\"a\\", b"[[", b"", b"{]", b"[\"\\"] {
            assert!(members(bytes).count() <= 1);
            assert!(elements(bytes).count() <= 1);
        }
    }

    #[test]
    fn a_carriage_return_between_members_does_not_break_the_line() {
        let mut out = Vec::new();
        write_raw(b"{\"a\":\r1}", &mut out);
        assert_eq!(out, b"{\"a\": 1}");
    }
}
