//! What an operator has to know of the last end.

use std::sync::Arc;

use tracing::{info, warn};

use super::log::Recovery;

/// Says what was found for the sinks `names`, and whether the daemon that had the journal last was killed.
pub(super) fn announce(recovery: &Recovery, names: &[Arc<str>], was_running: bool) {
    if was_running {
        warn!(
            "the daemon did not end in order: what was not acknowledged may be lost, no more than docs/reliability.md says"
        );
    }
    let Recovery { torn_bytes, corrupt_entries, corrupt_bytes, entries, bytes, .. } = recovery;
    info!(entries, bytes, "the journal is open");
    if *torn_bytes > 0 {
        warn!(bytes = torn_bytes, "a torn end of the journal was cut off: it was never synced");
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
