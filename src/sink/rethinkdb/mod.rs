//! RethinkDB: every report a document, in Kaneda's layout. `docs/rethinkdb.md` describes it.
//!
//! The client of its protocol is our own, for the reasons of `docs/adr/0004-rethinkdb-client.md`.

mod answer;
mod check;
mod config;
mod connection;
mod door;
mod encode;
mod insert;
mod query;
mod ready;
mod scram;
mod table;
mod value;
mod verdict;
mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::server::Servers;
use super::{Answer, Outcome, Sink};
use crate::record::Batch;
use crate::tls;

pub use check::check;
pub use config::{Config, Error};
pub use insert::Durability;

use door::Door;
use ready::Ready;
use table::Tables;
use write::{Counters, Writer};

impl Config {
    /// Makes the sink `name`. It connects when the first batch comes.
    pub fn build(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        let target = self.target()?;
        let tls = tls::read_for(self.tls.as_ref(), target.is_secured, "rethinkdbs", name)?;
        let tls = tls.map(|tls| tls.client()).transpose()?.map(Arc::new);
        let door = |place: &crate::sink::address::Place| {
            let host = place.url.host_str().unwrap_or_default();
            let port = place.url.port_or_known_default().unwrap_or(self.port);
            Door::new(host, port, tls.clone(), target.login.clone())
        };
        let tables = match &self.table_name {
            Some(table) => Tables::one(table),
            None => Tables::per_metric(self.max_tables.get()),
        };
        Ok(Box::new(Rethinkdb {
            doors: Servers::new(target.places.iter().map(door).collect()),
            writer: Arc::new(Writer {
                database: target.database,
                durability: self.durability,
                tables,
                counters: Counters::default(),
            }),
            timeout: self.timeout.get(),
        }))
    }
}

struct Rethinkdb {
    doors: Servers<Door>,
    writer: Arc<Writer>,
    timeout: Duration,
}

impl Rethinkdb {
    async fn write(&self, door: &Door, batch: Batch) -> Result<Outcome, connection::Error> {
        let mut session = door.session().await?;
        let outcome = self.writer.write(&mut session, batch).await?;
        door.put_back(session);
        Ok(outcome)
    }

    async fn probe_one(&self, door: &Door) -> Result<Ready, connection::Error> {
        let mut session = door.session().await?;
        let ready = self.writer.probe(&mut session).await?;
        door.put_back(session);
        Ok(ready)
    }

    /// Waits for what is done through a door, but not longer than `timeout`; then it ends there and its connection
    /// with it.
    async fn within<T>(
        &self,
        door: &Door,
        work: impl Future<Output = Result<T, connection::Error>>,
    ) -> Result<T, String> {
        let why = match timeout(self.timeout, work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within `timeout`".to_owned(),
        };
        // Those that are idle lead to the same server.
        door.close();
        Err(format!("{}: {why}", door.address()))
    }
}

impl Sink for Rethinkdb {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async {
            let (index, door) = self.doors.pick(Instant::now());
            match self.within(door, self.write(door, batch)).await {
                Ok(outcome) => {
                    self.doors.succeed(index);
                    outcome
                }
                Err(why) => {
                    self.doors.fail(index, Instant::now());
                    Outcome::Retry(why)
                }
            }
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(async {
            for door in self.doors.all() {
                let ready = self.within(door, self.probe_one(door)).await?;
                ready.map_err(|why| format!("{}: {why}", door.address()))?;
            }
            Ok(())
        })
    }

    fn place(&self) -> String {
        let addresses: Vec<_> = self.doors.all().iter().map(Door::address).collect();
        format!("{}, database {}", addresses.join(", "), self.writer.database)
    }

    fn durability(&self) -> String {
        let place = match self.writer.durability {
            Durability::Hard => "on the disk",
            Durability::Soft => "in the memory",
        };
        format!("{place} of as many replicas as the table's write_acks asks for, by default a majority")
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.writer.counters;
        vec![
            ("already_stored", counters.already_stored.load(Ordering::Relaxed)),
            ("reports_without_own_table", counters.overflowed.load(Ordering::Relaxed)),
        ]
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { self.doors.all().iter().for_each(Door::close) })
    }
}
