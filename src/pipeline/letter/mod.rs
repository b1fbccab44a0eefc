//! What happens to records that a store refused for good.

mod config;
pub(super) mod document;
mod files;
mod keeper;
mod known;

use std::sync::Arc;

use tracing::warn;

use crate::record::Chunk;
use crate::sink::{Answer, Rejection};
use crate::telemetry::{Counter, Seldom};

pub use config::{Config, longest};
pub use keeper::Keeper;

/// A record that was refused, and why.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Where it stands.
    pub chunk: Arc<Chunk>,
    /// Its index there.
    pub index: usize,
    /// Why. Records that met one fate share it.
    pub rejection: Arc<Rejection>,
}

/// Bytes of a store's own text that a letter keeps.
pub const DETAIL_BYTES: usize = 4096;
/// Bytes of such texts that the letters of one sink may hold before they are on disk; further ones are left out.
pub const WAITING_DETAIL_BYTES: usize = 128 << 10;
/// With so many letters waiting a sink is sent nothing more until some are on disk: what they take up is bounded.
pub const WAITING: u64 = 1_024;

/// Keeps dead letters.
pub trait DeadLetter: Send + Sync + 'static {
    /// Keeps `letters` of the sink `sink`, in order. Done when all are as safe as they will be: until then their records
    /// are undecided. If the answer is dropped before, the letters need not be kept any more.
    fn bury(&self, sink: &str, letters: Arc<[Letter]>) -> Answer<'_, ()>;
}

/// What is counted of the letters of one sink.
#[derive(Debug, Default)]
pub struct Counters {
    /// Letters on disk since the start.
    pub written: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Letters that were not written, since they were in the files already.
    pub repeated: Counter,
    /// Letters that were deleted with the oldest file, for the bounds of `dead_letters_max_size` and `_max_files`.
    pub deleted: Counter,
    /// Attempts to write that failed.
    pub failed: Counter,
    /// Letters that could not be written before the end: their records count as dropped.
    pub lost: Counter,
    /// Letters that are not on disk yet: their records count as waiting.
    pub waiting: Counter,
}

/// Bytes of a name that the log shows.
const NAME_BYTES: usize = 200;

/// Says so in the log, once a second at most, and keeps nothing.
#[derive(Debug, Default)]
pub struct Logged(Seldom);

impl Logged {
    /// Names the first of `letters`.
    fn say(&self, sink: &str, letters: &[Letter]) {
        let Some(Letter { chunk, index, rejection }) = letters.first() else { return };
        if let Some(unsaid) = self.0.tick() {
            let name = chunk.received(*index).record.name.raw;
            let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES)]);
            let Rejection { reason, detail } = &**rejection;
            warn!(sink, reason, detail, name = &*name, unsaid, "the store refused a record for good");
        }
    }
}

impl DeadLetter for Logged {
    fn bury(&self, sink: &str, letters: Arc<[Letter]>) -> Answer<'_, ()> {
        self.say(sink, &letters);
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests;
