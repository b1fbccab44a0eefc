//! Inserting. After `rdb_protocol/val.cc` (`batched_insert`), `rdb_protocol/table_common.cc` and `rdb_protocol/btree.cc`.

use serde_json::{Map, Value, json};

use super::query::{Error, QUERY_LOGIC, RESOURCE_LIMIT};
use super::store::{Asked, Table};

/// `MAX_PRIMARY_KEY_SIZE` less the letter that says which type it is.
const PRIMARY_KEY_BYTES: usize = 127;
/// Elements of an array: on disk, and by default in a query.
const ARRAY_ELEMENTS: usize = 100_000;

/// What became of one document.
struct Done {
    count: &'static str,
    old: Value,
    new: Value,
    error: Option<String>,
}

/// Inserts `documents`, and says what the server would say.
pub(super) fn insert(table: &mut Table, documents: Vec<Value>, asked: &Asked) -> Result<Value, Error> {
    if documents.len() > ARRAY_ELEMENTS {
        let text = format!(
            "Array over size limit `{ARRAY_ELEMENTS}`.  To raise the number of allowed elements, modify the \
             `array_limit` option to `.run` (not available in the Data Explorer), or use an index."
        );
        return Err(Error::new(RESOURCE_LIMIT, text));
    }
    let replaces = match asked.conflict.as_deref() {
        None | Some("error") => false,
        Some("replace") => true,
        Some(other) => {
            let text = format!(
                "Conflict option `{other}` unrecognized (options are \"error\", \"replace\" and \"update\")."
            );
            return Err(Error::new(QUERY_LOGIC, text));
        }
    };
    if let Some(other) = asked.durability.as_deref().filter(|text| !matches!(*text, "hard" | "soft")) {
        let text = format!("Durability option `{other}` unrecognized (options are \"hard\" and \"soft\").");
        return Err(Error::new(QUERY_LOGIC, text));
    }
    let mut made_up = Vec::new();
    let mut trivial = 0;
    let all = documents.len();
    let mut done = Vec::new();
    for mut document in documents {
        let key = key(table, &mut document, &mut made_up);
        done.push(match key {
            Ok(key) => store(table, key, document, replaces),
            // The real server finds these before it looks at the table.
            Err(text) => {
                trivial += 1;
                Done { count: "errors", old: Value::Null, new: Value::Null, error: Some(text) }
            }
        });
    }
    let mut stats = Map::new();
    for count in ["inserted", "deleted", "skipped", "replaced", "unchanged", "errors"] {
        let number = done.iter().filter(|done| done.count == count).count();
        stats.insert(count.to_owned(), number.into());
    }
    if let Some(error) = done.iter().find_map(|done| done.error.as_deref()) {
        stats.insert("first_error".to_owned(), error.into());
    }
    if !made_up.is_empty() {
        stats.insert("generated_keys".to_owned(), made_up.into());
    }
    if asked.tells_each {
        // It tells of one only where none of them has a key that it takes.
        let told = if trivial == all { 1 } else { all };
        let change = |done: Done| match done.error {
            Some(error) => json!({ "old_val": done.old, "new_val": done.new, "error": error }),
            None => json!({ "old_val": done.old, "new_val": done.new }),
        };
        let changes: Vec<Value> = done.into_iter().take(told).map(change).collect();
        stats.insert("changes".to_owned(), changes.into());
    }
    Ok(stats.into())
}

/// The primary key as the table keeps it; one is made up for a document that has none.
fn key(table: &Table, document: &mut Value, made_up: &mut Vec<Value>) -> Result<String, String> {
    let text = pretty(document);
    let Value::Object(members) = document else {
        return Err(format!("Inserted value must be an OBJECT (got another):\n{text}"));
    };
    if !members.contains_key(&table.primary_key) {
        let key = format!("made-up-{}-{}", table.documents.len(), made_up.len());
        made_up.push(Value::from(&*key));
        members.insert(table.primary_key.clone(), key.into());
    }
    match &members[&table.primary_key] {
        Value::String(key) => {
            if let Some(at) = key.find('\0') {
                return Err(format!(
                    "String {:?} (truncated) contains NULL byte at offset {at} in index key.",
                    key.chars().take(20).collect::<String>()
                ));
            }
            if key.len() > PRIMARY_KEY_BYTES {
                return Err(format!("Primary key too long (max {PRIMARY_KEY_BYTES} characters): \"{key}\""));
            }
            Ok(format!("S{key}"))
        }
        key @ (Value::Number(_) | Value::Bool(_) | Value::Array(_)) => Ok(format!("?{key}")),
        _ => Err("Primary keys must be either a number, string, bool, pseudotype or array (got another):"
            .to_owned()),
    }
}

fn store(table: &mut Table, key: String, document: Value, replaces: bool) -> Done {
    let old = table.documents.get(&key).cloned().unwrap_or_default();
    let refuse =
        |error: String| Done { count: "errors", old: old.clone(), new: old.clone(), error: Some(error) };
    if !old.is_null() && !replaces {
        let primary = &table.primary_key;
        return refuse(format!(
            "Duplicate primary key `{primary}`:\n{}\n{}",
            pretty(&old),
            pretty(&document)
        ));
    }
    if has_large_array(&document) {
        return refuse("Array too large for disk writes (limit 100,000 elements).".to_owned());
    }
    if let Some((name, text)) = &table.hook
        && document["name"] == **name
    {
        return refuse(format!("Error in write hook: {text}"));
    }
    let count = match (&old, &document) {
        (Value::Null, _) => "inserted",
        (old, new) if old == new => "unchanged",
        _ => "replaced",
    };
    table.documents.insert(key, document.clone());
    Done { count, old, new: document, error: None }
}

fn has_large_array(datum: &Value) -> bool {
    match datum {
        Value::Array(elements) => elements.len() > ARRAY_ELEMENTS || elements.iter().any(has_large_array),
        Value::Object(members) => members.values().any(has_large_array),
        _ => false,
    }
}

/// As the server prints documents in texts.
fn pretty(datum: &Value) -> String {
    serde_json::to_string_pretty(datum).unwrap_or_default()
}
