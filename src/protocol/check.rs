//! What holds for any bytes at all: the invariant that the fuzzer looks for a breach of.

use super::{Class, Emit, Limits, PAD, lines, parse, skip_bom, usual};
use crate::record::document::{self, Envelope};
use crate::record::{Dialect, Host, Identity, LineId, OwnId, Received, Record, Text, report};

/// Reads `bytes` as a stream in both dialects and panics if a promise of this module is broken.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let limits = Limits { max_tags: 8, max_json_depth: 8, ..Limits::default() };
    let body = &bytes[skip_bom(bytes)..];
    let mut next = 0;
    for line in lines(body) {
        assert_eq!(line.offset, next, "the lines are next to each other");
        next = line.offset + line.bytes.len();
        next +=
            usize::from(body.get(next) == Some(&b'\r') && matches!(body.get(next + 1), None | Some(b'\n')));
        next += usize::from(body.get(next) == Some(&b'\n'));
        if line.class() != Class::Blank {
            check_line(line.bytes, Dialect::Kaneda, &limits);
            check_line(line.bytes, Dialect::Statsd, &limits);
        }
    }
    assert_eq!(next, body.len(), "no byte is outside of the lines");
}

fn check_line(line: &[u8], dialect: Dialect, limits: &Limits) {
    let mut records = 0;
    let mut document = Vec::new();
    let parsed = parse(line, dialect, limits, &mut |record| {
        assert_eq!(record.index, records, "records are numbered in their order");
        assert!(
            !record.name.is_empty() && !record.kind.text().is_empty(),
            "every record has a name and a kind"
        );
        assert!(record.rate > 0.0 && record.rate <= 1.0, "a rate is in (0, 1]");
        assert!(record.timestamp.is_none_or(|time| time.nanos > 0 && time.digits <= 9), "a time is in range");
        assert!(record.id.is_none_or(|id| (1..=127).contains(&id.decode().len())), "an id fits every store");
        records += 1;
        document.clear();
        document::write(&record, &document::Envelope::default(), &mut document);
        let read: serde_json::Value = serde_json::from_slice(&document).expect("a document is valid JSON");
        assert_eq!(read["name"], *record.name.decode(), "a document holds the name");
        assert!(!document.contains(&b'\n') && !document.contains(&b'\r'), "a document is one line");
        check_report(&record);
    });
    check_usual(line, dialect, limits);
    match parsed {
        Ok(_) => assert!(records > 0, "a line that is taken says something"),
        Err(error) => assert!(error.offset as usize <= line.len(), "a fault is within its line"),
    }
}

/// A record that is written as a report in JSON reads back as one with the same document.
fn check_report(record: &Record<'_>) {
    let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
    let received = Received {
        record: *record,
        identity: record.id.map_or(own, Identity::Client),
        time: record.timestamp.map_or(1_795_374_000_120_000_000, |time| time.nanos),
        host: record.host.map_or(Host::Named("h"), Host::Sent),
        position: 0,
        source: "s",
    };
    let (mut line, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    report::write(&received, &mut line);
    let id = record.id.map_or("o".into(), |id| id.decode());
    let host = Some(record.host.unwrap_or(Text::plain(b"h")));
    let envelope = Envelope { timestamp: Some(received.time), host, id: Some(&id) };
    document::write(record, &envelope, &mut before);
    let parsed = parse(&line, Dialect::Kaneda, &Limits::NONE, &mut |again| {
        document::write(&again, &Envelope::default(), &mut after);
        let digits = again.timestamp.map(|time| time.digits);
        assert_eq!(digits, Some(record.timestamp.map_or(9, |time| time.digits)), "a time keeps its digits");
    });
    let text = String::from_utf8_lossy(&line);
    assert!(parsed.is_ok_and(|notes| notes.ignored == 0), "a report that was written is taken whole: {text}");
    assert_eq!(String::from_utf8_lossy(&after), String::from_utf8_lossy(&before), "of {text}");
}

/// A line that is read as a usual one says what the grammar says it does.
fn check_usual(line: &[u8], dialect: Dialect, limits: &Limits) {
    struct One<'a>(Option<Record<'a>>);
    impl<'a> Emit<'a> for One<'a> {
        fn emit(&mut self, record: &Record<'a>) {
            assert_eq!(self.0.replace(*record), None, "a usual line says one record");
        }
    }

    if line.contains(&b'\n') {
        return;
    }
    let block = [line, b"\n", &[b'\n'; PAD]].concat();
    let mut said = One(None);
    let length = usual(&block, dialect, limits, &mut said);
    let (line, _) = super::first(&block);
    let mut records = Vec::new();
    let parsed = parse(line.bytes, dialect, limits, &mut |record| records.push(record));
    match length {
        Some(length) => {
            assert_eq!(length, line.bytes.len() + 1, "a usual line ends at its LF");
            assert_eq!(parsed.map(|notes| notes.ignored), Ok(0), "a usual line is right");
            assert!(records.iter().eq(&said.0), "a usual line says what any line does");
        }
        None => assert_eq!(said.0, None, "a line that was not read says nothing"),
    }
}
