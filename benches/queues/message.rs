//! Messages as they were recorded, each with an id of its own.

use serde_json::Value;

use crate::Result;

/// Of the recorded ones the first: a gauge, two counters, a timing with tags and an event.
pub(crate) const MANY: usize = 5;

/// A recorded file.
pub(crate) fn file(name: &str) -> Result<Vec<u8>> {
    let path = format!("{}/tests/data/queue/{name}", env!("CARGO_MANIFEST_DIR"));
    Ok(std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?)
}

/// Its first lines.
pub(crate) fn lines(name: &str) -> Result<Vec<String>> {
    let text = String::from_utf8(file(name)?)?;
    Ok(text.lines().take(MANY).map(str::to_owned).collect())
}

/// The text of a member, given as a JSON pointer.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    Ok(value.pointer(pointer).and_then(Value::as_str).ok_or(format!("no {pointer} was recorded"))?)
}

/// An id that no other message has, of the form that the clients give them.
pub(crate) fn id(kind: u16, number: usize) -> String {
    format!("5330d167-ad14-460e-{kind:04x}-{number:012x}")
}
