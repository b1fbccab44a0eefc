//! What lanes and drains take over from the journal when it is opened: what was counted, and what still waits.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use super::dispatch::Dispatch;
use super::drain::Place;
use super::feed::Feed;
use super::lane::Lane;
use super::ledger::{Drop, Terms};
use crate::journal::{Begun, Config, Files, Journal, OpenError, Plan, Recovery, Totals};

/// A journal that was opened, and is not written yet.
pub struct Past<F: Files> {
    begun: Begun<F>,
    recovery: Recovery,
}

impl<F: Files> Past<F> {
    /// Opens the journal in `files` for the sinks `names`, and the `queues` whose messages are to be known again. It rings
    /// `room` when it takes chunks again.
    pub fn open(
        config: &Config,
        files: F,
        names: &[Arc<str>],
        queues: &[Arc<str>],
        room: Arc<Notify>,
    ) -> Result<Self, OpenError> {
        let (begun, recovery) = Journal::open(config, files, names, queues, room)?;
        Ok(Past { begun, recovery })
    }

    /// What was found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether the daemon that had the journal last did not end in order.
    pub fn was_running(&self) -> bool {
        self.begun.was_running
    }

    /// The journal.
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.begun.journal)
    }

    /// `lane`, which is that of the sink at `place`, with what was counted and what waits from before.
    pub fn lane(&self, lane: Lane, place: usize) -> Lane {
        let found = &self.recovery.lanes[place];
        let plan = Plan::new(&lane.name, &found.cursor);
        let feed = Feed::begin(found.cursor.lowest(), self.recovery.last, found.waiting, plan);
        lane.with_past(terms(&found.cursor.totals, found.waiting, found.missing), feed)
    }

    /// What the drain of the sink at `place` has to know.
    pub fn place(&self, place: usize, dispatch: &Arc<Dispatch>) -> Place {
        let cursor = &self.recovery.lanes[place].cursor;
        Place {
            journal: self.journal(),
            dispatch: Arc::clone(dispatch),
            number: place,
            next: cursor.next,
            decided: cursor.decided.clone(),
        }
    }

    /// Begins to write.
    pub fn start(self, dispatch: Arc<Dispatch>) -> io::Result<()> {
        self.begun.start(dispatch)
    }
}

/// The terms of a sink that goes on from `totals`, with so many records waiting, and so many lost.
fn terms(totals: &Totals, waiting: u64, missing: u64) -> Terms {
    let rejected = totals.rejected.iter().map(|(reason, records)| (Cow::Owned(reason.clone()), *records));
    let mut terms = Terms {
        accepted: totals.accepted + waiting + missing,
        delivered: totals.delivered,
        waiting,
        rejected: rejected.collect(),
        ..Terms::default()
    };
    for (code, records) in &totals.dropped {
        let why = Drop::ALL.into_iter().find(|why| why.code() == code).unwrap_or(Drop::JournalLost);
        terms.dropped[why as usize] += records;
    }
    terms.dropped[Drop::JournalLost as usize] += missing;
    terms
}
