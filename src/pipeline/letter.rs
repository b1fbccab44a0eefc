//! What happens to records that a store refused for good.

use tracing::warn;

use crate::record::Received;
use crate::sink::Rejection;
use crate::telemetry::Seldom;

/// Takes rejected records, one at a time, before they count as decided.
pub trait DeadLetter: Send + Sync + 'static {
    /// The sink `sink` will never store `record`.
    fn bury(&self, sink: &str, record: &Received<'_>, rejection: &Rejection);
}

/// Bytes of a name that the log shows.
const NAME_BYTES: usize = 200;

/// Says so in the log, once a second at most. The drain counts them.
#[derive(Debug, Default)]
pub struct Logged(Seldom);

impl DeadLetter for Logged {
    fn bury(&self, sink: &str, record: &Received<'_>, rejection: &Rejection) {
        if let Some(unsaid) = self.0.tick() {
            let name = String::from_utf8_lossy(
                &record.record.name.raw[..record.record.name.raw.len().min(NAME_BYTES)],
            );
            let Rejection { reason, detail } = rejection;
            warn!(sink, reason, detail, name = &*name, unsaid, "the store refused a record for good");
        }
    }
}
