//! The log: appends entries, makes them durable, keeps cursors, deletes what every sink has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::entry::{Entry, Heads};
use super::extent::{Extent, Segment};
use super::files::{File, Files};
use super::known::Known;
use super::segment::{HEADER_BYTES, Header, Marker, file_name};

mod keep;
mod queue;
mod recovery;
mod spare;

pub use keep::SegmentInfo;
pub use recovery::{Lane, Orphan, OrphanQueue, Recovery};

use spare::Spares;

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes at which a segment is closed and a new one begins.
    pub segment_size: u64,
}

/// Where a sink without a cursor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// Behind all that is there.
    End,
    /// With the oldest entry there is.
    Start,
}

/// The log. One thread owns it; it has no clock and no thread of its own.
#[derive(Debug)]
pub struct Log<F: Files> {
    extent: Arc<Extent<F>>,
    settings: Settings,
    /// The newest segment, if it is one that is appended to: never one of an earlier process.
    current: Option<Current<F::File>>,
    health: Health,
    durable: u64,
    /// Whether anything was written to `current` since it was last synced.
    is_dirty: bool,
    /// Whether there is a file whose name may not survive a crash.
    is_new: bool,
    heads: Heads,
    /// The cursors on disk: the lowest entry that each of them leaves.
    cursors: BTreeMap<String, u64>,
    orphans: BTreeSet<String>,
    /// The queues whose messages may be delivered again.
    queues: Vec<Known>,
    /// The highest number that a segment was named by, or was tried to be.
    tried: u64,
    /// Files for segments to come.
    spares: Spares,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Current<File> {
    file: File,
    marker: Marker,
    /// Where its last entry ends.
    end: u64,
    /// How long its file was when it was begun: what stands there behind `end` is left of another segment.
    length: u64,
}

/// Whether the log can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// A write failed: what was written before it is not in doubt.
    Unwritable,
    /// A sync failed: what was written since the one before is in doubt.
    Unsynced,
}

