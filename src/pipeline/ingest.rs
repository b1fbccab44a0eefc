//! The ingest side: bytes from a source become lines, lines become records, records fill a chunk.

#[cfg(feature = "queue")]
mod burst;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::info;

use super::dispatch::Dispatch;
use super::ledger::{LineLedger, LineTerms};
use crate::protocol::{self, Class, Emit, Error, Limits};
use crate::record::open::{self, Table};
use crate::record::usual::Usual;
use crate::record::{Chunk, OpenChunk, Origin, Record};
use crate::status::State;
use crate::telemetry::{Counter, Seldom};

// With less behind its lines, an open chunk would have its last ones read by the slow way.
const _: () = assert!(open::PAD >= protocol::PAD);

/// Bytes of a refused line that the log shows.
const SAMPLE_BYTES: usize = 200;

/// What the intakes of all sources share.
#[derive(Debug)]
pub struct Ingest {
    /// Where chunks go.
    pub dispatch: Arc<Dispatch>,
    /// What became of the lines.
    pub lines: LineLedger,
    /// What a line may cost.
    pub limits: Limits,
    /// How long `!sync` and HTTP wait for a receipt.
    pub sync_timeout: Duration,
    /// Dead letters that were handed in again.
    pub replayed: Counter,
    clock: Clock,
    refusals: Seldom,
}

impl Ingest {
    /// Ingest into `dispatch`.
    pub fn new(dispatch: impl Into<Arc<Dispatch>>, limits: Limits, sync_timeout: Duration) -> Arc<Self> {
        Arc::new(Ingest {
            dispatch: dispatch.into(),
            lines: LineLedger::default(),
            limits,
            sync_timeout,
            replayed: Counter::default(),
            clock: Clock::default(),
            refusals: Seldom::default(),
        })
    }

    /// The first nanosecond of `bytes` that are read now.
    pub(super) fn now(&self, bytes: usize) -> i64 {
        self.clock.read(bytes)
    }

    /// Why a receipt is not complete in time, for who waited.
    pub(super) fn why_late(&self) -> String {
        let waiting = self.dispatch.lanes().iter().find_map(|lane| match lane.health.condition.get() {
            (State::Retrying, Some(error)) => Some(format!("; sink {} is retrying: {error}", lane.name)),
            _ => None,
        });
        format!("not stored within {:?}, but kept{}", self.sync_timeout, waiting.unwrap_or_default())
    }
}

/// Gives each byte that comes in a nanosecond of its own: a read's time is at least the previous read's plus its
/// bytes, whichever source read it.
#[derive(Debug, Default)]
struct Clock(AtomicI64);

impl Clock {
    fn read(&self, bytes: usize) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
        let later = |free: i64| Some(now.max(free).saturating_add(bytes as i64));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later) {
            Ok(free) | Err(free) => now.max(free),
        }
    }
}

/// Fills chunks with the lines of one source or connection.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) ingest: Arc<Ingest>,
    pub(super) open: OpenChunk,
    pub(super) counted: LineTerms,
    /// The nanosecond of the next byte.
    time: i64,
    /// The next byte begins a read.
    is_new_read: bool,
    #[cfg(feature = "queue")]
    burst: burst::Burst,
    refused: Vec<Range<usize>>,
}

/// A line that is not blank, as `take` met it.
pub(super) struct Seen {
    /// Its number among the lines taken in this call, from 0.
    pub(super) number: u64,
    /// What came of it.
    pub(super) result: Result<(), Error>,
}

/// Puts the records of the line at `at` into the table.
struct Push<'c> {
    table: &'c mut Table,
    bytes: &'c [u8],
    at: usize,
}

impl<'a> Emit<'a> for Push<'_> {
    #[inline(always)]
    fn emit(&mut self, record: &Record<'a>) {
        self.table.push(record, self.bytes, self.at);
    }

    #[inline(always)]
    fn usual(&mut self, usual: &Usual<'a>) {
        self.table.push_usual(usual, self.bytes, self.at);
    }
}

