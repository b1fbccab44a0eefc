//! What the server's answers mean: pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How much of the server's text goes into logs and dead letters. It quotes whole documents behind its first line.
const DETAIL_BYTES: usize = 300;

/// The types of answers, `Response.ResponseType` in `ql2.proto`: success with one value, or with a list of them.
const ATOM: u32 = 1;
const SEQUENCE: u32 = 2;
const RUNTIME_ERROR: u32 = 18;
/// And of errors at runtime, `Response.ErrorType`.
const QUERY_LOGIC: u32 = 3_000_000;
const NON_EXISTENCE: u32 = 3_100_000;
const RESOURCE_LIMIT: u32 = 2_000_000;
const OP_FAILED: u32 = 4_100_000;
const PERMISSION: u32 = 6_000_000;

/// Why the server did not do what a query asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The database or the table is not there.
    Missing(String),
    /// What is to be made is there already.
    Exists(String),
    /// The user may not.
    Forbidden(String),
    /// The query is to blame, and so perhaps a document in it.
    Query(String),
    /// The server is to blame: a replica is away, or the answer of one.
    Server(String),
}

/// An answer that this protocol does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of RethinkDB: {0}")]
pub(super) struct Garbled(pub(super) String);

/// The value that `bytes` answer with, or why there is none.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Result<T, Failure>, Garbled> {
    #[derive(Deserialize)]
    struct Head {
        t: u32,
        e: Option<u32>,
    }
    #[derive(Deserialize)]
    struct Body<T> {
        r: [T; 1],
    }
    let garbled = |error: serde_json::Error| Garbled(error.to_string());
    let Head { t, e } = serde_json::from_slice(bytes).map_err(garbled)?;
    match t {
        ATOM => {
            let Body { r: [value] } = serde_json::from_slice(bytes).map_err(garbled)?;
            Ok(Ok(value))
        }
        // All that is asked for here is answered with one value, and every error is 16 or above.
        SEQUENCE..16 => Err(Garbled(format!("an answer of type {t}"))),
        _ => {
            let Body { r: [text] } = serde_json::from_slice::<Body<String>>(bytes).map_err(garbled)?;
            Ok(Err(failure(t, e, first_line(&text))))
        }
    }
}

fn failure(t: u32, e: Option<u32>, text: String) -> Failure {
    // A query that the server cannot read, or that makes no sense to it, is so at every attempt.
    if t != RUNTIME_ERROR {
        return Failure::Query(text);
    }
    match e {
        Some(OP_FAILED) if text.ends_with("does not exist.") => Failure::Missing(text),
        Some(OP_FAILED) if text.ends_with("already exists.") => Failure::Exists(text),
        Some(PERMISSION) => Failure::Forbidden(text),
        Some(QUERY_LOGIC | NON_EXISTENCE | RESOURCE_LIMIT) => Failure::Query(text),
        _ => Failure::Server(text),
    }
}

/// What came of an insert or a delete. What a newer server may say beside is passed over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    inserted: f64,
    replaced: f64,
    unchanged: f64,
    deleted: f64,
    skipped: f64,
    /// Documents that were not written.
    pub(super) errors: f64,
    /// Why the first of them was not.
    pub(super) first_error: Option<String>,
    /// What came of each document, in their order, if that was asked for.
    pub(super) changes: Vec<Change>,
}

/// What came of one document.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    /// Why it was not written.
    pub(super) error: Option<String>,
}

impl Written {
    /// Whether it speaks of so many documents, each counted once.
    pub(super) fn is_of(&self, documents: usize) -> bool {
        let counts = [self.inserted, self.replaced, self.unchanged, self.deleted, self.skipped, self.errors];
        counts.iter().sum::<f64>() == documents as f64
    }

    /// Whether it tells of so many documents one by one, and of no other number of errors than it counts.
    pub(super) fn tells_each(&self, documents: usize) -> bool {
        let errors = self.changes.iter().filter(|change| change.error.is_some()).count();
        self.changes.len() == documents && errors as f64 == self.errors
    }
}

/// What is known of a table.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    /// The name of the member that identifies a document.
    pub(super) primary_key: String,
}

/// Why the server did not write one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is one with its id.
    Duplicate,
    /// It never will be: one word, and the server's text.
    Never(&'static str, String),
}

/// What the server's text about one document means. The server gives no code with it; these are the texts of 2.4.4.
pub(super) fn refusal(text: &str) -> Refusal {
    let line = first_line(text);
    if line.starts_with("Duplicate primary key `id`:") {
        return Refusal::Duplicate;
    }
    let reason = if line.starts_with("Primary key") || line.contains("in index key") {
        "bad_id"
    } else if line.starts_with("Array too large") {
        "too_large"
    } else if line.starts_with("Error in write hook") {
        "write_hook"
    } else {
        "refused"
    };
    Refusal::Never(reason, line)
}

