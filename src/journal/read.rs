//! Follows the log from any entry on, a block at a time.

use std::io;
use std::sync::Arc;

use super::entry::{Head, Names};
use super::extent::{Extent, Known};
use super::files::Files;
use super::scan::{Scan, Step};
use super::segment::{HEADER_BYTES, file_name};
use crate::record::Chunk;

/// Reads entries in order. It may block on the disk.
#[derive(Debug)]
pub struct Reader<F: Files> {
    extent: Arc<Extent<F>>,
    /// No lower entry is given.
    next: u64,
    standing: Option<Standing<F::File>>,
    names: Names,
}

/// Where it stands.
#[derive(Debug)]
struct Standing<File> {
    /// The segment.
    first: u64,
    scan: Scan,
    /// Opened when there is something to read.
    file: Option<File>,
}

/// What one read gave.
#[derive(Debug, Default)]
pub struct Block {
    /// Entries, in ascending order.
    pub entries: Vec<Found>,
    /// Whatever the log has with a sequence number up to this has been seen.
    pub through: u64,
    /// Not 0: segments with entries below this were removed before they were read.
    pub gone_before: u64,
    /// Stretches that are unreadable and were passed over, but for those that were counted before, here or by others.
    pub corrupt_entries: u64,
    /// Their bytes.
    pub corrupt_bytes: u64,
    /// Entries whose lines say another number of records than when they were written.
    pub miscounted: u64,
    /// Whether the reader has come to the end of what is written.
    pub is_end: bool,
}

/// An entry that was read.
#[derive(Debug)]
pub struct Found {
    /// Its chunk, records rebuilt.
    pub chunk: Chunk,
    /// See [`Entry::carries`](super::Entry::carries).
    pub carries: Option<u64>,
    /// How many records it had when it was written; `chunk.len()` differs if it is miscounted.
    pub records: u32,
}

impl Found {
    /// What the entry says of itself, for a [`Plan`](super::Plan). Its bytes are those of its lines.
    pub fn head(&self) -> Head {
        Head {
            sequence: self.chunk.position().sequence,
            records: self.records,
            target: self.chunk.target().map(Arc::from),
            carries: self.carries,
            bytes: self.chunk.bytes().len() as u64,
        }
    }
}

impl<F: Files> Reader<F> {
    /// From the entry `from` on, or the next one there is.
    pub fn new(extent: Arc<Extent<F>>, from: u64) -> Self {
        Reader { extent, next: from, standing: None, names: Names::default() }
    }

    /// Reads entries of about `max_bytes` of lines: at least one, if there is one. Nothing, at the end of what is
    /// written. After an error it stands where it stood.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Block> {
        let mut block = Block::default();
        let mut bytes = 0;
        while bytes < max_bytes {
            match self.step(&mut block) {
                Ok(Some(found)) => {
                    bytes += found.chunk.bytes().len();
                    block.miscounted += u64::from(found.chunk.len() != found.records as usize);
                    block.entries.push(found);
                }
                Ok(None) => {
                    block.is_end = true;
                    break;
                }
                // What was read is not lost; the next call meets the error again.
                Err(_) if block.has_news() => break,
                Err(error) => return Err(error),
            }
        }
        block.through = self.next.saturating_sub(1);
        Ok(block)
    }

    /// Gives up what it has not read of the segment it stands in, as far as that is written: for going on after an
    /// error. Says how many bytes that is.
    pub fn skip_segment(&mut self) -> u64 {
        let known = self.extent.lock();
        let index = self.standing.as_ref().map_or_else(|| known.index_for(self.next), |it| it.index(&known));
        let Some(index) = index else { return 0 };
        let from = self.standing.as_ref().map_or(HEADER_BYTES, |standing| standing.scan.at());
        let bytes = known.segments[index].end.saturating_sub(from);
        if index + 1 < known.segments.len() {
            self.standing = Some(Standing::at(&known, index + 1, 0));
            self.next = self.next.max(known.segments[index + 1].first);
        } else {
            self.next = self.next.max(known.written + 1);
            self.standing = Some(Standing::at(&known, index, self.next));
        }
        bytes
    }

    /// The next entry; `None` at the end of what is written.
    fn step(&mut self, block: &mut Block) -> io::Result<Option<Found>> {
        while self.stand(block) {
            let Some(standing) = &mut self.standing else { break };
            if standing.file.is_none() {
                match self.extent.files.open(&file_name(standing.first)) {
                    // Removed since it was found.
                    Err(_) if standing.index(&self.extent.lock()).is_none() => continue,
                    opened => standing.file = Some(opened?),
                }
            }
            let Some(file) = &standing.file else { break };
            let start = standing.scan.at();
            let bad = match standing.scan.next(file)? {
                Some(Step::Entry { stored, .. }) if stored.position.sequence >= self.next => {
                    self.next = stored.position.sequence + 1;
                    let (carries, records) = (stored.carries, stored.records);
                    let chunk = stored.into_chunk(&mut self.names);
                    return Ok(Some(Found { chunk, carries, records }));
                }
                Some(Step::Bad { bytes, .. }) => bytes,
                Some(Step::Entry { .. }) | None => 0,
            };
            if bad > 0 && !standing.is_removed(&self.extent.files) {
                let mut known = self.extent.lock();
                let Some(index) = standing.index(&known) else { continue };
                let (stretches, bytes) = known.segments[index].count_bad(start, bad);
                block.corrupt_entries += stretches;
                block.corrupt_bytes += bytes;
            }
        }
        Ok(None)
    }

    /// Finds where there is something to read; `false` at the end of what is written.
    fn stand(&mut self, block: &mut Block) -> bool {
        let known = self.extent.lock();
        loop {
            let index = self.standing.as_ref().and_then(|standing| standing.index(&known));
            let next = match (index, &mut self.standing) {
                (Some(index), Some(standing)) => {
                    let end = known.segments[index].end;
                    standing.scan.set_end(end);
                    if standing.scan.at() < end {
                        return true;
                    }
                    (index + 1 < known.segments.len()).then_some(index + 1)
                }
                // It begins, or its segment was removed.
                _ => known.index_for(self.next),
            };
            let Some(index) = next else {
                self.next = self.next.max(known.written + 1);
                return false;
            };
            let first = known.segments[index].first;
            if index == 0 && first > self.next {
                block.gone_before = first;
            }
            self.next = self.next.max(first);
            self.standing = Some(Standing::at(&known, index, self.next));
        }
    }
}

impl<File> Standing<File> {
    /// In the segment at `index`, in front of the entry `sequence`, or before.
    fn at(known: &Known, index: usize, sequence: u64) -> Self {
        Standing { first: known.segments[index].first, scan: known.scan(index, sequence), file: None }
    }

    /// Whether its file has lost its name: then another segment may have been written over it since it was opened.
    fn is_removed<F: Files<File = File>>(&self, files: &F) -> bool {
        files.open(&file_name(self.first)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Where its segment stands among the others, unless that was removed.
    fn index(&self, known: &Known) -> Option<usize> {
        let is_it = |index: &usize| self.scan.is_of(known.segments[*index].marker);
        known.index_of(self.first).filter(is_it)
    }
}

impl Block {
    fn has_news(&self) -> bool {
        !self.entries.is_empty() || self.corrupt_entries > 0 || self.gone_before > 0
    }
}
