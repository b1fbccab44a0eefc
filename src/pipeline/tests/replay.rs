//! Letters that are handed in again: what comes of each, and that it is the very record.

use serde_json::value::RawValue;

use super::super::letter::document;
use super::super::replay::{Fate, Outcome, read, replay};
use super::*;
use crate::record::document::{Envelope, write};
use crate::record::{Chunk, Form, Host, OpenChunk, Text, Value};

/// The examples of every form of report.
const PROTOCOL: &str = include_str!("../../../protocol.md");

/// What a store knows of a record.
#[derive(Debug, PartialEq)]
struct Stored {
    document: String,
    /// A number's, if JSON has one.
    spelling: Option<Vec<u8>>,
    is_own: bool,
    time: i64,
    position: u64,
    receive_time: i64,
}

fn stored(chunk: &Chunk, index: usize) -> Stored {
    let received = chunk.received(index);
    let (id, is_own) = match received.identity {
        Identity::Client(id) => (id.decode().into_owned(), false),
        Identity::Own(id) => (id.to_string(), true),
    };
    let host = match received.host {
        Host::Sent(host) => host.decode().into_owned(),
        Host::Named(host) => host.to_owned(),
        Host::Peer(peer) => peer.to_string(),
    };
    let host = Text { raw: host.as_bytes(), form: Form::Plain };
    let envelope = Envelope { timestamp: Some(received.time), host: Some(host), id: Some(&id) };
    let mut document = Vec::new();
    write(&received.record, &envelope, &mut document);
    Stored {
        document: String::from_utf8(document).unwrap(),
        spelling: match received.record.value {
            Value::Number(_, sent) => {
                Some(sent.to_vec()).filter(|sent| serde_json::from_slice::<&RawValue>(sent).is_ok())
            }
            _ => None,
        },
        is_own,
        time: received.time,
        position: received.position,
        receive_time: chunk.receive_time(index),
    }
}

fn letter(chunk: &Arc<Chunk>, index: usize) -> Vec<u8> {
    let rejection = Arc::new(no("bad"));
    let mut line = Vec::new();
    let letter = Letter { chunk: Arc::clone(chunk), index, rejection };
    document::write("store", &letter, &mut line, &mut Vec::new());
    line
}

#[tokio::test(start_paused = true)]
async fn a_letter_gives_the_very_record_again_for_every_report_of_the_protocol() {
    let rig = Rig::new(&Store::with([]), Config::default());
    let mut records = 0;
    for dialect in [Dialect::Kaneda, Dialect::Statsd] {
        for line in PROTOCOL.lines().filter_map(|line| line.strip_prefix("> ")) {
            let not_utf8 = line.replace("api", "\u{1}\"").into_bytes();
            let not_utf8 = [&not_utf8[..], b"|h:\xff\xfe"].concat();
            for line in [line.as_bytes(), &not_utf8] {
                let mut intake = ingest::Intake::new(Arc::clone(&rig.ingest), Origin { dialect, ..origin() });
                intake.begin_read(line.len() + 1);
                intake.open.begin_peer("10.0.0.7".parse().unwrap());
                intake.take(line, |_| {});
                let Some(mut chunk) = intake.close() else { continue };
                chunk.set_position(crate::record::Position { sequence: 1, bytes_before: 1_000_000_007 });
                let chunk = Arc::new(chunk);
                for index in 0..chunk.len() {
                    let first = letter(&chunk, index);
                    let again = Arc::new(read(&rig.ingest, &first, false).unwrap());
                    let shown = String::from_utf8_lossy(&first);
                    assert_eq!(again.len(), 1, "{shown}");
                    assert_eq!(again.target(), Some("store"));
                    let (mut found, expected) = (stored(&again, 0), stored(&chunk, index));
                    found.spelling = found.spelling.filter(|_| expected.spelling.is_some());
                    assert_eq!(found, expected, "{shown}");
                    // Refused again it is the same letter.
                    let (first, again) = (first.split_at(40).1, letter(&again, 0));
                    assert_eq!(String::from_utf8_lossy(again.split_at(40).1), String::from_utf8_lossy(first));
                    records += 1;
                }
            }
        }
    }
    assert!(records > 200, "{records}");
    rig.end(Duration::from_secs(1)).await;
}

