//! What is stored of one report, in the notation of its store.

use std::collections::BTreeMap;

use serde_json::Value;

/// The name that a report with a `name` in its value takes in Kaneda, and its own.
const TAKEN: (&str, &str) = ("taken", "xml.reserved");

/// A document, point or line.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Of the report.
    pub(crate) name: String,
    /// What the store has in place of Kaneda's `metric`.
    pub(crate) kind: String,
    /// Each field as the store spells it. A word in capitals stands for what differs by its nature and was checked.
    pub(crate) fields: BTreeMap<String, String>,
    /// Nanoseconds since 1970, of the field `.0`.
    pub(crate) times: Vec<(String, i128)>,
}

impl Document {
    pub(crate) fn new(name: &str, kind: &str) -> Document {
        let name = if name == TAKEN.0 { TAKEN.1 } else { name };
        Document { name: name.to_owned(), kind: kind.to_owned(), fields: BTreeMap::new(), times: Vec::new() }
    }

    pub(crate) fn put(&mut self, field: &str, value: impl Into<String>) {
        let before = self.fields.insert(field.to_owned(), value.into());
        assert!(before.is_none(), "{}: {field} twice", self.name);
    }

    /// A time, which has to be that of the test; `word` says how it is stored.
    pub(crate) fn put_time(&mut self, field: &str, nanos: i128, word: &str) {
        self.put(field, word);
        self.times.push((field.to_owned(), nanos));
    }

    /// Puts a word in place of the field's value, if that is `value`.
    pub(crate) fn replace(&mut self, field: &str, value: &str, word: &str) {
        if let Some(found) = self.fields.get_mut(field)
            && found == value
        {
            word.clone_into(found);
        }
    }
}

/// The machine's name.
pub(crate) fn host() -> String {
    gethostname::gethostname().into_string().unwrap()
}

/// A text as JSON.
pub(crate) fn json(text: &str) -> String {
    Value::from(text).to_string()
}

/// A text that is the JSON of a list or dict, without white space: that is as the queue has it, and a pickle has none.
pub(crate) fn one_spelling(value: &Value) -> Value {
    let nested = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    nested
        .filter(|nested| nested.is_array() || nested.is_object())
        .map_or_else(|| value.clone(), |nested| Value::from(nested.to_string()))
}

/// The id that a client has sent and is a UUID, as those are that the daemon takes.
const SENT: &str = "00000000-0000-0000-0000-000000000008";

/// Whether an id, as JSON, is one that the daemon made: of a chunk and a place in it, or of a task.
pub(crate) fn is_own(id: &str) -> bool {
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = id.trim_matches('"').trim_matches('\'');
    id.len() >= 32 && id != SENT && id.split('-').all(|part| is_hex(&part))
}
