//! JSON as Python writes it: with bare `NaN` and `Infinity`, which are no JSON.

use serde_json::value::RawValue;

use super::Error;

/// Whether `text` is JSON; if not, whether that is for its numbers alone.
pub(super) fn check(text: &[u8]) -> Result<(), Error> {
    let Err(error) = serde_json::from_slice::<&RawValue>(text) else { return Ok(()) };
    let is_json = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).is_ok();
    match without_constants(text) {
        Some(text) if is_json(&text) => Err(Error::NotFinite),
        _ => Err(Error::BadJson(error.to_string())),
    }
}

/// Appends valid JSON on one line: what ends a line can only stand between its parts, where a space is as good.
pub(super) fn write(json: &[u8], out: &mut Vec<u8>) {
    out.extend(json.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// `text` with a null in place of each of Python's constants outside of strings; none if it has none.
fn without_constants(text: &[u8]) -> Option<Vec<u8>> {
    const CONSTANTS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut plain = Vec::with_capacity(text.len());
    let mut is_changed = false;
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let constant = CONSTANTS.into_iter().find(|constant| rest.starts_with(constant));
        let length = match (constant, byte) {
            (Some(constant), _) => {
                is_changed = true;
                plain.extend_from_slice(b"null");
                rest = &rest[constant.len()..];
                continue;
            }
            (None, b'"') => string_length(rest),
            (None, _) => 1,
        };
        plain.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    is_changed.then_some(plain)
}

/// Bytes of the string at the start of `rest`, quotes included.
fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_constant_of_python_is_told_from_other_mistakes() {
        for text in ["NaN", "[1, NaN]", r#"{"a\"": -Infinity, "b": Infinity}"#] {
            assert_eq!(check(text.as_bytes()), Err(Error::NotFinite), "{text}");
        }
        for text in ["", "nan", "NaNs", "[NaN", r#"{"a": NaN, "b": nope}"#, "\"\\", "[1e5,]", "\"\u{1}\""] {
            assert_eq!(check(text.as_bytes()).unwrap_err().code(), "bad_json", "{text}");
        }
        assert_eq!(check(br#"["NaN", "\"Infinity", 1]"#), Ok(()));
    }

    #[test]
    fn white_space_never_ends_the_line() {
        let mut out = Vec::new();
        write(b"{\r\n \"a\":\n1}", &mut out);
        assert_eq!(out, b"{   \"a\": 1}");
    }
}
