//! What a lane and its drain take over from a journal that was opened: what was counted, and what still waits.

use std::borrow::Cow;

use super::ledger::{Drop, Terms};
use crate::journal::{self, Totals};

/// What one sink has of earlier runs of the daemon.
#[derive(Debug)]
pub(super) struct Past {
    /// The terms of all that it ever got.
    pub(super) terms: Terms,
    /// The first entry that waits, if any does.
    pub(super) behind: Option<u64>,
    /// Entries below were decided, or are listed by the cursor that was found.
    pub(super) next: u64,
    /// Carried entries from there on that were decided.
    pub(super) decided: Vec<u64>,
}

impl Past {
    /// What was `found` of it.
    pub(super) fn new(found: &journal::Lane) -> Self {
        let cursor = &found.cursor;
        Past {
            terms: terms(&cursor.totals, found.waiting, found.missing),
            behind: (found.waiting > 0).then(|| cursor.lowest()),
            next: cursor.next,
            decided: cursor.decided.clone(),
        }
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
