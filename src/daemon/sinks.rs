//! The drain side of the daemon: every sink with its lane and its drain.

use std::sync::Arc;

use anyhow::anyhow;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::error;

use crate::config::{self, Config, SinkKind};
use crate::pipeline::drain::{Deadline, Drain};
use crate::pipeline::letter::{DeadLetter, Keeper, Logged};
use crate::pipeline::ring::Ring;
use crate::pipeline::{Dispatch, Ingest, Lane};
use crate::sink::Sink;

/// The running sinks, and the way to them.
pub(super) struct Sinks {
    /// Where sources put what they read.
    pub(super) ingest: Arc<Ingest>,
    built: Vec<Arc<dyn Sink>>,
    drains: Vec<JoinHandle<usize>>,
}

impl Sinks {
    /// Builds every sink and starts its drain, which ends at `deadline`.
    pub(super) fn start(config: &Config, deadline: &Deadline) -> anyhow::Result<Sinks> {
        let room = Arc::new(Notify::new());
        let mut built: Vec<Arc<dyn Sink>> = Vec::new();
        for sink in &config.sinks {
            let store = build(sink).map_err(|error| anyhow!("sink {}: {error}", sink.name))?;
            built.push(Arc::from(store));
        }
        let lanes: Vec<_> = config
            .sinks
            .iter()
            .map(|sink| {
                let drain = &sink.drain;
                let batch = drain.batch_size();
                let ring = Ring::new(drain.ring_bytes.bytes() as usize, batch, Arc::clone(&room));
                Arc::new(Lane::new(&sink.name, sink.kind.word(), ring, drain.when_full))
            })
            .collect();
        let mut drains = Vec::new();
        for ((lane, store), sink) in lanes.iter().zip(&built).zip(&config.sinks) {
            let letters: Arc<dyn DeadLetter> = match sink.drain.letters(&sink.name) {
                Some(letters) => {
                    Arc::new(Keeper::start(Arc::clone(&lane.name), letters, Arc::clone(&lane.letters))?)
                }
                None => Arc::new(Logged::default()),
            };
            let drain = Drain::new(Arc::clone(lane), Arc::clone(store), sink.drain.clone(), letters);
            drains.push(tokio::spawn(drain.run(deadline.clone())));
        }
        let dispatch = Dispatch::new(lanes, room);
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

    /// Waits for the end of every drain. Returns how many records were left.
    pub(super) async fn ended(self) -> usize {
        let mut left = 0;
        for drain in self.drains {
            match drain.await {
                Ok(records) => left += records,
                Err(error) => error!(%error, "a drain ended early"),
            }
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