/// A letter of a report with an id of ours.
fn of(line: &str, id: &str) -> Vec<u8> {
    let mut open = OpenChunk::new(origin());
    open.begin_read(1);
    open.append(line.as_bytes());
    open.set_line_origin(crate::record::LineOrigin { at: 0, id: id.into(), time: None, position: None });
    let (bytes, table) = open.parts();
    crate::protocol::parse(&bytes[..line.len()], Dialect::Kaneda, &Limits::default(), &mut |record| {
        table.push(&record, bytes, 0);
    })
    .unwrap();
    letter(&Arc::new(open.close().unwrap()), 0)
}

fn outcomes(fates: &[Fate]) -> Vec<(usize, Outcome)> {
    fates.iter().map(|fate| (fate.line, fate.outcome)).collect()
}

#[tokio::test(start_paused = true)]
async fn each_letter_has_a_fate_of_its_own() {
    let store = Store::with([Step::Each]);
    let rig = Rig::new(&store, Config::default());
    let letters = [of("a:1|c", "1"), b"\nnonsense\n".to_vec(), of("r:1|c", "2"), of("b:1|c", "3")].concat();
    let fates = replay(&rig.ingest, &letters, false).await;
    assert_eq!(
        outcomes(&fates),
        [(1, Outcome::Delivered), (3, Outcome::Unreadable), (4, Outcome::Rejected), (5, Outcome::Delivered)]
    );
    assert_eq!(fates[2].why.as_deref(), Some("sink store rejected a report: bad"));
    assert_eq!((*rig.letters.0.lock().unwrap()).as_slice(), ["r"]);
    assert_eq!(rig.ingest.replayed.get(), 3);
    // Once more: what is stored is not stored again.
    replay(&rig.ingest, &letters, false).await;
    assert_eq!(store.values(), ["a", "b", "r"]);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_without_any_id_is_no_letter() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    let letter =
        String::from_utf8(of("a:1|c", "1")).unwrap().replace(r#""own_id":true"#, r#""own_id":false"#);
    for id in ["", r#","id":null"#] {
        let letter = letter.replace(r#","id":"1""#, id);
        let fates = replay(&rig.ingest, letter.as_bytes(), false).await;
        assert_eq!(outcomes(&fates), [(1, Outcome::Unreadable)], "{letter}");
        assert_eq!(fates[0].why.as_deref(), Some("`report` has no `id`, and `own_id` is false"));
    }
    assert_eq!(rig.lane.ledger.terms().accepted, 0);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_goes_only_to_the_sink_that_it_names_unless_all_are_asked_for() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    let other =
        String::from_utf8(of("a:1|c", "1")).unwrap().replace(r#""sink":"store""#, r#""sink":"other""#);
    let fates = replay(&rig.ingest, other.as_bytes(), false).await;
    assert_eq!(outcomes(&fates), [(1, Outcome::UnknownSink)]);
    assert_eq!(rig.lane.ledger.terms().accepted, 0);
    let fates = replay(&rig.ingest, other.as_bytes(), true).await;
    assert_eq!(outcomes(&fates), [(1, Outcome::Delivered)]);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_late_and_what_is_lost_is_dropped() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    let fates = replay(&rig.ingest, &of("a:1|c", "1"), false).await;
    assert_eq!(outcomes(&fates), [(1, Outcome::Late)]);
    assert!(fates[0].why.as_deref().unwrap().starts_with("not stored within 10s, but kept"), "{fates:?}");
    let ingest = Arc::clone(&rig.ingest);
    let dropped = tokio::spawn(async move { replay(&ingest, &of("b:1|c", "2"), false).await });
    tokio::task::yield_now().await;
    assert_eq!(rig.end(Duration::from_secs(1)).await, 2);
    assert_eq!(outcomes(&dropped.await.unwrap()), [(1, Outcome::Dropped)]);
}

#[tokio::test(start_paused = true)]
async fn without_room_or_at_the_end_nothing_is_taken() {
    let store = Store::with([Step::Hang]);
    let small = unit::Size::from_bytes(2000);
    let rig = Rig::new(&store, Config { ring_bytes: small, backlog_bytes: small, ..Config::default() });
    for _ in 0..50 {
        rig.send("a:1|c");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let before = rig.lane.ledger.terms();
    let fates = replay(&rig.ingest, &of("b:1|c", "1"), false).await;
    assert_eq!(outcomes(&fates), [(1, Outcome::NotTaken)]);
    rig.ingest.dispatch.close();
    let fates = replay(&rig.ingest, &of("b:1|c", "1"), false).await;
    assert_eq!(outcomes(&fates), [(1, Outcome::NotTaken)]);
    assert_eq!(rig.lane.ledger.terms().accepted, before.accepted);
    store.go.notify_one();
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}