/// The first line of a text, not too long: behind it stand documents.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.len() {
        0..=DETAIL_BYTES => line.to_owned(),
        _ => format!("{} …", &line[..line.floor_char_boundary(DETAIL_BYTES)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(answer: serde_json::Value) -> Result<Written, Failure> {
        read(answer.to_string().as_bytes()).unwrap()
    }

    fn error(t: u32, e: u32, text: &str) -> Failure {
        written(json!({"t": t, "e": e, "r": [text], "b": []})).unwrap_err()
    }

    #[test]
    fn an_insert_is_counted() {
        let answer = json!({"t": 1, "r": [{"deleted": 0, "errors": 1, "first_error": "x", "inserted": 2,
            "replaced": 3, "skipped": 0, "unchanged": 4}], "n": []});
        let written = written(answer).unwrap();
        assert_eq!((written.errors, written.first_error.as_deref()), (1.0, Some("x")));
        assert!(written.is_of(10) && !written.is_of(9) && !written.is_of(11));
    }

    #[test]
    fn changes_are_read_however_deep_their_documents_are() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let answer = format!(
            r#"{{"t":1,"r":[{{"errors":1,"inserted":1,"changes":[{{"old_val":null,"new_val":{{"id":"a","v":{deep}}}}},
            {{"error":"no","old_val":null,"new_val":null}}]}}]}}"#
        );
        let written = read::<Written>(answer.as_bytes()).unwrap().unwrap();
        let errors: Vec<_> = written.changes.iter().map(|change| change.error.as_deref()).collect();
        assert_eq!(errors, [None, Some("no")]);
        assert!(written.tells_each(2) && !written.tells_each(3));
        assert!(!Written { errors: 2.0, ..written }.tells_each(2));
    }

    #[test]
    fn who_is_to_blame_follows_from_the_type_of_the_error() {
        let missing = "Table `k.t` does not exist.";
        assert_eq!(error(18, OP_FAILED, missing), Failure::Missing(missing.into()));
        let exists = "Database `k` already exists.";
        assert_eq!(error(18, OP_FAILED, exists), Failure::Exists(exists.into()));
        let away = "Cannot perform write: primary replica for shard [\"\", +inf) not available";
        assert_eq!(error(18, OP_FAILED, away), Failure::Server(away.into()));
        for (e, failure) in [
            (4_200_000, Failure::Server as fn(String) -> Failure),
            (1_000_000, Failure::Server),
            (PERMISSION, Failure::Forbidden),
            (QUERY_LOGIC, Failure::Query),
            (RESOURCE_LIMIT, Failure::Query),
            (5, Failure::Server),
        ] {
            assert_eq!(error(18, e, "x"), failure("x".into()), "{e}");
        }
        assert_eq!(error(16, 0, "x"), Failure::Query("x".into()));
        assert_eq!(error(17, OP_FAILED, missing), Failure::Query(missing.into()));
    }

    #[test]
    fn what_is_no_answer_is_garbled() {
        for bytes in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"t":1}"#,
            br#"{"t":1,"r":[]}"#,
            br#"{"t":1,"r":[{},{}]}"#,
            br#"{"t":1,"r":["text"]}"#,
            br#"{"t":3,"r":[{}]}"#,
            br#"{"t":18,"r":[1]}"#,
            br#"{"t":-1,"r":[{}]}"#,
        ] {
            assert!(read::<Written>(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn only_the_primary_key_of_ours_makes_a_duplicate() {
        let text = "Duplicate primary key `id`:\n{\n\t\"id\":\t\"a\"\n}\n{\n\t\"id\":\t\"a\"\n}";
        assert_eq!(refusal(text), Refusal::Duplicate);
        let never = |text: &str| match refusal(text) {
            Refusal::Never(reason, _) => reason,
            Refusal::Duplicate => "duplicate",
        };
        assert_eq!(never("Duplicate primary key `uuid`:\n{}\n{}"), "refused");
        assert_eq!(never("Error in write hook: Duplicate primary key `id`:"), "write_hook");
        assert_eq!(never("Primary key too long (max 127 characters): \"x\""), "bad_id");
        assert_eq!(
            never("String \"a\\x00\" (truncated) contains NULL byte at offset 1 in index key."),
            "bad_id"
        );
        assert_eq!(never("Array too large for disk writes (limit 100,000 elements)."), "too_large");
    }

    #[test]
    fn a_text_is_cut_to_its_first_line_and_that_is_not_too_long() {
        assert_eq!(first_line("a\nb"), "a");
        assert_eq!(first_line(""), "");
        assert_eq!(first_line(&"é".repeat(1000)).len(), DETAIL_BYTES + " …".len());
    }
}