impl<F: Files> Log<F> {
    /// Appends `group` with one write, and gives its bytes; a new segment first when the present one is full, once that
    /// is durable. Sequence numbers ascend strictly; gaps are allowed.
    ///
    /// After an error nothing of the group is trusted to be there, nothing more is taken until [`Log::restart`], and
    /// what was appended before can still be made durable by [`Log::sync`], unless that is what failed. An error of
    /// kind `InvalidInput` is the caller's: then nothing was tried, and the log goes on.
    pub fn append(&mut self, group: &[Entry]) -> io::Result<u64> {
        let Some(first) = group.first() else { return Ok(0) };
        if self.health != Health::Good {
            return Err(io::Error::other("the journal has failed: it takes nothing until it is restarted"));
        }
        if !group.iter().map(sequence).is_sorted_by(|a, b| a < b) || sequence(first) < self.least() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "sequence numbers do not ascend"));
        }
        if self.current.as_ref().is_none_or(|current| current.end >= self.settings.segment_size) {
            self.roll(sequence(first))?;
        }
        let Some(current) = &mut self.current else { return Ok(0) };

        self.heads.write(group, current.marker)?;
        if let Err(error) = current.file.write_at(current.end, &mut self.heads.parts(group)) {
            self.health = Health::Unwritable;
            // If it cannot be cut now, restart tries again, and after a crash it is a torn tail.
            let _ = current.file.cut(current.end);
            current.length = current.end;
            return Err(error);
        }
        self.is_dirty = true;
        let mut known = self.extent.lock();
        if let Some(segment) = known.segments.back_mut() {
            for (entry, bytes) in group.iter().zip(self.heads.sizes()) {
                segment.add(&entry.head(*bytes), current.end);
                current.end += bytes;
            }
        }
        known.written = group.last().map_or(0, sequence);
        drop(known);
        for queue in &mut self.queues {
            group.iter().for_each(|entry| queue.append(entry));
        }
        Ok(self.heads.sizes().iter().sum())
    }

    /// Makes durable what was appended.
    ///
    /// After an error what was appended since the last success is not trusted: it may be there after a crash, or not,
    /// and no further call makes it durable. Readers find it still, for as long as the kernel has it.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.health == Health::Unsynced {
            return Err(io::Error::other(
                "the journal has failed: it makes nothing durable until it is restarted",
            ));
        }
        self.sync_all()?;
        self.durable = self.written();
        Ok(())
    }

    /// The highest sequence number that was appended; what `Recovery::last` says before anything was.
    pub fn written(&self) -> u64 {
        self.extent.lock().written
    }

    /// The highest sequence number of which it is settled whether it is on disk: nothing is written below it any more, and
    /// all is durable but what a failed [`Log::sync`] left in doubt.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// After an error: closes the segment at its last good byte and begins a new one, durable at once. An error says
    /// that the disk still fails. What a failed [`Log::sync`] left in doubt stays where it is, for readers and for a
    /// later start, and is never made durable. From now on cursors may be beyond it: a start that finds it must not take
    /// it for new.
    pub fn restart(&mut self) -> io::Result<()> {
        self.spares.distrust(&self.extent.files);
        let is_in_doubt = self.health == Health::Unsynced;
        if self.health == Health::Good {
            // Until it is done: what it leaves when it fails must not be appended to.
            self.health = Health::Unwritable;
        }
        if let Some(current) = &mut self.current {
            current.file.cut(current.end)?;
            current.length = current.end;
        }
        self.is_dirty = true;
        self.sync_all()?;
        if is_in_doubt {
            self.queues.iter_mut().for_each(|queue| queue.distrust(self.durable));
        } else {
            self.durable = self.written();
        }
        self.begin(self.least())?;
        self.sync_all()?;
        self.durable = self.written();
        self.health = Health::Good;
        Ok(())
    }

    /// The lowest number that can be appended. A segment that nothing could be written to has its number already.
    fn least(&self) -> u64 {
        let known = self.extent.lock();
        known.segments.back().map_or(0, |newest| newest.first).max(known.written + 1).max(self.tried)
    }

    /// Begins a new segment, and makes the present one durable before: whatever is unreadable in any but the newest
    /// one is damage, and no matter of an unclean stop.
    fn roll(&mut self, first: u64) -> io::Result<()> {
        self.cut_rest()?;
        self.sync()?;
        if self.current.is_some()
            && let Some(newest) = self.extent.lock().segments.back_mut()
        {
            newest.is_reusable = true;
        }
        self.begin(first).inspect_err(|_| self.health = Health::Unwritable)
    }

    /// Takes away what is left of another segment behind the end of the newest one. Says whether there was any.
    fn cut_rest(&mut self) -> io::Result<bool> {
        let Some(current) = self.current.as_mut().filter(|current| current.end < current.length) else {
            return Ok(false);
        };
        if let Err(error) = current.file.cut(current.end) {
            if self.health == Health::Good {
                self.health = Health::Unwritable;
            }
            return Err(error);
        }
        current.length = current.end;
        self.is_dirty = true;
        Ok(true)
    }

    /// Begins a segment, in place of the newest one if that has the same name: then nothing is in it.
    fn begin(&mut self, first: u64) -> io::Result<()> {
        // A file with a higher name may be left of an attempt that failed: what stands behind its name must not stand here.
        let first = first.max(self.tried);
        self.tried = first;
        let (file, header, length) = match self.spares.begin(&self.extent.files, first)? {
            Some(begun) => begun,
            None => self.create(first)?,
        };
        self.current = Some(Current { file, marker: header.marker, end: HEADER_BYTES, length });
        (self.is_dirty, self.is_new) = (true, true);
        let mut known = self.extent.lock();
        known.segments.pop_back_if(|newest| newest.first == first);
        known.segments.push_back(Segment::new(first, Some(header)));
        Ok(())
    }

    /// Makes a new file for a segment.
    fn create(&self, first: u64) -> io::Result<(F::File, Header, u64)> {
        let files = &self.extent.files;
        let header = Header::new(first);
        let name = file_name(first);
        let file = match files.create(&name) {
            // A failure before this left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                files.remove(&name)?;
                files.create(&name)?
            }
            created => created?,
        };
        if let Err(error) = file.write_at(0, &mut [IoSlice::new(&header.to_bytes())]) {
            // If this fails too, the next try removes it, or the next start.
            let _ = files.remove(&name);
            return Err(error);
        }
        Ok((file, header, HEADER_BYTES))
    }

    fn sync_all(&mut self) -> io::Result<()> {
        let file =
            self.current.as_ref().filter(|_| self.is_dirty).map_or(Ok(()), |current| current.file.sync());
        let synced = file.and_then(|()| if self.is_new { self.extent.files.sync() } else { Ok(()) });
        match &synced {
            Ok(()) => (self.is_dirty, self.is_new) = (false, false),
            // The next sync may well succeed, and yet what this one should have written is not there.
            Err(_) => self.health = Health::Unsynced,
        }
        synced
    }
}

fn sequence(entry: &Entry) -> u64 {
    entry.chunk.position().sequence
}