impl Intake {
    pub(super) fn new(ingest: Arc<Ingest>, origin: Origin) -> Self {
        Intake {
            ingest,
            open: OpenChunk::new(origin),
            counted: LineTerms::default(),
            time: 0,
            is_new_read: true,
            #[cfg(feature = "queue")]
            burst: burst::Burst::default(),
            refused: Vec::new(),
        }
    }

    /// `bytes` were read now.
    pub(super) fn begin_read(&mut self, bytes: usize) {
        self.time = self.ingest.now(bytes);
        self.is_new_read = true;
    }

    /// Takes whole lines into the open chunk.
    #[inline]
    pub(super) fn take(&mut self, lines: &[u8], mut each: impl FnMut(Seen)) {
        if self.is_new_read || self.open.is_empty() {
            self.open.begin_read(self.time);
            self.is_new_read = false;
        }
        let block = self.open.append(lines);
        self.time += block.len() as i64;
        let dialect = self.open.origin().dialect;
        let (bytes, table) = self.open.parts();
        let is_utf8 = is_utf8(&bytes[block.clone()]);
        let counted = &mut self.counted;
        let limits = &self.ingest.limits;
        let before = table.len();
        let mut at = block.start;
        for number in 0.. {
            if at == block.end {
                break;
            }
            counted.received += 1;
            // What is not UTF-8 is looked at line by line.
            if is_utf8
                && let Some(length) =
                    protocol::usual(&bytes[at..], dialect, limits, &mut Push { table, bytes, at })
            {
                counted.accepted += 1;
                each(Seen { number, result: Ok(()) });
                at += length;
                continue;
            }
            let (line, length) = protocol::first(&bytes[at..block.end]);
            let mark = table.mark();
            let parsed = match line.class() {
                Class::Report => {
                    protocol::parse_to(line.bytes, dialect, limits, &mut Push { table, bytes, at })
                }
                Class::Blank | Class::Ping | Class::Sync => {
                    counted.skipped += 1;
                    at += length;
                    continue;
                }
            };
            let result = match parsed {
                Ok(notes) => {
                    counted.accepted += 1;
                    counted.ignored += u64::from(notes.ignored);
                    counted.not_utf8 += u64::from(!is_utf8 && str::from_utf8(line.bytes).is_err());
                    Ok(())
                }
                Err(error) => {
                    table.rewind(mark);
                    counted.rejected[error.reason as usize] += 1;
                    self.refused.push(at..at + line.bytes.len());
                    say_refused(&self.ingest.refusals, line.bytes, error);
                    Err(error)
                }
            };
            each(Seen { number, result });
            at += length;
        }
        counted.records += (table.len() - before) as u64;
        for line in self.refused.drain(..) {
            self.open.blank(line);
        }
    }

    /// Closes the chunk, and adds what was counted to the daemon's terms.
    pub(super) fn close(&mut self) -> Option<Chunk> {
        let chunk = self.open.close();
        self.ingest.lines.take(&mut self.counted);
        chunk
    }
}

/// Nearly all that comes is ASCII, which a vectorised look finds sooner.
#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || str::from_utf8(bytes).is_ok()
}

#[cold]
fn say_refused(seldom: &Seldom, line: &[u8], error: Error) {
    if let Some(unsaid) = seldom.tick() {
        let text = String::from_utf8_lossy(&line[..line.len().min(SAMPLE_BYTES)]);
        let Error { reason, offset } = error;
        info!(code = reason.code(), offset, line = ?text, unsaid, "refused a line: {reason}");
    }
}

/// The first whole lines of `lines` that an open chunk with `used` bytes has room for, but at least one.
pub(super) fn piece(lines: &[u8], room: usize) -> &[u8] {
    if lines.len() <= room {
        return lines;
    }
    let end = match memchr::memrchr(b'\n', &lines[..room]) {
        Some(end) => end + 1,
        None => memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
    };
    &lines[..end]
}
