//! The intake of a queue: each message is one report, and the queue's broker forgets it when its receipt is complete.

mod letters;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ingest::{Ingest, Intake};
use super::ledger::Drop;
use super::receipt::{Receipt, Why};
use crate::record::{LineOrigin, Origin};
use crate::source::{Counters, Kept, Message, Messages, Took, Unread};
pub use letters::Letters;

/// Takes the messages of one queue.
#[derive(Debug)]
pub struct Queue {
    intake: Intake,
    counters: Arc<Counters>,
    letters: Letters,
    /// Travels beside what was taken since the last flush.
    receipt: Receipt,
    /// Messages that the broker may deliver again, those of earlier runs too, each with the receipt of its first time.
    known: HashMap<Box<str>, Receipt>,
    /// Those of earlier runs are among them: the journal is open, or there is none.
    is_told: bool,
    /// Those of them that wait for their dead letter, since the last flush.
    unwritten: Vec<Box<str>>,
    /// Receipts of messages that were delivered again since the last flush.
    again: Vec<Receipt>,
    /// Something was lost to the end of the daemon: from now on the broker is not told to forget anything.
    is_losing: Arc<AtomicBool>,
}

impl Queue {
    /// An intake of messages from `origin`, whose dead letters go to `letters`.
    pub fn new(ingest: Arc<Ingest>, origin: Origin, counters: Arc<Counters>, letters: Letters) -> Self {
        let mut queue = Queue {
            intake: Intake::new(ingest, origin),
            counters,
            letters,
            receipt: Receipt::new(),
            known: HashMap::new(),
            is_told: false,
            unwritten: Vec::new(),
            again: Vec::new(),
            is_losing: Arc::default(),
        };
        queue.take_known();
        queue
    }

    /// What earlier runs have taken is on disk: its receipt is complete. What came again before that was known waits for its
    /// own.
    fn take_known(&mut self) {
        if self.is_told {
            return;
        }
        let of_before = match self.intake.ingest.dispatch.journal() {
            Some(journal) => journal.take_known(&self.intake.open.origin().source),
            None => Some(Vec::new()),
        };
        self.is_told = of_before.is_some();
        for message in of_before.into_iter().flatten() {
            self.known.entry(message.id).or_default();
        }
    }

    /// Whether this message was here before; then its receipt is waited for once more.
    fn is_known(&mut self, id: Option<&str>) -> bool {
        self.take_known();
        let Some(receipt) = id.and_then(|id| self.known.get(id)) else { return false };
        self.again.push(receipt.clone());
        self.counters.queue.messages.add(1);
        self.counters.queue.known.add(1);
        true
    }

    fn remember(&mut self, id: Option<&str>) {
        self.counters.queue.messages.add(1);
        if let Some(id) = id {
            self.known.insert(id.into(), self.receipt.clone());
        }
    }
}

impl Messages for Queue {
    type Kept = Pin<Box<dyn Future<Output = Kept> + Send>>;

    fn begin_read(&mut self) {
        self.intake.begin_reports();
    }

    fn as_it_came(&mut self, bytes: &[u8]) -> Option<Took> {
        if !self.intake.open.fits(bytes.len() + 1) {
            return Some(Took::Full);
        }
        self.intake.take_report(bytes).then(|| {
            self.counters.queue.messages.add(1);
            self.counters.queue.taken.add(1);
            Took::Taken
        })
    }

    fn message(&mut self, message: &Message<'_>) -> Took {
        let Message { line, id, received } = *message;
        if self.is_known(id) {
            return Took::Known;
        }
        if !self.intake.open.fits(line.len() + 1) || !self.letters.has_room() {
            return Took::Full;
        }
        // What `take` meets as its last: a message is one line.
        let mut refused = None;
        self.intake.begin_read(line.len() + 1);
        let at = self.intake.open.bytes() as u32;
        if let Some(id) = id {
            self.intake.open.set_line_origin(LineOrigin {
                at,
                id: id.into(),
                time: received,
                position: None,
            });
        }
        self.intake.take(line, |seen| refused = seen.result.err());
        self.remember(id);
        match refused {
            None => {
                self.counters.queue.taken.add(1);
                Took::Taken
            }
            Some(error) => {
                let (code, reason) = (error.reason.code(), error.reason.sentence());
                self.counters.queue.unread.add(1);
                self.unwritten.extend(id.map(Box::from));
                self.letters
                    .add(&self.intake.open.origin().source, &Unread { bytes: line, id, code, reason });
                Took::Refused(code, reason)
            }
        }
    }

    fn unread(&mut self, message: &Unread<'_>) -> Took {
        if self.is_known(message.id) {
            return Took::Known;
        }
        if !self.letters.has_room() {
            return Took::Full;
        }
        self.remember(message.id);
        self.counters.queue.unread.add(1);
        self.unwritten.extend(message.id.map(Box::from));
        self.letters.add(&self.intake.open.origin().source, message);
        Took::Taken
    }

    async fn flush(&mut self) -> Self::Kept {
        if let Some(chunk) = self.intake.close() {
            self.intake.ingest.dispatch.submit(vec![chunk], &self.receipt).await;
        }
        let are_written = self.letters.write().await;
        let unwritten = std::mem::take(&mut self.unwritten);
        if !are_written {
            self.counters.queue.letters_failed.add(1);
            // When they come again their letters are to be written anew.
            for id in unwritten {
                self.known.remove(&id);
            }
        }
        let receipt = std::mem::take(&mut self.receipt);
        let again = std::mem::take(&mut self.again);
        let is_losing = Arc::clone(&self.is_losing);
        Box::pin(async move {
            let mut is_decided = false;
            for receipt in again.iter().chain([&receipt]) {
                receipt.complete().await;
                match receipt.take_loss().map(|loss| loss.why) {
                    Some(Why::Dropped(Drop::Shutdown)) => is_losing.store(true, Ordering::Relaxed),
                    Some(_) => is_decided = true,
                    None => {}
                }
            }
            match (are_written && !is_losing.load(Ordering::Relaxed), is_decided) {
                (false, _) => Kept::Lost,
                (true, true) => Kept::Decided,
                (true, false) => Kept::Stored,
            }
        })
    }

    fn hurry(&self) {
        self.intake.ingest.dispatch.hurry_receipts();
    }

    fn forget(&mut self, id: &str) {
        if let Some(journal) = self.intake.ingest.dispatch.journal() {
            journal.forget(&self.intake.open.origin().source, id);
        }
        // In this order: a journal that did not hear of it before it was opened has told the message by now.
        self.take_known();
        self.known.remove(id);
    }
}

#[cfg(test)]
mod tests;
