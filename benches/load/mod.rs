//! What the benches of the stores behind a network share: the batches they send, and what is spent on them.

mod meter;

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kaneda::protocol::{Limits, lines, parse};
use kaneda::record::batch::Range;
use kaneda::record::{Batch, Dialect, OpenChunk, Origin};

pub(crate) use meter::{Meter, Spent};

/// The default of `batch_max_records`.
pub(crate) const BATCH: usize = 5000;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A batch of counters, gauges and timings with three tags, from 50 hosts.
pub(crate) fn batch() -> Result<Batch> {
    let mut text = String::new();
    for n in 0..BATCH {
        let _ = writeln!(
            text,
            "shop.checkout.step{}:{}.{}|{}|#env:prod,region:eu-{},service:web|h:host{}",
            n % 40,
            n,
            n % 10,
            ["c", "g", "ms"][n % 3],
            n % 4,
            n % 50
        );
    }
    let origin = Origin { source: "bench".into(), dialect: Dialect::Kaneda, host: "bench".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64);
    let range = open.append(text.as_bytes());
    let (bytes, table) = open.parts();
    for line in lines(&bytes[range]) {
        parse(line.bytes, Dialect::Kaneda, &Limits::default(), &mut |record| {
            table.push(&record, bytes, line.offset)
        })
        .map_err(|error| format!("{error:?}"))?;
    }
    let chunk = open.close().ok_or("no record")?;
    let last = chunk.len();
    let mut batch = Batch::new();
    batch.push(Range { chunk: Arc::new(chunk), first: 0, last });
    Ok(batch)
}
