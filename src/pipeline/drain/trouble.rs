//! Whose fault it is that something has to be sent again: the store's, or that of the records.

use std::time::Duration;

use tokio::time::Instant;

use crate::record::Batch;

/// A batch that was sent before, or is being sent.
pub(super) struct Again {
    pub(super) batch: Batch,
    /// Not before this.
    pub(super) due: Instant,
    /// How often it was sent in vain.
    pub(super) attempt: u32,
    /// Set once the store refused just these records for the moment.
    pub(super) trouble: Option<Trouble>,
}

/// A batch on its way.
pub(super) struct Flight {
    pub(super) sent: Again,
    pub(super) since: Instant,
    /// It is known to take long.
    pub(super) is_late: bool,
}

/// The store takes nothing: one batch at a time is tried.
pub(super) struct Outage {
    /// When it began.
    pub(super) began: Instant,
    /// No attempt before this.
    pub(super) due: Instant,
    pub(super) attempt: u32,
    /// What was refused last was refused alone: another batch would tell whether the store is to blame at all.
    pub(super) is_doubtful: bool,
}

/// Records that were refused for the moment, and alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    /// When that was first, later by all the time that the store took nothing from anybody.
    since: Instant,
    /// How many batches the store had taken records of at the last refusal.
    taken: u64,
    /// It has taken others since: it is not an outage.
    is_own: bool,
}

impl Trouble {
    /// Refused now, for the first time.
    pub(super) fn new(taken: u64) -> Self {
        Trouble { since: Instant::now(), taken, is_own: false }
    }

    /// Refused once more, when the store had taken records of so many batches. Says whether it has taken others since
    /// the last time.
    pub(super) fn refused(&mut self, taken: u64) -> bool {
        let others = taken > self.taken;
        self.is_own |= others;
        self.taken = taken;
        others
    }

    /// Whether the store is known to take others.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// For how long they alone were refused.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The time of an outage, which ends now, does not count.
    pub(super) fn forgive(&mut self, outage: &Outage) {
        self.since += outage.began.max(self.since).elapsed();
    }
}
