//! The embedded store: one SQLite file with a row a report, made for the `sqlite3` shell.
//!
//! `docs/sqlite.md` describes the table. One thread of its own holds the connection; a batch is one transaction.

mod retention;
mod row;
mod schema;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::thread::Thread;
use super::{Answer, Outcome, Sink};
use crate::probe;
use crate::record::Batch;
use crate::unit::{Duration, Size};

pub use schema::Error;

/// What a `[[sink]]` of type `sqlite` may say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file. It is made if it is not there, and the folders above it.
    pub path: PathBuf,
    /// A report is deleted when it has been stored for so long; `"0"`: never.
    pub retention_age: Duration,
    /// The oldest reports are deleted when all take up more than this; `"0"`: never.
    pub retention_size: Size,
    /// How long a batch waits while another process is writing to the file.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: PathBuf::from("kaneda-data/reports.db"),
            retention_age: Duration::from_days(30),
            retention_size: Size::from_gib(4),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Whether the values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        // To SQLite an empty name is a database that is gone when it is closed.
        if self.path.as_os_str().is_empty() {
            return Err("path = \"\": must name a file".to_owned());
        }
        Ok(())
    }

    /// Makes the sink. Nothing is written before the first batch; but a file that is there and that this version
    /// cannot use is an error now, and not one batch after the other.
    pub fn build(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        // Not `:memory:` nor a URI, and the same file wherever the daemon may be later.
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        schema::check(&path)?;
        let counters = Arc::new(retention::Counters::default());
        let config = Config { path: path.clone(), ..self.clone() };
        let store = store::Store::new(config, Arc::clone(&counters));
        let thread = Thread::start(name, store).map_err(Error::Thread)?;
        Ok(Box::new(Sqlite { path, thread, counters }))
    }
}

struct Sqlite {
    path: PathBuf,
    thread: Thread,
    counters: Arc<retention::Counters>,
}

impl Sink for Sqlite {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(self.thread.send(batch))
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(async {
            let path = self.path.clone();
            let probe = move || if path.exists() { schema::probe(&path) } else { probe::file(&path) };
            tokio::task::spawn_blocking(probe).await.unwrap_or_else(|panic| Err(panic.to_string()))
        })
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn durability(&self) -> String {
        "committed and on disk (WAL, synchronous = FULL)".to_owned()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.all()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.thread.close())
    }
}
