//! Reports as the pipeline gives them to a sink, and a sink driven as its contract says.
//!
//! Used as `#[path = "../store/report.rs"] mod report;`.

#![allow(dead_code, reason = "each store's tests use some of it")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kaneda::protocol::{Limits, lines, parse};
use kaneda::record::batch::Range;
use kaneda::record::{Batch, Dialect, OpenChunk, Origin, Position};
use kaneda::sink::{Outcome, Sink, Verdict};

/// The batch of a text of lines, received now, which begins at the first byte dispatched.
pub(crate) fn batch(text: impl AsRef<[u8]>) -> Batch {
    batch_behind(0, text)
}

/// The same, so many bytes behind the first one dispatched.
pub(crate) fn batch_behind(bytes_before: u64, text: impl AsRef<[u8]>) -> Batch {
    let text = text.as_ref();
    let origin = Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "web1".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64);
    let range = open.append(text);
    let (bytes, table) = open.parts();
    for line in lines(&bytes[range]) {
        let parsed = parse(line.bytes, Dialect::Kaneda, &Limits::default(), &mut |record| {
            table.push(&record, bytes, line.offset);
        });
        parsed.unwrap_or_else(|error| panic!("{}: {error:?}", String::from_utf8_lossy(line.bytes)));
    }
    let mut chunk = open.close().expect("a record");
    chunk.set_position(Position { sequence: 0, bytes_before });
    let last = chunk.len();
    let mut batch = Batch::new();
    batch.push(Range { chunk: Arc::new(chunk), first: 0, last });
    batch
}

/// Sends a batch until each record is decided: what is refused is split, what is to be tried again is.
pub(crate) async fn deliver(sink: &dyn Sink, batch: Batch) -> Vec<Verdict> {
    let mut tries = 0;
    loop {
        match sink.send(batch.clone()).await {
            Outcome::Delivered => return vec![Verdict::Delivered; batch.len()],
            Outcome::Each(mut verdicts) => {
                assert_eq!(verdicts.len(), batch.len(), "one verdict a record");
                for (place, verdict) in verdicts.iter_mut().enumerate() {
                    if let Verdict::Retry(_) = verdict {
                        let alone = part(&batch, place, place + 1);
                        *verdict = Box::pin(deliver(sink, alone)).await.remove(0);
                    }
                }
                return verdicts;
            }
            Outcome::Refused(rejection) if batch.len() == 1 => return vec![Verdict::Rejected(rejection)],
            Outcome::Refused(_) => {
                let middle = batch.len() / 2;
                let mut verdicts = Box::pin(deliver(sink, part(&batch, 0, middle))).await;
                verdicts.extend(Box::pin(deliver(sink, part(&batch, middle, batch.len()))).await);
                return verdicts;
            }
            Outcome::Retry(why) => {
                tries += 1;
                assert!(tries < 100, "{why}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Records `first..last` of a batch.
pub(crate) fn part(batch: &Batch, first: usize, last: usize) -> Batch {
    let mut part = Batch::new();
    for (chunk, index) in batch.places().skip(first).take(last - first) {
        part.push(Range { chunk: Arc::clone(chunk), first: index, last: index + 1 });
    }
    part
}

/// The places of the records that were rejected, with the reason.
pub(crate) fn rejected(verdicts: &[Verdict]) -> Vec<(usize, &'static str)> {
    verdicts
        .iter()
        .enumerate()
        .filter_map(|(index, verdict)| match verdict {
            Verdict::Rejected(rejection) => Some((index, rejection.reason)),
            Verdict::Delivered => None,
            Verdict::Retry(why) => panic!("undecided: {why}"),
        })
        .collect()
}

/// Sends lines of which every one has to be stored.
pub(crate) async fn store(sink: &dyn Sink, lines: impl AsRef<[u8]>) {
    let verdicts = deliver(sink, batch(lines)).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Delivered), "{verdicts:?}");
}

/// What the sink waits for, sending lines.
pub(crate) async fn last_error(sink: &dyn Sink, lines: &str) -> String {
    match sink.send(batch(lines)).await {
        Outcome::Retry(why) => why,
        Outcome::Each(verdicts) => match verdicts.first() {
            Some(Verdict::Retry(why)) => why.clone(),
            _ => panic!("{verdicts:?}"),
        },
        other => panic!("{other:?}"),
    }
}
