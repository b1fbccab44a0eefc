//! What holds for any bytes at all: whatever a server answers, nothing is called delivered that it does not say so of;
//! whatever JSON a report has, the server takes it.

use std::collections::HashSet;

use serde_json::Value;

use super::answer::{self, Info};
use super::connection::receive;
use super::insert::{Durability, Ids, Insert};
use super::table::Tables;
use super::value::{self, Exact, Path, TYPE};
use super::verdict::Verdicts;
use super::write::{Counters, Writer};
use crate::sink::{Outcome, Verdict};

/// Takes `bytes` for what a server sends, for an answer of it, and for a value of a report. Panics if something does
/// not hold.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    check_frames(bytes);
    let _ = answer::read::<Info>(bytes);
    let _ = answer::read::<Vec<String>>(bytes);
    for documents in [1, 3] {
        check_answer(bytes, documents);
    }
    check_value(bytes);
}

/// Answers come whole, one to each query, or not at all.
fn check_frames(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let mut rest = bytes;
    if let Ok(answers) = runtime.block_on(receive(&mut rest, 2, 7)) {
        let taken = bytes.len() - rest.len();
        assert_eq!(answers.iter().map(Vec::len).sum::<usize>(), taken - 2 * 12);
        let tokens: HashSet<&[u8]> = [&bytes[..8], &bytes[12 + first_length(bytes)..][..8]].into();
        assert_eq!(tokens, [&7_u64.to_le_bytes()[..], &8_u64.to_le_bytes()[..]].into());
    }
}

fn first_length(bytes: &[u8]) -> usize {
    bytes[8..12].iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

/// An answer that says that something was not stored is never read as if all was.
fn check_answer(bytes: &[u8], documents: usize) {
    let mut insert = Insert::new("t".into(), Ids::Client);
    for record in 0..documents {
        insert.push(record, false, |out| out.extend_from_slice(b"{}"));
    }
    let writer = Writer {
        database: "k".to_owned(),
        durability: Durability::Hard,
        tables: Tables::one("t"),
        counters: Counters::default(),
    };
    let mut verdicts = Verdicts::new(documents);
    let Ok(undecided) = writer.judge(&insert, 0..documents, bytes, &mut verdicts) else { return };
    let said: Option<Value> = serde_json::from_slice(bytes).ok();
    let count = |name: &str| said.as_ref().and_then(|said| said["r"][0][name].as_f64());
    match verdicts.outcome() {
        Outcome::Delivered => {
            assert!(undecided.is_none());
            assert!(said.is_none() || count("errors").unwrap_or_default() <= 0.0);
        }
        Outcome::Each(each) => {
            assert_eq!(each.len(), documents);
            assert!(each.iter().all(|verdict| matches!(verdict, Verdict::Rejected(_))));
        }
        Outcome::Retry(_) | Outcome::Refused(_) => {}
    }
}

/// What is written is JSON that says the same, with no name twice and none that the server reads as something else.
fn check_value(bytes: &[u8]) {
    let Ok(sent) = serde_json::from_slice::<Value>(bytes) else { return };
    let (mut once, mut twice, mut exact) = (Vec::new(), Vec::new(), Exact::default());
    value::write(bytes.trim_ascii(), &Path::of("v"), &mut exact, &mut once);
    value::write(&once, &Path::of("v"), &mut exact, &mut twice);
    assert_eq!(once, twice, "what is right stays as it is");
    let written: Value = serde_json::from_slice(&once).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(shape(&written), shape(&sent));
    assert!(!String::from_utf8_lossy(&once).contains(&format!("\"{TYPE}\":")));
}

/// How many members, elements and other values there are.
fn shape(value: &Value) -> (usize, usize, usize) {
    let sum = |sum: (usize, usize, usize), value| {
        let more = shape(value);
        (sum.0 + more.0, sum.1 + more.1, sum.2 + more.2)
    };
    match value {
        Value::Object(members) => members.values().fold((members.len(), 0, 0), sum),
        Value::Array(elements) => elements.iter().fold((0, elements.len(), 0), sum),
        _ => (0, 0, 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_hold() {
        let frame = |token: u64, text: &str| {
            [&token.to_le_bytes()[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
        };
        check(&[frame(8, "b"), frame(7, "aa")].concat());
        for text in [
            r#"{"t":1,"r":[{"inserted":3,"errors":0}]}"#,
            r#"{"t":1,"r":[{"inserted":2,"errors":1,"first_error":"x"}]}"#,
            r#"{"t":1,"r":[{"errors":1,"first_error":"Duplicate primary key `id`:"}]}"#,
            r#"{"t":1,"r":[{"errors":1}]}"#,
            r#"{"t":18,"e":4100000,"r":["x"]}"#,
            r#"[{"a":1,"\u0061":2,"$reql_type$":[1e308,-0,123456789012345678901]},"$reql_type$"]"#,
        ] {
            check(text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_json_holds(text in r#"([\[\]{},:0-9eE.+-]|"a"|"\$reql_type\$"|"t"|"r"|"errors"|null){0,30}"#) {
            check(text.as_bytes());
        }

        #[test]
        fn any_bytes_hold(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            check(&bytes);
        }
    }
}
