//! Where records go out. A sink is *encode* and *send*; all else is done around it.

#[cfg(feature = "remote")]
pub mod address;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
#[cfg(feature = "influxdb")]
pub mod influxdb;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "mongodb")]
pub mod mongodb;
pub mod null;
#[cfg(feature = "rethinkdb")]
pub mod rethinkdb;
#[cfg(feature = "remote")]
pub mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "log", feature = "sqlite"))]
mod thread;

use std::pin::Pin;

use crate::record::Batch;

/// A store, or what stands for one.
///
/// The drain of the pipeline drives it. It builds a batch when `flush_interval` has passed or a size limit is
/// reached, calls [`Sink::send`], and waits for the answer; with `concurrency` above 1 it has so many calls
/// under way at once. What the answer causes is said at [`Outcome`] and [`Verdict`]. Each record of a batch is
/// decided exactly once, but may be sent again before: after an outage, or when an answer was lost although the
/// store had committed. So a store that has ids must ignore an id of ours that is there already, and let a
/// client's id replace.
///
/// A future of `send` is never dropped before it is done, except at the end of `shutdown_timeout`. A sink bounds
/// its own attempts (`timeout`); it never retries, splits, counts or drops by itself.
pub trait Sink: Send + Sync + 'static {
    /// Stores `batch`, or says why not.
    fn send(&self, batch: Batch) -> Answer<'_, Outcome>;

    /// Tries whether the store is reachable, lets us in and may be written to; for `kaneda check --connect`.
    /// The error is a sentence that says what to do.
    fn probe(&self) -> Answer<'_, Result<(), String>>;

    /// Where records go, for people: a file, or an address without its login. Empty: nowhere.
    fn place(&self) -> String {
        String::new()
    }

    /// What "delivered" means here, as a fragment of a sentence: where a record is then, and what it survives. Empty:
    /// nothing is kept.
    fn durability(&self) -> String {
        String::new()
    }

    /// Opens again what was opened by name: SIGHUP, after a log was rotated.
    fn reopen(&self) {}

    /// What it counts beside the verdicts, such as reports that a retention deleted: `words_like_this`, each with its
    /// total since the start.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The last call: no `send` is under way, none follows. What a sink holds open is closed when it returns.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {})
    }
}

/// What a sink's method returns: one allocation a batch.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every record is stored, by the store's own rules of durability.
    Delivered,
    /// Nothing is known to be stored, and the store is to blame (away, slow, overloaded): the same records are sent
    /// again after a pause, fewer at once if it took its time to say so, and no others before, unless it is one record,
    /// which may be to blame itself: see [`Verdict::Retry`]. The text is shown as `last_error`.
    Retry(String),
    /// The store refused the request as a whole, and one of its records or its size may be to blame: each half is
    /// sent by itself; a record that is alone is rejected with this.
    Refused(Rejection),
    /// One verdict a record, in the order of the batch.
    Each(Vec<Verdict>),
}

/// What came of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, or was already.
    Delivered,
    /// Not now: it is sent again after a pause; others go on meanwhile. If it is still so after `retry_limit`, while the
    /// store took others, it is rejected with the reason `retry_limit`. Where it is the verdict of every record of a batch,
    /// another batch is tried before the store is taken to be well.
    Retry(String),
    /// Never: it goes to the dead letters.
    Rejected(Rejection),
}

/// Why a store will never take a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// One word, the same for all rejections of this kind: a label of counters.
    pub reason: &'static str,
    /// The store's own text.
    pub detail: String,
}
