//! The daemon's journal: opened, and announced.

use std::sync::Arc;

use anyhow::anyhow;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::config::Config;
use crate::journal::{Folder, OpenError, Recovery};
use crate::pipeline::past::Past;

/// Opens the journal of the configuration, if it has one, and says what was found in it. It rings `room` when it takes
/// chunks again.
pub(super) fn open(config: &Config, room: &Arc<Notify>) -> anyhow::Result<Option<Past<Folder>>> {
    let journal = &config.journal;
    if !journal.enabled {
        return Ok(None);
    }
    let path = &journal.path;
    let refusal = |error: OpenError| {
        let advice = match &error {
            OpenError::Io { .. } => ": name a folder that can be written, or set enabled = false",
            _ => "",
        };
        anyhow!("[journal] path = \"{}\": {error}{advice}", path.display())
    };
    let folder = Folder::open(path).map_err(refusal)?;
    let names: Vec<Arc<str>> = config.sinks.iter().map(|sink| sink.name.as_str().into()).collect();
    let queues: Vec<Arc<str>> = queues(config).map(Into::into).collect();
    let past = Past::open(journal, folder, &names, &queues, Arc::clone(room)).map_err(refusal)?;
    if past.was_running() {
        warn!(
            "the daemon did not end in order: what was not acknowledged may be lost, no more than docs/reliability.md says"
        );
    }
    announce(past.recovery(), &names);
    Ok(Some(past))
}

/// The sources whose messages are known again after a restart.
fn queues(config: &Config) -> impl Iterator<Item = &str> {
    config.sources.iter().filter(|source| source.kind.is_acknowledged()).map(|source| &*source.name)
}

/// What an operator has to know of the last end.
fn announce(recovery: &Recovery, names: &[Arc<str>]) {
    let Recovery { torn_bytes, corrupt_entries, corrupt_bytes, entries, bytes, .. } = recovery;
    info!(entries, bytes, "the journal is open");
    if *torn_bytes > 0 {
        warn!(bytes = torn_bytes, "a torn end of the journal was cut off: nothing in it was acknowledged");
    }
    if *corrupt_entries > 0 {
        warn!(
            stretches = corrupt_entries,
            bytes = corrupt_bytes,
            "parts of the journal cannot be read: passed over"
        );
    }
    for (name, lane) in names.iter().zip(&recovery.lanes) {
        if lane.waiting > 0 {
            info!(sink = &**name, records = lane.waiting, "records wait in the journal from before");
        }
        if lane.missing > 0 {
            warn!(sink = &**name, records = lane.missing, "records are not in the journal any more: dropped");
        }
    }
    if recovery.unread_segments > 0 {
        warn!(
            segments = recovery.unread_segments,
            "the disk does not give all of the journal: records in it are not delivered, and of messages of queues in it \
             it is not known that they came: those that are delivered again are taken again"
        );
    }
    if recovery.forgotten_messages > 0 {
        info!(
            messages = recovery.forgotten_messages,
            "messages of queues are not known any more: they were never confirmed, and are too old or too many"
        );
    }
    for queue in &recovery.orphan_queues {
        warn!(
            source = queue.name,
            messages = queue.messages,
            "the journal knows messages of a queue that is not configured: configure it again, or let them go with `kaneda journal forget --source`"
        );
    }
    for orphan in &recovery.orphans {
        warn!(
            sink = orphan.name,
            records = orphan.records,
            bytes = orphan.bytes,
            "the journal keeps records for a sink that is not configured: configure it again, or let them go with `kaneda journal forget`"
        );
    }
}
