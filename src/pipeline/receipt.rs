//! A receipt travels beside chunks and is completed once, when all of them are durable or decided.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::ledger::Drop;
use crate::journal::Durable;

/// Counts which of the chunks that it travels beside are still open. Clones are the same receipt.
///
/// Dispatch takes a [`Part`] of it for each chunk. It is complete whenever no part is open.
#[derive(Debug, Clone, Default)]
pub struct Receipt(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: AtomicU64,
    loss: Mutex<Option<Loss>>,
    settled: Notify,
    /// To be on disk is not enough: who waits wants to know what the sinks say.
    is_of_verdicts: bool,
}

/// One chunk's part of a receipt: closed when the chunk is on disk; where the journal does not have it, when every sink has
/// decided all of it. Clones are the same part.
#[derive(Debug, Clone)]
pub struct Part(Arc<Share>);

#[derive(Debug)]
struct Share {
    receipt: Receipt,
    /// Sinks that have not decided, and the journal, until it has said what becomes of the chunk.
    open: AtomicUsize,
    is_closed: AtomicBool,
}

/// What a sink lost of a chunk. It prints as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The sink's name.
    pub sink: Arc<str>,
    /// How.
    pub why: Why,
}

/// How records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The store refused one for good, by this reason; it is in the dead letters.
    Rejected(&'static str),
    /// The store was never asked, or never answered.
    Dropped(Drop),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Rejected(reason) => write!(f, "sink {} rejected a report: {reason}", self.sink),
            Why::Dropped(why) => write!(f, "sink {} dropped reports: {}", self.sink, why.code()),
        }
    }
}

impl Receipt {
    /// One that expects nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is complete only when every sink has given its final verdict, though all be on disk before.
    pub fn of_verdicts() -> Self {
        Receipt(Arc::new(Inner { is_of_verdicts: true, ..Inner::default() }))
    }

    /// Whether only verdicts complete it.
    pub fn is_of_verdicts(&self) -> bool {
        self.0.is_of_verdicts
    }

    /// A chunk is on its way to so many sinks.
    pub(super) fn part(&self, sinks: usize) -> Part {
        let part = Part(Arc::new(Share {
            receipt: self.clone(),
            open: AtomicUsize::new(sinks),
            is_closed: AtomicBool::new(sinks == 0),
        }));
        if sinks > 0 {
            self.0.open.fetch_add(1, Ordering::AcqRel);
        }
        part
    }

    /// Whether nothing is open.
    pub fn is_complete(&self) -> bool {
        self.0.open.load(Ordering::Acquire) == 0
    }

    /// Waits until it is complete.
    pub async fn complete(&self) {
        loop {
            let settled = self.0.settled.notified();
            if self.is_complete() {
                return;
            }
            settled.await;
        }
    }

    /// What was lost, if anything; told once.
    pub fn take_loss(&self) -> Option<Loss> {
        self.0.loss.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether nothing is open, and no loss is to be told.
    pub fn is_done(&self) -> bool {
        self.is_complete() && self.0.loss.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Part {
    /// A sink has decided all records of the chunk. What was `lost` there is the answer to who waits; the first loss is
    /// kept.
    pub(super) fn settle(&self, lost: Option<Loss>) {
        if lost.is_some() {
            let mut loss = self.0.receipt.0.loss.lock().unwrap_or_else(PoisonError::into_inner);
            if loss.is_none() {
                *loss = lost;
            }
        }
        self.0.count_off();
    }

    /// What the journal tells that the chunk is on disk, or drops, where it does not get there. To be asked for before the chunk
    /// goes to a sink.
    pub(super) fn waiter(&self) -> Box<dyn Durable> {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Box::new(OnDisk(Arc::clone(&self.0)))
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }
}

/// The journal's hold on a part.
#[derive(Debug)]
struct OnDisk(Arc<Share>);

impl Durable for OnDisk {
    fn durable(self: Box<Self>) {
        if !self.0.receipt.is_of_verdicts() {
            self.0.close();
        }
    }
}

impl std::ops::Drop for OnDisk {
    fn drop(&mut self) {
        self.0.count_off();
    }
}

impl Share {
    fn count_off(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    fn close(&self) {
        let receipt = &self.receipt.0;
        if !self.is_closed.swap(true, Ordering::AcqRel) && receipt.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            receipt.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_complete_when_every_sink_has_decided_every_chunk() {
        let receipt = Receipt::new();
        let (two, one) = (receipt.part(2), receipt.part(1));
        two.settle(None);
        one.settle(None);
        assert!(!receipt.is_complete());
        let waiting = tokio::spawn({
            let receipt = receipt.clone();
            async move { receipt.complete().await }
        });
        tokio::task::yield_now().await;
        let loss = Loss { sink: "store".into(), why: Why::Dropped(Drop::Shutdown) };
        two.settle(Some(loss.clone()));
        waiting.await.unwrap();
        assert_eq!(receipt.take_loss(), Some(loss));
        assert_eq!(receipt.take_loss(), None);
    }

    #[test]
    fn a_chunk_on_disk_needs_no_verdict_unless_who_waits_wants_one() {
        for (receipt, complete) in [(Receipt::new(), true), (Receipt::of_verdicts(), false)] {
            let part = receipt.part(1);
            part.waiter().durable();
            assert_eq!(receipt.is_complete(), complete);
            part.settle(None);
            assert!(receipt.is_complete());
        }
    }

    #[test]
    fn verdicts_are_enough_only_once_the_journal_has_let_go_of_it() {
        for is_durable in [true, false] {
            let receipt = Receipt::new();
            let part = receipt.part(2);
            let waiter = part.waiter();
            part.settle(None);
            part.settle(None);
            assert!(!receipt.is_complete() && !part.is_closed());
            if is_durable {
                waiter.durable()
            } else {
                drop(waiter)
            }
            assert!(receipt.is_complete() && part.is_closed());
        }
    }
}
