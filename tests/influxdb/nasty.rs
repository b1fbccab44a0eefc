//! Texts that try to break out of their place, written and read back.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::report::{batch, deliver, rejected};
use crate::server::Server;

const REPORTS: usize = 300;
/// Before these a backslash in a tag cannot be stored.
const TAG: &[char] = &[',', '=', ' '];
/// And these in measurements and field keys.
const NAME: &[char] = &[',', '=', ' ', '"'];
const FIRST: i64 = 1_700_000_000_000_000_000;

/// `docs/influxdb.md`, "What cannot be stored".
fn stored(text: &str, escaped: &[char]) -> String {
    let spaced = text.replace('\n', " ");
    let mut stored: Vec<char> = spaced.chars().collect();
    for at in 0..stored.len() {
        if stored[at] == '\\' && stored.get(at + 1).is_none_or(|next| escaped.contains(next)) {
            stored[at] = '/';
        }
    }
    stored.into_iter().collect()
}

fn texts(count: usize) -> Vec<String> {
    let mut runner = TestRunner::default();
    let text = "[\\\\,= \n\r\t\0\"'#:a1{}\\[\\]_é\u{1f600}]{1,10}";
    (0..count).map(|_| text.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn every_text_reads_back_as_it_was_sent_or_as_documented() {
    let Some(server) = Server::start("nasty") else { return };
    let sink = server.sink();
    let (names, keys, values, metrics) = (texts(REPORTS), texts(REPORTS), texts(REPORTS), texts(40));
    let mut lines = String::new();
    for n in 0..REPORTS {
        let time = format!("1700000000.{n:09}");
        // A key may be one of ours by chance; a letter before it says that it is not.
        let (name, key, value) = (json!(names[n]), json!(format!("k{}", keys[n])), json!(values[n]));
        let _ = writeln!(
            lines,
            r#"{{"name":{name},"metric":"tagged","value":{value},"tags":{{{key}:{value}}},"timestamp":{time}}}
{{"name":{name},"metric":"unpacked","value":{{{key}:{value}}},"timestamp":{time}}}"#
        );
    }
    for metric in &metrics {
        let _ = writeln!(lines, r#"{{"name":"n","metric":{},"value":1}}"#, json!(metric));
    }
    for part in lines.lines().collect::<Vec<_>>().chunks(100) {
        assert_eq!(rejected(&deliver(&*sink, batch(part.join("\n"))).await), []);
    }

    let tagged = server.rows("SELECT * FROM tagged").await;
    let unpacked = server.rows("SELECT * FROM unpacked").await;
    assert_eq!((tagged.len(), unpacked.len()), (REPORTS, REPORTS));
    for n in 0..REPORTS {
        let key = format!("k{}", keys[n]);
        let (tag, field) = (stored(&key, TAG), stored(&key, NAME));
        let common = [("time", json!(FIRST + n as i64)), ("name", json!(names[n])), ("host", json!("web1"))];
        let point = |more: &[(&str, Value)]| -> serde_json::Map<String, Value> {
            common.iter().chain(more).map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
        };
        assert_eq!(tagged[n], point(&[("text", json!(values[n])), (&tag, json!(stored(&values[n], TAG)))]));
        assert_eq!(unpacked[n], point(&[(&field, json!(values[n]))]));
    }

    let mut expected: BTreeSet<String> = metrics
        .iter()
        .map(|metric| match stored(metric, NAME) {
            odd if odd.starts_with(['#', '\t', '\0']) => format!("_{odd}"),
            plain => plain,
        })
        .collect();
    expected.extend(["tagged".to_owned(), "unpacked".to_owned()]);
    let shown = server.query("SHOW MEASUREMENTS").await;
    let shown: BTreeSet<String> = shown[0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, expected, "no measurement was forged");
}

#[tokio::test]
async fn extremes_are_stored_or_rejected_alone() {
    let Some(server) = Server::start("extremes") else { return };
    let sink = server.sink();
    let long = "x".repeat(60 * 1024);
    let longer = ",".repeat(40 * 1024);
    let lines = [
        format!(r#"{{"name":"{long}","metric":"gauge","value":18446744073709551615}}"#),
        format!(r#"{{"name":"n","metric":"gauge","value":1,"tags":{{"k":"{long}"}}}}"#),
        // Escaped it is longer than the server takes.
        format!(r#"{{"name":"n","metric":"gauge","value":1,"tags":{{"k":"{longer}"}}}}"#),
        format!(r#"{{"name":"n","metric":"m","value":{{"":1,"$":2,".":3,"\u0000":4,"a.b":5,"{long}":6}}}}"#),
        "first:1|g|T0.000000001".to_owned(),
        "last:1|g|T9223372035".to_owned(),
        "last:1|g|T9223372035|i:its-own".to_owned(),
        r#"{"name":"\u0000","metric":"\u0000","value":"\u0000"}"#.to_owned(),
    ];
    assert_eq!(rejected(&deliver(&*sink, batch(lines.join("\n"))).await), [(2, "unparsable")]);
    assert_eq!(server.count("gauge").await, 5);
    let numbers = server.rows("SELECT \"_\", \"$\", \".\", \"a.b\" FROM m").await;
    assert_eq!((&numbers[0]["_"], &numbers[0]["a.b"]), (&json!(1), &json!(5)));
}
