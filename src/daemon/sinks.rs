//! The drain side of the daemon: every sink with its lane and its drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::error;

use super::journal;
use crate::config::{self, Config, SinkKind};
use crate::pipeline::drain::{Deadline, Drain, Place, Rest};
use crate::pipeline::letter::{DeadLetter, Keeper, Logged};
use crate::pipeline::ring::Ring;
use crate::pipeline::{Dispatch, Ingest, Lane};
use crate::sink::Sink;

/// What the journal has to get the last of it to disk, whatever time the sinks took.
const LAST_SYNC: Duration = Duration::from_secs(1);

/// The running sinks, and the way to them.
pub(super) struct Sinks {
    /// Where sources put what they read.
    pub(super) ingest: Arc<Ingest>,
    built: Vec<Arc<dyn Sink>>,
    drains: Vec<JoinHandle<Rest>>,
}

impl Sinks {
    /// Builds every sink and starts its drain, which ends at `deadline`; and the journal in front of them.
    pub(super) fn start(config: &Config, deadline: &Deadline) -> anyhow::Result<Sinks> {
        let room = Arc::new(Notify::new());
        let mut built: Vec<Arc<dyn Sink>> = Vec::new();
        for sink in &config.sinks {
            let store = build(sink).map_err(|error| anyhow!("sink {}: {error}", sink.name))?;
            built.push(Arc::from(store));
        }
        let journal = journal::open(config, &room)?;
        let mut lanes = Vec::new();
        for sink in &config.sinks {
            let drain = &sink.drain;
            let ring = Ring::new(drain.ring_bytes.bytes() as usize, drain.batch_size(), Arc::clone(&room));
            let lane = Lane::new(&sink.name, sink.kind.word(), ring, drain.when_full);
            lanes.push(Arc::new(lane));
        }
        let dispatch = Dispatch::new(lanes, room);
        let dispatch = Arc::new(match &journal {
            Some(begun) => dispatch.with_journal(Arc::clone(&begun.journal)),
            None => dispatch,
        });
        let mut drains = Vec::new();
        for (place, (store, sink)) in built.iter().zip(&config.sinks).enumerate() {
            let lane = Arc::clone(&dispatch.lanes()[place]);
            let letters: Arc<dyn DeadLetter> = match sink.drain.letters(&sink.name) {
                Some(letters) => {
                    Arc::new(Keeper::start(Arc::clone(&lane.name), letters, Arc::clone(&lane.letters))?)
                }
                None => Arc::new(Logged::default()),
            };
            let from = journal.as_ref().map(|begun| Place {
                journal: Arc::clone(&begun.journal),
                dispatch: Arc::clone(&dispatch),
                number: place,
            });
            let drain = Drain::new(lane, Arc::clone(store), sink.drain.clone(), letters).with_journal(from);
            drains.push(tokio::spawn(drain.run(deadline.clone())));
        }
        if let Some(begun) = journal {
            begun.start(Arc::clone(&dispatch) as _).context("the thread of the journal")?;
        }
        let sync_timeout = config.general.sync_timeout.get();
        let ingest = Ingest::new(dispatch, config.limits.protocol, sync_timeout);
        Ok(Sinks { ingest, built, drains })
    }

    /// The sinks, in the order of the configuration.
    pub(super) fn built(&self) -> Vec<Arc<dyn Sink>> {
        self.built.clone()
    }

    /// Files are opened again by name.
    pub(super) fn reopen(&self) {
        for sink in &self.built {
            sink.reopen();
        }
    }

    /// Waits for the end of every drain, and of the journal behind them, which has until `end`, and a moment if the drains
    /// left it none. Returns what was left.
    pub(super) async fn ended(self, end: Instant) -> Rest {
        let mut left = Rest::default();
        for drain in self.drains {
            match drain.await {
                Ok(rest) => {
                    left.dropped += rest.dropped;
                    left.kept += rest.kept;
                }
                Err(error) => error!(%error, "a drain ended early"),
            }
        }
        let end = end.max(Instant::now() + LAST_SYNC);
        if !self.ingest.dispatch.end_journal(end).await {
            error!("the journal did not end in time: what its disk has not taken by now may be lost");
        }
        left
    }
}

/// Builds a sink. The error says what to do.
pub fn build(sink: &config::Sink) -> Result<Box<dyn Sink>, String> {
    match &sink.kind {
        #[cfg(feature = "sqlite")]
        SinkKind::Sqlite(sqlite) => sqlite.build(&sink.name).map_err(|error| error.to_string()),
        #[cfg(feature = "log")]
        SinkKind::Log(log) => log.build(&sink.name).map_err(|error| error.to_string()),
        #[cfg(feature = "influxdb")]
        SinkKind::Influxdb(influxdb) => influxdb.build(&sink.name).map_err(|error| error.to_string()),
        #[cfg(feature = "elasticsearch")]
        SinkKind::Elasticsearch(elasticsearch) => {
            elasticsearch.build(&sink.name).map_err(|error| error.to_string())
        }
        #[cfg(feature = "mongodb")]
        SinkKind::Mongodb(mongodb) => mongodb.build(&sink.name).map_err(|error| error.to_string()),
        #[cfg(feature = "rethinkdb")]
        SinkKind::Rethinkdb(rethinkdb) => rethinkdb.build(&sink.name).map_err(|error| error.to_string()),
        SinkKind::Null(null) => Ok(null.build()),
    }
}
