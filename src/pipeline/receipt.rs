//! A receipt travels beside chunks and is completed once, when all of them are durable or decided.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::ledger::Drop;

/// Counts what is still open of the chunks that it travels beside. Clones are the same receipt.
///
/// Whoever sends a chunk somewhere calls `expect` first; whoever has the final word on it there calls `settle`.
/// It is complete whenever nothing is open.
#[derive(Debug, Clone, Default)]
pub struct Receipt(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: AtomicU64,
    loss: Mutex<Option<Loss>>,
    settled: Notify,
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

    /// A chunk is on its way to one more place.
    pub fn expect(&self) {
        self.0.open.fetch_add(1, Ordering::AcqRel);
    }

    /// A place has decided all records of a chunk. What was `lost` there is the answer to who waits; the first
    /// loss is kept.
    pub fn settle(&self, lost: Option<Loss>) {
        if lost.is_some() {
            let mut loss = self.0.loss.lock().unwrap_or_else(PoisonError::into_inner);
            if loss.is_none() {
                *loss = lost;
            }
        }
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.notify_waiters();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_complete_when_every_place_has_settled() {
        let receipt = Receipt::new();
        receipt.expect();
        receipt.expect();
        receipt.settle(None);
        assert!(!receipt.is_complete());
        let waiting = tokio::spawn({
            let receipt = receipt.clone();
            async move { receipt.complete().await }
        });
        tokio::task::yield_now().await;
        let loss = Loss { sink: "store".into(), why: Why::Dropped(Drop::Shutdown) };
        receipt.settle(Some(loss.clone()));
        waiting.await.unwrap();
        assert_eq!(receipt.take_loss(), Some(loss));
        assert_eq!(receipt.take_loss(), None);
    }
}
