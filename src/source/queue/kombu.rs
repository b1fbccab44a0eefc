//! Values that JSON does not have, as kombu 5 wraps them: `{"__type__": .., "__value__": ..}`.
//!
//! Source: `kombu/utils/json.py`. Earlier releases write a datetime or a Decimal as a text.

use crate::record::json::{elements, is_number, members};
use crate::record::{Text, json::string};

use super::Error;

/// Whether there is anything to unwrap.
pub(super) fn has_wrapped(json: &[u8]) -> bool {
    memchr::memmem::find(json, b"__type__").is_some()
}

/// Appends `json`, which is valid, with every wrapped value in its plain form: times as texts, a Decimal as a number, a
/// UUID and bytes as texts. It recurses as deep as `json` is nested, which reading it as JSON has bounded to 128.
pub(super) fn unwrap(json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    match json.trim_ascii_start().first() {
        Some(b'{') => {
            if let Some((kind, value)) = wrapped(json) {
                return plain(kind, value, out);
            }
            out.push(b'{');
            for (at, (name, value)) in members(json).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                name.write_json(out);
                out.push(b':');
                unwrap(value, out)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            out.push(b'[');
            for (at, element) in elements(json).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                unwrap(element, out)?;
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(json),
    }
    Ok(())
}

/// The type and the value of an object that has these two members and no other.
fn wrapped(object: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (mut kind, mut value) = (None, None);
    for (name, member) in members(object) {
        match &*name.bytes() {
            b"__type__" => kind = Some(member),
            b"__value__" => value = Some(member),
            _ => return None,
        }
    }
    Some((string(kind?), value?))
}

fn plain(kind: Text<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let unread = || Error::Wrapped(kind.decode().into_owned());
    match &*kind.bytes() {
        b"datetime" | b"date" | b"time" | b"bytes" | b"base64" if value.starts_with(b"\"") => {
            out.extend_from_slice(value);
        }
        b"decimal" => match &*string(value).bytes() {
            digits if is_number(digits) => out.extend_from_slice(digits),
            text if text.ends_with(b"NaN") || text.ends_with(b"Infinity") => return Err(Error::NotFinite),
            _ => return Err(unread()),
        },
        b"uuid" => {
            let (_, hex) = members(value).find(|(name, _)| name.is("hex")).ok_or_else(unread)?;
            let hex = string(hex).decode();
            let uuid = uuid::Uuid::try_parse(&hex).map_err(|_| unread())?;
            Text::plain(uuid.hyphenated().to_string().as_bytes()).write_json(out);
        }
        _ => return Err(unread()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(json: &str) -> Result<String, Error> {
        let mut out = Vec::new();
        unwrap(json.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_type_of_kombu_has_a_plain_form() {
        for (kind, value, plain) in [
            ("datetime", r#""2026-01-02T03:04:05.000678""#, r#""2026-01-02T03:04:05.000678""#),
            ("date", r#""2026-01-02""#, r#""2026-01-02""#),
            ("time", r#""03:04:05""#, r#""03:04:05""#),
            ("bytes", r#""a\"b""#, r#""a\"b""#),
            ("base64", r#""AP8=""#, r#""AP8=""#),
            ("decimal", r#""1.50""#, "1.50"),
            (
                "uuid",
                r#"{"hex": "2b09886ac40d44b78aa3845fd1192b39", "version": 4}"#,
                r#""2b09886a-c40d-44b7-8aa3-845fd1192b39""#,
            ),
        ] {
            let wrapped = format!(r#"{{"a": [ {{"__type__": "{kind}", "__value__": {value}}} ]}}"#);
            assert_eq!(unwrapped(&wrapped).unwrap(), format!(r#"{{"a":[{plain}]}}"#));
        }
    }

    #[test]
    fn a_type_that_is_not_read_is_named() {
        for value in [r#"{"__type__": "mine", "__value__": 1}"#, r#"{"__value__": "x", "__type__": "mine"}"#]
        {
            assert_eq!(unwrapped(value), Err(Error::Wrapped("mine".to_owned())));
        }
        for (kind, value) in
            [("datetime", "1"), ("decimal", "\"x\""), ("uuid", "{}"), ("uuid", "{\"hex\":\"q\"}")]
        {
            let wrapped = format!(r#"{{"__type__":"{kind}","__value__":{value}}}"#);
            assert_eq!(unwrapped(&wrapped), Err(Error::Wrapped(kind.to_owned())));
        }
        let nan = r#"{"__type__": "decimal", "__value__": "sNaN"}"#;
        assert_eq!(unwrapped(nan), Err(Error::NotFinite));
    }

    #[test]
    fn an_object_with_other_members_is_as_it_is() {
        let other = r#"{"__type__":"datetime","__value__":"x","more":1}"#;
        assert_eq!(unwrapped(other).unwrap(), other);
        assert_eq!(unwrapped(r#"{"__type__":"datetime"}"#).unwrap(), r#"{"__type__":"datetime"}"#);
    }
}
