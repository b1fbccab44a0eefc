//! Writing a batch: which queries, and what their answers say of each record.
//!
//! An answer to an insert says how many documents were not stored, and of the first why. That is enough if there was
//! one. Else the documents are inserted again, in parts, with the answer to tell of each: what was stored by the
//! first query then is there already, as is what an earlier attempt had stored, and both count as delivered.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::{self, Failure, Garbled, Refusal, Written};
use super::connection::{Error, Session};
use super::insert::{Durability, Ids, Insert, inserts};
use super::table::Tables;
use super::verdict::{Reason, Verdicts};
use crate::record::Batch;
use crate::sink::{Outcome, Rejection, Verdict};

/// Documents, and their bytes, of an insert whose answer tells of each. For each document it holds the one that is
/// there, twice, and two more in its text, spread over lines and indented.
const PART_DOCUMENTS: usize = 100;
const PART_BYTES: usize = 64 << 10;
/// So many of these are under way at once.
const PARTS_AT_ONCE: usize = 8;

/// What is counted beside verdicts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Documents that were there already when they were sent (again).
    pub(super) already_stored: AtomicU64,
    /// Reports stored in the table `custom` since the database has `max_tables`.
    pub(super) overflowed: AtomicU64,
}

/// Where to and how.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: String,
    pub(super) durability: Durability,
    pub(super) tables: Tables,
    pub(super) counters: Counters,
}

impl Writer {
    /// Writes `batch`.
    pub(super) async fn write(
        self: &Arc<Self>,
        session: &mut Session,
        batch: Batch,
    ) -> Result<Outcome, Error> {
        if let Err(why) = self.list_tables(session).await? {
            return Ok(Outcome::Retry(why));
        }
        let mut verdicts = Verdicts::new(batch.len());
        let writer = Arc::clone(self);
        // Milliseconds of work for a large batch: not on a thread that sockets wait for.
        let encoded = tokio::task::spawn_blocking(move || inserts(&writer.tables, &batch)).await;
        let mut inserts = match encoded.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(inserts) => inserts,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => return Ok(Outcome::Retry("the daemon is stopping".to_owned())),
        };

        let mut tables = HashMap::new();
        for insert in &inserts {
            if !tables.contains_key(&insert.table) {
                let ready = self.make_ready(session, &insert.table).await?;
                tables.insert(Arc::clone(&insert.table), ready);
            }
        }
        inserts.retain(|insert| match &tables[&insert.table] {
            Ok(()) => true,
            Err(why) => {
                verdicts.settle(insert, 0..insert.len(), &Verdict::Retry(why.clone()));
                false
            }
        });
        self.insert(session, &inserts, &mut verdicts).await?;
        Ok(verdicts.outcome())
    }

    /// Sends all inserts at once, and those again of which some documents were not stored.
    async fn insert(
        &self,
        session: &mut Session,
        inserts: &[Insert],
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        let all = inserts.iter().map(|insert| (insert, 0..insert.len()));
        let answers = self.ask(session, all, false).await?;
        for (insert, answer) in inserts.iter().zip(answers) {
            if self.judge(insert, 0..insert.len(), &answer, verdicts)?.is_some() {
                self.insert_in_parts(session, insert, verdicts).await?;
            }
        }
        Ok(())
    }

    /// Inserts again such that the answers tell of each document.
    async fn insert_in_parts(
        &self,
        session: &mut Session,
        insert: &Insert,
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        let mut alone = Vec::new();
        // Not all at once: these answers are long.
        for parts in insert.ranges(PART_DOCUMENTS, PART_BYTES).chunks(PARTS_AT_ONCE) {
            let queries = parts.iter().map(|part| (insert, part.clone()));
            let answers = self.ask(session, queries, true).await?;
            for (part, answer) in parts.iter().zip(answers) {
                let Some(written) = self.judge(insert, part.clone(), &answer, verdicts)? else { continue };
                if written.tells_each(part.len()) {
                    for (document, change) in part.clone().zip(written.changes) {
                        self.settle(insert, document..document + 1, change.error.as_deref(), verdicts);
                    }
                } else {
                    // 2.4.4 tells of one only, if none of them has an id that it takes.
                    alone.extend(part.clone().map(|document| (insert, document..document + 1)));
                }
            }
        }
        let answers = self.ask(session, alone.iter().cloned(), false).await?;
        for ((insert, document), answer) in alone.into_iter().zip(answers) {
            self.judge(insert, document, &answer, verdicts)?;
        }
        Ok(())
    }

    async fn ask<'i>(
        &self,
        session: &mut Session,
        ranges: impl IntoIterator<Item = (&'i Insert, Range<usize>)>,
        tells_each: bool,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let query = |(insert, range): (&'i Insert, _)| {
            insert.query(&self.database, self.durability, range, tells_each)
        };
        let queries: Vec<_> = ranges.into_iter().map(query).collect();
        session.exchange(&queries).await
    }

    /// Reads the answer to an insert of the documents of `range`. It comes back if some of them were not stored and
    /// it is not known which.
    pub(super) fn judge(
        &self,
        insert: &Insert,
        range: Range<usize>,
        answer: &[u8],
        verdicts: &mut Verdicts,
    ) -> Result<Option<Written>, Error> {
        let written = match answer::read::<Written>(answer)? {
            Ok(written) => written,
            Err(failure) => {
                if let Failure::Missing(_) = failure {
                    self.tables.set_missing(&insert.table);
                }
                verdicts.fail(insert, range, reason(failure, &self.database));
                return Ok(None);
            }
        };
        if !written.is_of(range.len()) {
            let why = format!("the counts of an insert of {} documents are those of another", range.len());
            return Err(Garbled(why).into());
        }
        if written.errors > 0.0 && range.len() > 1 {
            return Ok(Some(written));
        }
        let error = (written.errors > 0.0).then(|| written.first_error.as_deref().unwrap_or_default());
        self.settle(insert, range, error, verdicts);
        Ok(None)
    }

    /// The documents of a range were stored, or none of them for this reason.
    fn settle(&self, insert: &Insert, range: Range<usize>, error: Option<&str>, verdicts: &mut Verdicts) {
        let verdict = match error.map(answer::refusal) {
            None => Verdict::Delivered,
            Some(Refusal::Duplicate) if insert.ids == Ids::Own => {
                self.counters.already_stored.fetch_add(range.len() as u64, Ordering::Relaxed);
                Verdict::Delivered
            }
            Some(Refusal::Duplicate) => {
                let detail = "the server calls a document a duplicate that was to replace one".to_owned();
                Verdict::Rejected(Rejection { reason: "refused", detail })
            }
            Some(Refusal::Never(reason, detail)) => Verdict::Rejected(Rejection { reason, detail }),
        };
        if verdict == Verdict::Delivered {
            self.counters.overflowed.fetch_add(insert.overflowed(&range), Ordering::Relaxed);
        }
        verdicts.settle(insert, range, &verdict);
    }
}

/// Who is to blame for a query that failed.
fn reason(failure: Failure, database: &str) -> Reason {
    match failure {
        Failure::Query(detail) => Reason::Refused(Rejection { reason: "refused", detail }),
        failure => Reason::Wait(advice(failure, database)),
    }
}

/// What to do about a failure that no document has caused.
pub(super) fn advice(failure: Failure, database: &str) -> String {
    match failure {
        Failure::Forbidden(why) => format!(
            "{why}; grant `user` read and write on the database {database}, and config if it is to make tables"
        ),
        Failure::Missing(why) | Failure::Exists(why) | Failure::Server(why) | Failure::Query(why) => why,
    }
}
