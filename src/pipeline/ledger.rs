//! What became of each record in front of one sink, each term counted apart (conservation).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal;
use crate::protocol::Reason;

/// Why records were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// The sink did not take chunks off its ring fast enough.
    RingFull,
    /// The sink was in an outage for longer than its backlog lasts.
    BacklogFull,
    /// The journal was at its `max_size`, or the disk slower than what came in; or the journal dropped its oldest
    /// segments to make room.
    JournalFull,
    /// Older than the journal's `max_age`.
    JournalAge,
    /// Was in the journal only, and could not be read again.
    JournalLost,
    /// Left over when the shutdown's deadline came.
    Shutdown,
}

impl Drop {
    /// All of them, in the order of their counters.
    pub const ALL: [Drop; 6] = [
        Drop::RingFull,
        Drop::BacklogFull,
        Drop::JournalFull,
        Drop::JournalAge,
        Drop::JournalLost,
        Drop::Shutdown,
    ];

    /// The word of `/status`.
    pub fn code(self) -> &'static str {
        match self {
            Drop::RingFull => "ring_full",
            Drop::BacklogFull => "backlog_full",
            Drop::JournalFull => journal::Why::Size.code(),
            Drop::JournalAge => journal::Why::Age.code(),
            Drop::JournalLost => "journal_lost",
            Drop::Shutdown => "shutdown",
        }
    }
}

impl From<journal::Why> for Drop {
    fn from(why: journal::Why) -> Self {
        match why {
            journal::Why::Size => Drop::JournalFull,
            journal::Why::Age => Drop::JournalAge,
        }
    }
}

/// The terms of `accepted = delivered + waiting + rejected + dropped`, in records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Offered to this sink.
    pub accepted: u64,
    /// Stored.
    pub delivered: u64,
    /// In the ring, in the backlog, in hand, or in the journal.
    pub waiting: u64,
    /// Refused by the store for good, by its reason.
    pub rejected: BTreeMap<Cow<'static, str>, u64>,
    /// Never decided by the store, by [`Drop`].
    pub dropped: [u64; Drop::ALL.len()],
}

impl Terms {
    /// Whether nothing was lost uncounted, and nothing counted twice.
    pub fn balance(&self) -> bool {
        let rejected: u64 = self.rejected.values().sum();
        let dropped: u64 = self.dropped.iter().sum();
        self.accepted == self.delivered + self.waiting + rejected + dropped
    }
}

/// The terms of one sink. Records move between them in one step a chunk or a batch.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Terms>);

impl Ledger {
    /// Goes on from `past`, which balances: it was counted before.
    pub fn add(&self, past: &Terms) {
        let mut terms = self.lock();
        terms.accepted += past.accepted;
        terms.delivered += past.delivered;
        terms.waiting += past.waiting;
        for (reason, records) in &past.rejected {
            *terms.rejected.entry(reason.clone()).or_default() += records;
        }
        for (sum, records) in terms.dropped.iter_mut().zip(&past.dropped) {
            *sum += records;
        }
    }

    /// All terms at one moment.
    pub fn terms(&self) -> Terms {
        self.lock().clone()
    }

    /// Whether these are the terms now.
    pub fn is(&self, terms: &Terms) -> bool {
        *self.lock() == *terms
    }

    /// Records were offered and wait now.
    pub fn accept(&self, records: usize) {
        let mut terms = self.lock();
        terms.accepted += records as u64;
        terms.waiting += records as u64;
    }

    /// Records were offered and found no place.
    pub fn refuse(&self, records: usize, why: Drop) {
        let mut terms = self.lock();
        terms.accepted += records as u64;
        terms.dropped[why as usize] += records as u64;
    }

    /// Waiting records were decided: so many delivered, and these rejected.
    pub fn decide(&self, delivered: usize, rejected: &[(&'static str, usize)]) {
        let mut terms = self.lock();
        terms.waiting -= delivered as u64;
        terms.delivered += delivered as u64;
        for &(reason, records) in rejected {
            terms.waiting -= records as u64;
            *terms.rejected.entry(Cow::Borrowed(reason)).or_default() += records as u64;
        }
    }

    /// Waiting records are given up.
    pub fn give_up(&self, records: usize, why: Drop) {
        let mut terms = self.lock();
        terms.waiting -= records as u64;
        terms.dropped[why as usize] += records as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Terms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the lines of all sources: `received = accepted + skipped + rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineTerms {
    /// Lines, blank ones and control lines included.
    pub received: u64,
    /// Lines of which records were made.
    pub accepted: u64,
    /// Blank lines and control lines.
    pub skipped: u64,
    /// Refused lines by reason, in the order of `Reason::ALL`.
    pub rejected: [u64; Reason::ALL.len()],
    /// Records made.
    pub records: u64,
    /// Accepted lines with bytes that are not UTF-8.
    pub not_utf8: u64,
    /// Unknown fields and members that were passed over.
    pub ignored: u64,
}

impl LineTerms {
    /// One more refused line.
    pub fn reject(&mut self, reason: Reason) {
        self.received += 1;
        self.rejected[reason as usize] += 1;
    }

    /// Refused lines, all reasons together.
    pub fn refused(&self) -> u64 {
        self.rejected.iter().sum()
    }

    fn add(&mut self, more: &LineTerms) {
        self.received += more.received;
        self.accepted += more.accepted;
        self.skipped += more.skipped;
        for (sum, n) in self.rejected.iter_mut().zip(&more.rejected) {
            *sum += n;
        }
        self.records += more.records;
        self.not_utf8 += more.not_utf8;
        self.ignored += more.ignored;
    }
}

/// The line terms of the daemon. Sources count for themselves and add once a chunk.
#[derive(Debug, Default)]
pub struct LineLedger(Mutex<LineTerms>);

impl LineLedger {
    /// All terms at one moment.
    pub fn terms(&self) -> LineTerms {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what a source counted, and sets its count back to nothing.
    pub fn take(&self, counted: &mut LineTerms) {
        if counted.received > 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).add(counted);
            *counted = LineTerms::default();
        }
    }
}
