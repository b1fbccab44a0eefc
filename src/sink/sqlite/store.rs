//! Writing: one transaction a batch, and retention in between.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement, TransactionBehavior};

use super::retention::{Counters, Retention};
use super::row::{Encoder, Row};
use super::{Config, Error, schema};
use crate::record::{Batch, Identity};
use crate::sink::thread::Blocking;
use crate::sink::{Outcome, Rejection, Verdict};

/// The file and what is kept from one batch to the next.
pub(super) struct Store {
    config: Config,
    retention: Retention,
    encoder: Encoder,
    opened: Option<Opened>,
}

/// The open file and which one it was: device and inode.
struct Opened {
    connection: Connection,
    file: (u64, u64),
}

impl Store {
    /// What stores into the file that `config` names; it is opened with the first batch.
    pub(super) fn new(config: Config, counters: Arc<Counters>) -> Self {
        let retention = Retention::new(&config, counters);
        Store { config, retention, encoder: Encoder::default(), opened: None }
    }

    /// The open file; opened again if it is no longer the one that `path` names, since what is written to a deleted
    /// file is lost.
    fn open(&mut self) -> Result<Opened, Error> {
        let path = &self.config.path;
        if let Some(opened) = self.opened.take() {
            if inode(path) == Some(opened.file) {
                return Ok(opened);
            }
            tracing::warn!(path = %path.display(), "the file was deleted or replaced: it is opened again");
        }
        let connection = schema::open(&self.config)?;
        Ok(Opened { connection, file: inode(path).unwrap_or_default() })
    }
}

impl Blocking for Store {
    fn send(&mut self, batch: &Batch) -> Outcome {
        // Held here, so that a panic closes it and rolls back.
        let mut opened = match self.open() {
            Ok(opened) => opened,
            Err(error) => return Outcome::Retry(error.to_string()),
        };
        let outcome = write(&mut opened.connection, batch, &mut self.encoder);
        // Whatever else went wrong, a fresh connection is the better one to try again with.
        if matches!(&outcome, Ok(_) | Err(Failure { busy: true, .. })) {
            self.opened = Some(opened);
        }
        outcome.unwrap_or_else(|failure| Outcome::Retry(failure.text))
    }

    /// Deletes what is due, a step at a time.
    fn tend(&mut self, sent: usize) -> Duration {
        match &mut self.opened {
            Some(opened) => self.retention.step(&mut opened.connection, sent, now()),
            None => self.retention.pause(),
        }
    }
}

/// Why nothing of a batch was stored: the store is to blame.
struct Failure {
    /// Another process is writing.
    busy: bool,
    text: String,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let busy =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
        Failure { busy, text: error.to_string() }
    }
}

/// Stores the batch in one transaction, but for the records that the store refuses.
fn write(connection: &mut Connection, batch: &Batch, encoder: &mut Encoder) -> Result<Outcome, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rejected = Vec::new();
    {
        let mut own = transaction.prepare_cached(schema::INSERT_OWN)?;
        let mut client = transaction.prepare_cached(schema::INSERT_CLIENT)?;
        for (index, received) in batch.records().enumerate() {
            let statement = match received.identity {
                Identity::Own(_) => &mut own,
                Identity::Client(_) => &mut client,
            };
            let Err(error) = insert(statement, &encoder.encode(&received)) else { continue };
            let rejection = rejection(error)?;
            if transaction.is_autocommit() {
                // A trigger of the user's has rolled all back: which record it was shows when they come apart.
                return Ok(Outcome::Refused(rejection));
            }
            rejected.push((index, rejection));
        }
    }
    transaction.commit()?;
    Ok(outcome(batch.len(), rejected))
}

fn outcome(records: usize, rejected: Vec<(usize, Rejection)>) -> Outcome {
    if rejected.is_empty() {
        return Outcome::Delivered;
    }
    let mut verdicts = vec![Verdict::Delivered; records];
    for (index, rejection) in rejected {
        verdicts[index] = Verdict::Rejected(rejection);
    }
    Outcome::Each(verdicts)
}

fn insert(statement: &mut Statement<'_>, row: &Row<'_>) -> rusqlite::Result<()> {
    fn text(text: &[u8]) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(ValueRef::Text(text))
    }
    fn optional(value: Option<&[u8]>) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, ValueRef::Text))
    }
    statement.raw_bind_parameter(1, text(row.id.as_bytes()))?;
    statement.raw_bind_parameter(2, row.time)?;
    statement.raw_bind_parameter(3, text(row.metric.as_bytes()))?;
    statement.raw_bind_parameter(4, text(row.name.as_bytes()))?;
    statement.raw_bind_parameter(5, ToSqlOutput::Borrowed(row.value))?;
    statement.raw_bind_parameter(6, optional(row.text.as_deref()))?;
    statement.raw_bind_parameter(7, optional(row.tags))?;
    statement.raw_bind_parameter(8, text(row.host.as_bytes()))?;
    statement.raw_bind_parameter(9, row.rate)?;
    statement.raw_bind_parameter(10, optional(row.extra))?;
    statement.raw_execute()?;
    Ok(())
}

/// Whether the record is to blame for `error`; else the store is.
fn rejection(error: rusqlite::Error) -> Result<Rejection, Failure> {
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => "constraint",
        Some(ErrorCode::TooBig) => "too_big",
        Some(ErrorCode::TypeMismatch) => "type_mismatch",
        _ => return Err(error.into()),
    };
    Ok(Rejection { reason, detail: error.to_string() })
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
