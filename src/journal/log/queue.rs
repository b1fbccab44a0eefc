//! What the log keeps of the messages of queues.

use std::io;

use super::{Log, OrphanQueue, Recovery};
use crate::journal::OpenError;
use crate::journal::files::Files;
use crate::journal::known::{Known, MOST, Message, file};

impl<F: Files> Log<F> {
    /// Sorts `self.queues`, which are those that a record was found of, by `names`. What was found of them is stored, so
    /// that it pins no segment. Of entries up to `unread` the disk did not give all: it may give the rest at a later start.
    /// A new one gets its record now, so that the next start finds what came by then.
    pub(super) fn open_queues(
        &mut self,
        names: &[&str],
        unread: Option<u64>,
        recovery: &mut Recovery,
    ) -> Result<(), OpenError> {
        let mut found = std::mem::take(&mut self.queues);
        recovery.forgotten_messages = found.iter_mut().map(|queue| queue.limit(MOST)).sum();
        for name in names {
            let at = found.iter().position(|queue| **queue.queue() == **name);
            let queue = at.map(|at| found.swap_remove(at));
            self.queues.push(queue.unwrap_or_else(|| Known::begin(name)));
        }
        let own = self.queues.len();
        self.queues.append(&mut found);
        if let Some(last) = unread {
            self.queues.iter_mut().for_each(|queue| queue.miss(last));
        }
        let failed = |error| OpenError::Io { what: "what is known of a queue".to_owned(), error };
        self.put_where(Known::is_changed).map_err(failed)?;
        let orphan = |queue: &Known| OrphanQueue {
            name: queue.queue().to_string(),
            messages: queue.record(self.durable).messages.len(),
        };
        recovery.orphan_queues = self.queues[own..].iter().map(orphan).collect();
        self.queues.truncate(own);
        recovery.orphan_queues.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// The messages of the queue at `place` that are known, in any order.
    pub fn known(&self, place: usize) -> Vec<Message> {
        self.queues.get(place).map_or_else(Vec::new, |queue| queue.record(self.durable).messages)
    }

    /// The broker of the queue at `place` will not deliver this message again.
    pub fn confirm(&mut self, place: usize, id: &str) {
        if let Some(queue) = self.queues.get_mut(place) {
            queue.confirm(id);
        }
    }

    /// Messages that were first received before this, nanoseconds since 1970, are not waited for any more. Gives their
    /// number.
    pub fn expire_known(&mut self, before: i64) -> usize {
        self.queues.iter_mut().map(|queue| queue.expire(before)).sum()
    }

    /// Stores what is known of each queue of which more than `most` messages are in no record, or, if that is 0, of
    /// which anything has changed.
    pub fn put_known(&mut self, most: usize) -> io::Result<()> {
        self.put_where(|queue| queue.fresh() > most || most == 0 && queue.is_changed())
    }

    /// Before segments with entries up to `last` go: what is known of messages in them is stored.
    pub(super) fn save_known(&mut self, last: u64) -> io::Result<()> {
        self.queues.iter_mut().for_each(|queue| queue.let_go(last));
        self.put_where(|queue| queue.needs(last))
    }

    fn put_where(&mut self, is_due: impl Fn(&Known) -> bool) -> io::Result<()> {
        let durable = self.durable;
        for queue in self.queues.iter_mut().filter(|queue| is_due(queue)) {
            file::store(&self.extent.files, queue.queue(), &queue.record(durable))?;
            queue.stored(durable);
        }
        Ok(())
    }

    /// Deletes what is known of a queue that is not among those of this log. An error of kind `NotFound` if there is
    /// nothing.
    pub fn forget_queue(&mut self, queue: &str) -> io::Result<()> {
        if self.queues.iter().any(|known| **known.queue() == *queue) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.extent.files.remove(&file::file_name(queue))?;
        self.extent.files.sync()
    }
}
