//! A queue in front of the log, and its broker: what is known of its messages at a start.

use std::collections::BTreeSet;

use super::world::{Safety, World, names};
use super::*;
use crate::journal::known::file;
use crate::record::LineOrigin;

/// What the broker and the log have of the queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) is_there: bool,
    /// Messages that the broker delivers again.
    held: BTreeSet<String>,
    /// Those that the last start knew.
    known: BTreeSet<String>,
    /// Those that any start has found in the log.
    found: BTreeSet<String>,
}

impl Default for Queue {
    fn default() -> Self {
        let [held, known, found] = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        Queue { is_there: true, held, known, found }
    }
}

impl Queue {
    fn find(&mut self, block: &Block) {
        let of_queue = block.entries.iter().filter(|found| *found.chunk.origin().source == *QUEUE);
        self.found.extend(of_queue.flat_map(|found| names(&found.chunk)));
    }

    /// What is not known is delivered again, and taken anew: nothing to look at any more.
    pub(super) fn redeliver(&mut self) {
        self.held.retain(|name| self.known.contains(name));
    }
}

impl World {
    pub(super) fn take(&mut self, messages: usize) {
        if !self.queue.is_there {
            return;
        }
        let names: Vec<_> = (0..messages).map(|_| self.name()).collect();
        let mut open = OpenChunk::new(Origin { source: QUEUE.into(), ..origin() });
        open.begin_read(1_795_374_000_000_000_000);
        for name in &names {
            let line = format!("{name}:1|c\n");
            let at = open.append(line.as_bytes()).start;
            open.set_line_origin(LineOrigin {
                at: at as u32,
                id: name.as_str().into(),
                time: None,
                position: None,
            });
            let (bytes, table) = open.parts();
            let line = &bytes[at..at + line.len() - 1];
            parse(line, Dialect::Kaneda, &Limits::NONE, &mut |record| table.push(&record, bytes, at))
                .unwrap();
        }
        let sequence = self.number();
        self.bear(&names, sequence, None);
        self.queue.held.extend(names.iter().cloned());
        self.append_group(vec![(sealed(open, sequence), names, None)]);
    }

    pub(super) fn confirm(&mut self, of_ten: u64) {
        for name in self.queue.held.clone() {
            // Only what is durable was acknowledged.
            if self.queue.is_there
                && self.truth.get(&name).is_none_or(|truth| truth.safety == Safety::Durable)
                && self.random.below(10) < of_ten
            {
                self.log().confirm(0, &name);
                self.queue.held.remove(&name);
            }
        }
    }

    /// A start that may fail finds, and remembers, what can be read now.
    pub(super) fn find(&mut self) {
        let disk = self.disk.copy();
        disk.kill();
        let (log, _) = Log::open(disk, SMALL, &[], &[QUEUE]).unwrap();
        let block = Reader::new(log.extent(), 0).read(usize::MAX).unwrap();
        self.queue.find(&block);
    }

    /// What is durable and not confirmed is known, and nothing that was never in the log is.
    pub(super) fn check_queue(&mut self, block: &Block, orphans: &[OrphanQueue]) {
        self.queue.find(block);
        let known: BTreeSet<String> = if self.queue.is_there {
            assert_eq!(orphans, []);
            self.log().known(0).into_iter().map(|message| message.id.into()).collect()
        } else {
            let record = file::load(&self.disk, QUEUE).unwrap().unwrap();
            assert_eq!(orphans, [OrphanQueue { name: QUEUE.to_owned(), messages: record.messages.len() }]);
            record.messages.into_iter().map(|message| message.id.into()).collect()
        };
        for name in &self.queue.held {
            // One that was in doubt, was found, and is gone by now: it is known all the same.
            if self.truth.get(name).is_none_or(|truth| truth.safety == Safety::Durable) {
                assert!(known.contains(name), "{name} would be stored again");
            }
        }
        for name in &known {
            assert!(
                self.truth.contains_key(name) || self.queue.found.contains(name),
                "{name} is nowhere, and would be acknowledged"
            );
        }
        self.queue.known = known;
    }
}
