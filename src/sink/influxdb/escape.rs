//! Texts as line protocol writes them, so that nothing in them can end what they stand in.
//!
//! Read off InfluxDB 1.6.7, whose documentation and parser differ. In measurements, tags and field keys a backslash
//! is a backslash unless a character follows that it may escape; nothing there can stand for a line feed, nor for a
//! backslash before such a character or at the end. So a line feed reads as a space, and such a backslash as `/`.
//! A string in quotes can hold everything.

use std::borrow::Cow;

/// `text` as it can be stored in the key or the value of a tag.
pub(super) fn tag(text: Cow<'_, str>) -> Cow<'_, str> {
    storable(text, &[',', '=', ' '])
}

/// `text` as it can be stored as the key of a field. Only here and in measurements a backslash escapes a quote.
pub(super) fn field_key(text: Cow<'_, str>) -> Cow<'_, str> {
    storable(text, &[',', '=', ' ', '"'])
}

/// `text` as it can be stored as a measurement. Before one the server skips tabs and NULs, and `#` is a comment.
pub(super) fn measurement(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = field_key(text);
    if text.starts_with(['#', '\t', '\0']) { Cow::Owned(format!("_{text}")) } else { text }
}

fn storable<'a>(text: Cow<'a, str>, escaped: &[char]) -> Cow<'a, str> {
    if memchr::memchr2(b'\n', b'\\', text.as_bytes()).is_none() {
        return text;
    }
    let mut stored = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        // A line feed that follows will be a space by then.
        let escapes = |next: Option<&char>| next.is_none_or(|next| *next == '\n' || escaped.contains(next));
        stored.push(match char {
            '\n' => ' ',
            '\\' if escapes(chars.peek()) => '/',
            _ => char,
        });
    }
    Cow::Owned(stored)
}

/// Appends a measurement that is storable.
pub(super) fn write_measurement(text: &str, out: &mut Vec<u8>) {
    write(text, |byte| matches!(byte, b',' | b' '), out);
}

/// Appends a tag key, tag value or field key that is storable.
pub(super) fn write_key(text: &str, out: &mut Vec<u8>) {
    write(text, |byte| matches!(byte, b',' | b'=' | b' '), out);
}

/// Appends a text as a string in quotes.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write(text, |byte| matches!(byte, b'"' | b'\\'), out);
    out.push(b'"');
}

/// Appends `text` with a backslash before each byte that is `special`.
#[inline]
fn write(text: &str, special: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| special(byte)) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_that_would_escape_is_a_slash_and_any_other_stays() {
        let stored = |text: &'static str| tag(Cow::Borrowed(text)).into_owned();
        assert_eq!(stored(r"C:\dir\file"), r"C:\dir\file");
        assert_eq!(stored(r"C:\dir\"), r"C:\dir/");
        assert_eq!(stored("a\\,b\\=c\\ d\\\ne"), "a/,b/=c/ d/ e");
        assert_eq!(stored(r"a\\"), r"a\/");
        assert_eq!(stored(r#"\""#), r#"\""#);
        assert_eq!(field_key(Cow::Borrowed(r#"\""#)), r#"/""#);
    }

    #[test]
    fn a_measurement_does_not_begin_with_what_the_server_skips() {
        for (text, expected) in [("#a", "_#a"), ("\ta", "_\ta"), ("\0a", "_\0a"), ("\na", " a"), ("a#", "a#")]
        {
            assert_eq!(measurement(Cow::Borrowed(text)), expected);
        }
    }

    #[test]
    fn each_place_has_its_own_escapes() {
        let written = |write: fn(&str, &mut Vec<u8>)| {
            let mut out = Vec::new();
            write("a,b=c d\"e\\f", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(write_measurement), r#"a\,b=c\ d"e\f"#);
        assert_eq!(written(write_key), r#"a\,b\=c\ d"e\f"#);
        assert_eq!(written(write_string), r#""a,b=c d\"e\\f""#);
    }
}
