//! Reports as the pipeline gives them to a sink, and a sink driven as its contract says.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kaneda::protocol::{Limits, lines, parse};
use kaneda::record::batch::Range;
use kaneda::record::{Batch, Dialect, OpenChunk, Origin, Position};
use kaneda::sink::{Outcome, Sink, Verdict};

/// The batch of a text of lines, which begins `bytes_before` bytes behind the first byte dispatched.
pub(crate) fn batch(text: &str, bytes_before: u64) -> Batch {
    let origin = Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "web1".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64);
    let range = open.append(text.as_bytes());
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
            Outcome::Each(verdicts) => {
                assert_eq!(verdicts.len(), batch.len(), "one verdict a record");
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

fn part(batch: &Batch, first: usize, last: usize) -> Batch {
    let mut part = Batch::new();
    let mut start = 0;
    for range in batch.ranges() {
        let length = range.last - range.first;
        let (from, to) = (first.clamp(start, start + length), last.clamp(start, start + length));
        if from < to {
            part.push(Range {
                chunk: Arc::clone(&range.chunk),
                first: range.first + from - start,
                last: range.first + to - start,
            });
        }
        start += length;
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
