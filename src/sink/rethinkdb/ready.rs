//! Getting ready to write: the database and the tables are looked for, and made if they are missing.

use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::answer::{self, Failure, Info, Written};
use super::connection::{Error, Session};
use super::query::{self, Query};
use super::write::{Writer, advice};

/// Whether it is so; else what to do about it, which no report can have caused.
pub(super) type Ready = Result<(), String>;

impl Writer {
    /// Learns which tables there are, if records cannot be routed without.
    pub(super) async fn list_tables(&self, session: &mut Session) -> Result<Ready, Error> {
        if !self.tables.is_to_be_listed() {
            return Ok(Ok(()));
        }
        let names = match ask::<Vec<String>>(session, query::tables(&self.database)).await? {
            Ok(names) => names,
            Err(Failure::Missing(_)) => Vec::new(),
            Err(failure) => return Ok(Err(advice(failure, &self.database))),
        };
        self.tables.list(names);
        Ok(Ok(()))
    }

    /// Makes sure that a table can be written to.
    pub(super) async fn make_ready(&self, session: &mut Session, table: &Arc<str>) -> Result<Ready, Error> {
        if self.tables.is_ready(table) {
            return Ok(Ok(()));
        }
        let ready = match ask::<Info>(session, query::info(&self.database, table)).await? {
            Ok(info) if info.primary_key == "id" => Ok(()),
            // The server would make up an id for each document, and at each attempt another.
            Ok(info) => Err(format!(
                "the table {table} has the primary key {:?}, not \"id\"; rename it, or set `table_name` to another",
                info.primary_key
            )),
            Err(Failure::Missing(_)) => self.create(session, table).await?,
            Err(failure) => Err(advice(failure, &self.database)),
        };
        if ready.is_ok() {
            self.tables.set_ready(table);
        }
        Ok(ready)
    }

    /// Makes a table, and the database if that is missing too.
    async fn create(&self, session: &mut Session, table: &str) -> Result<Ready, Error> {
        let failed = |failure| Ok(Err(advice(failure, &self.database)));
        match ask::<IgnoredAny>(session, query::create_table(&self.database, table)).await? {
            Ok(_) => return Ok(Ok(())),
            Err(Failure::Missing(_)) => {}
            // Somebody was faster; that its primary key is ours is seen at the next attempt.
            Err(failure) => return failed(failure),
        }
        match ask::<IgnoredAny>(session, query::create_database(&self.database)).await? {
            Ok(_) | Err(Failure::Exists(_)) => {}
            Err(failure) => return failed(failure),
        }
        match ask::<IgnoredAny>(session, query::create_table(&self.database, table)).await? {
            Ok(_) => Ok(Ok(())),
            Err(failure) => failed(failure),
        }
    }

    /// Tries whether a table can be written to: deletes a document that is not there.
    pub(super) async fn probe(&self, session: &mut Session) -> Result<Ready, Error> {
        let table = self.tables.any();
        let ready = self.make_ready(session, &table).await?;
        if ready.is_err() {
            return Ok(ready);
        }
        let deleted = ask::<Written>(session, query::delete(&self.database, &table, "kaneda check")).await?;
        Ok(deleted.map(drop).map_err(|failure| advice(failure, &self.database)))
    }
}

/// Sends one query, and waits for its answer.
async fn ask<T: DeserializeOwned>(
    session: &mut Session,
    query: Query<'_>,
) -> Result<Result<T, Failure>, Error> {
    let answers = session.exchange(&[query]).await?;
    Ok(answer::read(answers.first().map(Vec::as_slice).unwrap_or_default())?)
}
