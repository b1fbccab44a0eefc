//! A message that is taken as it came is taken as if it had been read first.

use std::ops::Range;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::pipeline::Dispatch;
use crate::pipeline::ledger::LineTerms;
use crate::protocol::{self, Limits};
use crate::record::document::{self, Envelope};
use crate::record::{Dialect, Record};
use crate::source::queue::from_object;
use crate::telemetry::Counter;

fn ingest() -> Arc<Ingest> {
    let limits = Limits { max_tags: 3, max_json_depth: 6, ..Limits::default() };
    Ingest::new(Dispatch::new(Vec::new(), Arc::default()), limits, Duration::ZERO)
}

fn queue(ingest: &Arc<Ingest>) -> Queue {
    let origin = Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "box".into() };
    Queue::new(Arc::clone(ingest), origin, Arc::default(), Letters::default())
}

/// What a queue has made of its messages.
#[derive(Debug, PartialEq)]
struct Made {
    lines: LineTerms,
    /// messages, taken, unread
    counts: [u64; 3],
    documents: Vec<String>,
}

impl Queue {
    /// What the source of ZeroMQ does with a message that was not taken as it came.
    fn read(&mut self, message: &[u8]) -> Took {
        match from_object(message) {
            Ok(line) => self.message(&Message { line: &line, id: None, received: None }),
            Err(error) => {
                let reason = error.to_string();
                self.unread(&Unread { bytes: message, id: None, code: error.code(), reason: &reason })
            }
        }
    }

    /// What was made of the messages, and the nanoseconds that their bytes have. Reading the lines again gives the same
    /// documents.
    fn end(mut self) -> (Made, Vec<Range<i64>>) {
        let counters = &self.counters.queue;
        let counts = [&counters.messages, &counters.taken, &counters.unread].map(Counter::get);
        let lines = self.intake.counted.clone();
        let limits = self.intake.ingest.limits;
        let Some(chunk) = self.intake.close() else {
            return (Made { lines, counts, documents: Vec::new() }, Vec::new());
        };
        let documents: Vec<_> =
            (0..chunk.len()).map(|index| document(&chunk.received(index).record)).collect();
        let mut again = Vec::new();
        for line in protocol::lines(chunk.bytes()).filter(|line| !line.bytes.is_empty()) {
            let emit = &mut |record: Record<'_>| again.push(document(&record));
            assert!(protocol::parse(line.bytes, Dialect::Kaneda, &limits, emit).is_ok());
        }
        assert_eq!(again, documents);
        let reads = chunk.reads();
        let ends = reads.iter().skip(1).map(|next| next.at).chain([chunk.bytes().len() as u32]);
        let times = reads.iter().zip(ends).map(|(read, end)| read.time..read.time + i64::from(end - read.at));
        let times = times.collect();
        (Made { lines, counts, documents }, times)
    }
}

/// With the id that the client gave.
fn document(record: &Record<'_>) -> String {
    let mut out = Vec::new();
    let id = record.id.map(|id| id.decode());
    let envelope =
        Envelope { timestamp: record.timestamp.map(|time| time.nanos), host: record.host, id: id.as_deref() };
    document::write(record, &envelope, &mut out);
    // White space between the parts of a value is kept as it was sent, or not.
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    value.to_string()
}

/// Messages like those that were recorded, and some that are none.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let file = format!("{}/tests/data/queue/zmq.jsonl", env!("CARGO_MANIFEST_DIR"));
    let recorded: Vec<String> = std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", "\"", "\\", ",", ":", " ", "\n", "\r", "\t", "\u{c}", "\u{feff}", "é", "\\u0061",
            "\\ud83d", "\\\"", "\\b", "1", "-", "1e999", "00", "NaN", "Infinity", "null", "true", "\"tags\":", "\"tags\": ",
            "\"tags\":[1]", "\"ta\\u0067s\": [1],", "\"tags\":\"x\",", "\"tags\":{},", "\"tags\":[\"a\",\"b\"],",
            "\"host\":\"h\",", "\"x\\\\\":1,", "\"timestamp\":5,", "\"rate\":0.5,", "\"id\":\"1\",", "[[[[[[", "]]]]]]",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, piece.clone()), 0..4);
    let changed = (prop::sample::select(recorded), edits).prop_map(|(text, edits)| {
        let mut message = text.into_bytes();
        for (at, removed, piece) in edits {
            let at = at.index(message.len() + 1);
            let end = message.len().min(at + removed);
            message.splice(at..end, piece);
        }
        message
    });
    let made_up = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => changed, 1 => made_up]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_as_it_came_is_what_it_is_when_it_is_read(
        messages in prop::collection::vec(message(), 1..8),
    ) {
        let ingest = ingest();
        // From here on time goes on by bytes alone: what one has not claimed is the other's.
        ingest.now(1 << 40);
        let (mut quick, mut slow) = (queue(&ingest), queue(&ingest));
        for (at, message) in messages.iter().enumerate() {
            if at % 3 == 0 {
                quick.begin_read();
            }
            let took = quick.as_it_came(message).unwrap_or_else(|| quick.read(message));
            prop_assert_eq!(took, slow.read(message), "{}", message.escape_ascii());
        }
        let ((quick, mut times), (slow, others)) = (quick.end(), slow.end());
        prop_assert_eq!(quick, slow);
        times.extend(others);
        times.sort_by_key(|time| time.start);
        prop_assert!(times.is_sorted_by(|one, next| one.end <= next.start), "no nanosecond is two bytes': {times:?}");
    }
}

#[test]
fn most_recorded_messages_are_taken_as_they_came() {
    let file = format!("{}/tests/data/queue/zmq.jsonl", env!("CARGO_MANIFEST_DIR"));
    let messages = std::fs::read_to_string(file).unwrap();
    let mut queue = queue(&ingest());
    let refused: Vec<_> =
        messages.lines().filter(|message| queue.as_it_came(message.as_bytes()).is_none()).collect();
    assert!(refused.iter().all(|message| message.contains("NaN") || message.contains("Infinity")));
    assert_eq!(refused.len(), 2);
    assert_eq!(queue.end().0.counts, [14, 14, 0]);
}
