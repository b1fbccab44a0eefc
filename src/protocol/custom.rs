//! The values of custom reports: JSON, or bare text.

use super::error::{Checked, Reason, refuse};
use super::limits::Limits;
use super::{json, typed};
use crate::record::{Text, Value};

/// How many bytes of `input` are a JSON value that the type of a custom report follows. `None` if it is no such
/// value; refused if its brackets and quotes say that it was meant to be one.
pub(super) fn json_length<'a>(input: &'a [u8], limits: &Limits) -> Checked<'a, Option<usize>> {
    let text = behind_blanks(input);
    if !begins_json(text) {
        return Ok(None);
    }
    let is_custom = |rest: &[u8]| typed::is_type(rest, &[b"k", b"custom"]);
    match json::value(text, 0, limits) {
        Ok(rest) if is_custom(rest) => Ok(Some(input.len() - rest.len())),
        Err(fault) if json::balanced(text).is_some_and(is_custom) => Err(fault),
        _ => Ok(None),
    }
}

/// The value of a custom report.
pub(super) fn value<'a>(input: &'a [u8], limits: &Limits) -> Checked<'a, Value<'a>> {
    let text = behind_blanks(input);
    if begins_json(text) {
        let rest = json::value(text, 0, limits)?;
        let rest = json::spaces(rest);
        if !rest.is_empty() {
            return refuse(Reason::BadJson, rest);
        }
        let raw = &text[..text.len() - rest.len()];
        return Ok(json::typed(raw.trim_ascii_end()));
    }
    Ok(match input {
        b"true" | b"false" | b"null" => json::typed(input),
        _ if json::is_number(input) => match super::number::all(input) {
            Ok(number) => Value::Number(number, input),
            Err(_) => return refuse(Reason::BadNumber, input),
        },
        _ => Value::Text(Text::plain(input)),
    })
}

/// What follows spaces and tabs.
fn behind_blanks(input: &[u8]) -> &[u8] {
    let length = input.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &input[length..]
}

fn begins_json(text: &[u8]) -> bool {
    matches!(text, [b'{' | b'[' | b'"', ..])
}
