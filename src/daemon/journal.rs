//! The daemon's journal.

use std::sync::Arc;

use anyhow::anyhow;
use tokio::sync::Notify;

use crate::config::Config;
use crate::journal::{Begun, Folder, Journal, OpenError};

/// Opens the journal of the configuration, if it has one. It rings `room` when it takes chunks again.
pub(super) fn open(config: &Config, room: &Arc<Notify>) -> anyhow::Result<Option<Begun<Folder>>> {
    let journal = &config.journal;
    if !journal.enabled {
        return Ok(None);
    }
    let path = journal.path.clone();
    let folder = move || Folder::open(&path);
    let names: Vec<Arc<str>> = config.sinks.iter().map(|sink| sink.name.as_str().into()).collect();
    let queues: Vec<Arc<str>> = queues(config).map(Into::into).collect();
    let begun = Journal::open(journal, folder, &names, &queues, Arc::clone(room));
    let begun = begun.map_err(|error| {
        let advice = match &error {
            OpenError::Io { .. } => ": name a folder that can be written, or set enabled = false",
            _ => "",
        };
        anyhow!("[journal] path = \"{}\": {error}{advice}", journal.path.display())
    })?;
    Ok(Some(begun))
}

/// The sources whose messages are known again after a restart.
fn queues(config: &Config) -> impl Iterator<Item = &str> {
    config.sources.iter().filter(|source| source.kind.is_acknowledged()).map(|source| &*source.name)
}
