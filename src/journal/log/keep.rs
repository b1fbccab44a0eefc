//! What the log keeps: cursors, and the segments that one of them still needs.

use std::io;
use std::sync::Arc;

use super::{Health, Log};
use crate::journal::cursor::{Cursor, Plan, file};
use crate::journal::entry::Head;
use crate::journal::extent::{Extent, Segment};
use crate::journal::files::Files;
use crate::journal::scan::Step;

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// No entry in it has a lower sequence number.
    pub first: u64,
    /// The highest sequence number in it; below `first` if it has no entry.
    pub last: u64,
    /// Its length.
    pub bytes: u64,
    /// Entries in it.
    pub entries: u64,
    /// Records in it.
    pub records: u64,
    /// When it was begun, seconds since 1970.
    pub created: u64,
}

impl<F: Files> Log<F> {
    /// Stores the cursor of a sink in one atomic step. An error of kind `InvalidInput` if its position is beyond what is
    /// durable; after any other error the one before is stored, or this one.
    pub fn put_cursor(&mut self, name: &str, cursor: &Cursor) -> io::Result<()> {
        // What is decided of carried entries may be: their numbers are not used again.
        if cursor.position() > self.durable {
            let (at, durable) = (cursor.position(), self.durable);
            let message = format!("the cursor of {name} is at {at}, and the journal durable up to {durable}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        file::store(&self.extent.files, name, cursor)?;
        self.orphans.remove(name);
        self.cursors.insert(name.to_owned(), cursor.lowest());
        Ok(())
    }

    /// The lowest sequence number that a stored cursor, orphans included, still needs.
    fn needed(&self) -> u64 {
        self.cursors.values().copied().min().unwrap_or(u64::MAX)
    }

    /// Whether every stored cursor, orphans included, has passed a segment.
    pub fn is_passed(&self, segment: &SegmentInfo) -> bool {
        segment.last < self.needed()
    }

    /// Deletes the segments that every stored cursor, orphans included, has passed, from the oldest on. The newest
    /// stays. Gives their bytes.
    pub fn reclaim(&mut self) -> io::Result<u64> {
        let needed = self.needed();
        let done = {
            let known = self.extent.lock();
            let closed = known.segments.iter().take(known.segments.len().saturating_sub(1));
            closed.map(|segment| segment.last).take_while(|last| *last < needed).last()
        };
        if let Some(last) = done {
            self.save_known(last)?;
        }
        let mut freed = 0;
        loop {
            let is_passed = {
                let known = self.extent.lock();
                known.segments.len() > 1 && known.segments.front().is_some_and(|oldest| oldest.last < needed)
            };
            if !is_passed {
                return Ok(freed);
            }
            freed += self.remove_front()?;
        }
    }

    /// Deletes the oldest segment whatever cursors say. The caller has stored cursors that count what goes. Where it is
    /// the only one, a new one is begun first, which keeps its number from being used again.
    pub fn remove_oldest(&mut self) -> io::Result<()> {
        let is_only = {
            let known = self.extent.lock();
            if known.segments.iter().all(|segment| segment.entries == 0) {
                return Ok(());
            }
            known.segments.len() == 1
        };
        let oldest = self.oldest();
        if is_only {
            self.close_newest()?;
        }
        if let Some(oldest) = oldest {
            self.save_known(oldest.last)?;
        }
        self.remove_front().map(drop)
    }

    /// Closes the newest segment, full or not, and begins another one.
    pub fn close_newest(&mut self) -> io::Result<()> {
        if self.health != Health::Good {
            return Err(io::Error::other("the journal has failed: its newest segment stays"));
        }
        self.roll(self.written() + 1)?;
        self.sync()
    }

    /// Deletes the oldest segment, or keeps its file for another one, and gives its bytes.
    fn remove_front(&mut self) -> io::Result<u64> {
        // First for readers, so that none misses the file of a segment that there is.
        let Some(oldest) = self.extent.lock().segments.pop_front() else { return Ok(0) };
        let removed = match oldest.is_reusable && self.spares.has_room() {
            true => self.spares.keep(&self.extent.files, &oldest),
            false => self.extent.files.remove(&oldest.name()),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.extent.lock().segments.push_front(oldest);
                Err(error)
            }
            _ => Ok(oldest.end),
        }
    }

    /// Gives back the room on the disk that is held for what will be written. Says whether there was any.
    pub fn trim(&mut self) -> io::Result<bool> {
        let is_cut = self.cut_rest()?;
        Ok(self.spares.remove_all(&self.extent.files)? || is_cut)
    }

    /// The oldest segment, if there is one.
    pub fn oldest(&self) -> Option<SegmentInfo> {
        self.extent.lock().segments.front().map(SegmentInfo::of)
    }

    /// All segments, the oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.extent.lock().segments.iter().map(SegmentInfo::of).collect()
    }

    /// The heads of the entries of the segment that begins with `first`, in order. An error of kind `NotFound` if there
    /// is none.
    pub fn heads(&self, first: u64) -> io::Result<Vec<Head>> {
        let (name, mut scan) = {
            let known = self.extent.lock();
            let index = known.index_of(first).ok_or(io::ErrorKind::NotFound)?;
            (known.segments[index].name(), known.scan(index, 0))
        };
        let file = self.extent.files.open(&name)?;
        let mut heads = Vec::new();
        while let Some(step) = scan.next(&file)? {
            if let Step::Entry { stored, bytes, .. } = step {
                heads.push(stored.head(bytes));
            }
        }
        Ok(heads)
    }

    /// The names of cursors without a sink.
    pub fn orphans(&self) -> impl Iterator<Item = &str> {
        self.orphans.iter().map(String::as_str)
    }

    /// Records of entries with these heads that cursors without a sink have still to get.
    pub fn left_to_orphans(&self, heads: &[Head]) -> io::Result<u64> {
        let mut records = 0;
        for name in &self.orphans {
            let loaded = file::load(&self.extent.files, name).map_err(io::Error::other)?;
            let Some(cursor) = loaded else { continue };
            let mut plan = Plan::new(name, &cursor);
            records += heads.iter().map(|head| plan.left(head).count(head)).sum::<u64>();
        }
        Ok(records)
    }

    /// Deletes a cursor without a sink. An error of kind `NotFound` if there is none of that name.
    pub fn forget(&mut self, name: &str) -> io::Result<()> {
        if !self.orphans.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.extent.files.remove(&file::file_name(name))?;
        self.extent.files.sync()?;
        self.orphans.remove(name);
        self.cursors.remove(name);
        Ok(())
    }

    /// Bytes of all files that segments have, had, or will have.
    pub fn size(&self) -> u64 {
        let rest = self.current.as_ref().map_or(0, |current| current.length.saturating_sub(current.end));
        let segments: u64 = self.extent.lock().segments.iter().map(|segment| segment.end).sum();
        segments + rest + self.spares.bytes()
    }

    /// Bytes that the disk has left.
    pub fn free(&self) -> io::Result<u64> {
        self.extent.files.free()
    }

    /// What readers share with it.
    pub fn extent(&self) -> Arc<Extent<F>> {
        Arc::clone(&self.extent)
    }
}

impl SegmentInfo {
    pub(in crate::journal) fn of(segment: &Segment) -> Self {
        SegmentInfo {
            first: segment.first,
            last: segment.last,
            bytes: segment.end,
            entries: segment.entries,
            records: segment.records,
            created: segment.created,
        }
    }
}
