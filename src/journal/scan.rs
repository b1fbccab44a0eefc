//! The entries of a segment in order; what is unreadable is passed over up to the next entry.

use std::io;
use std::ops::Range;

use memchr::memmem;

use super::checksum::crc32c;
use super::entry::{self, FRONT, Stored};
use super::files::File;
use super::segment::Marker;

/// Bytes read at once: enough for a disk to be at its fastest.
const READ_BYTES: usize = 512 << 10;

/// Where a scan of one segment stands.
#[derive(Debug)]
pub(super) struct Scan {
    marker: Marker,
    /// What was read and not yet used up, from `from` on.
    buffer: Vec<u8>,
    from: usize,
    /// The place in the file of the first byte behind `buffer`.
    read_to: u64,
    /// Where the segment ends.
    end: u64,
    /// Numbers that the next entry may have. Others were written before a failure and again behind it.
    numbers: Range<u64>,
    /// Up to where entries reach that were begun, sound or not, by what they say themselves.
    reach: u64,
}

/// What is met in a segment.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// An entry.
    Entry {
        stored: Stored<'a>,
        /// Where it begins in its segment.
        at: u64,
        /// Bytes it takes up.
        bytes: u64,
    },
    /// A stretch that is unreadable, up to the next entry, or to the end of the segment.
    Bad { at: u64, bytes: u64, is_tail: bool },
}

impl Scan {
    /// Of the bytes `range` of a segment whose entries begin with `marker`. `range` begins where an entry does.
    pub(super) fn new(marker: Marker, range: Range<u64>, numbers: Range<u64>) -> Self {
        Scan { marker, buffer: Vec::new(), from: 0, read_to: range.start, end: range.end, numbers, reach: 0 }
    }

    /// Whether it is of the segment with this marker.
    pub(super) fn is_of(&self, marker: Marker) -> bool {
        self.marker == marker
    }

    /// The segment was written on, or cut.
    pub(super) fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    /// The place in the file up to which it has come.
    pub(super) fn at(&self) -> u64 {
        self.read_to - (self.buffer.len() - self.from) as u64
    }

    /// Up to where entries reach that were begun, whole or not, as far as it has come.
    pub(super) fn reach(&self) -> u64 {
        self.reach
    }

    /// What comes next; `None` at the end. After an error it stands where it stood.
    pub(super) fn next(&mut self, file: &impl File) -> io::Result<Option<Step<'_>>> {
        let start = self.at();
        let found = self.find(file).inspect_err(|_| self.stand_at(start))?;
        let at = self.at();
        if at > start {
            return Ok(Some(Step::Bad { at: start, bytes: at - start, is_tail: found.is_none() }));
        }
        let Some(found) = found else { return Ok(None) };
        let body = self.from + FRONT;
        self.from += found.bytes;
        self.numbers.start = found.sequence + 1;
        // It was read once to be sure of it; the borrow checker wants that to be another time than this.
        let stored = Stored::read(&self.buffer[body..body + found.length]);
        Ok(stored.map(|stored| Step::Entry { stored, at, bytes: found.bytes as u64 }))
    }

    /// Goes to the next entry, or to the end.
    fn find(&mut self, file: &impl File) -> io::Result<Option<Place>> {
        while self.at() < self.end {
            if let Some(found) = self.entry(file)? {
                return Ok(Some(found));
            }
            self.skip(file)?;
        }
        Ok(None)
    }

    /// The entry that begins here, if one does.
    fn entry(&mut self, file: &impl File) -> io::Result<Option<Place>> {
        if !self.fill(file, FRONT)? || self.buffer[self.from..][..8] != self.marker {
            return Ok(None);
        }
        let front = &self.buffer[self.from..][..FRONT];
        let (length, checksum) = (word(&front[8..]), word(&front[12..]));
        let whole = FRONT.saturating_add(length as usize);
        let bytes = whole + entry::padding(whole);
        self.reach = self.reach.max((self.at() + bytes as u64).min(self.end));
        if whole > entry::MAX_BYTES || !self.fill(file, bytes)? {
            return Ok(None);
        }
        let body = &self.buffer[self.from + FRONT..self.from + whole];
        if crc32c([&length.to_le_bytes(), body]) != checksum {
            return Ok(None);
        }
        let sequence = Stored::read(body).map(|stored| stored.position.sequence);
        let sequence = sequence.filter(|sequence| self.numbers.contains(sequence));
        Ok(sequence.map(|sequence| Place { sequence, length: length as usize, bytes }))
    }

    /// Goes on to the next place that may be the beginning of an entry, or to the end.
    fn skip(&mut self, file: &impl File) -> io::Result<()> {
        self.from = self.buffer.len().min(self.from + 1);
        loop {
            if let Some(found) = memmem::find(&self.buffer[self.from..], &self.marker) {
                self.from += found;
                return Ok(());
            }
            // The last bytes may be the first ones of a marker.
            self.from = self.from.max(self.buffer.len().saturating_sub(self.marker.len() - 1));
            if !self.fill(file, self.marker.len())? {
                self.stand_at(self.end);
                return Ok(());
            }
        }
    }

    /// Reads on until `bytes` are there. `false` if there are not so many.
    fn fill(&mut self, file: &impl File, bytes: usize) -> io::Result<bool> {
        let mut have = self.buffer.len() - self.from;
        if have >= bytes {
            return Ok(true);
        }
        let left = usize::try_from(self.end.saturating_sub(self.at())).unwrap_or(usize::MAX);
        if left < bytes {
            return Ok(false);
        }
        self.buffer.drain(..self.from);
        self.from = 0;
        self.buffer.resize(READ_BYTES.clamp(bytes, left.max(bytes)).min(left), 0);
        let mut read = Ok(1);
        while have < bytes && matches!(read, Ok(1..)) {
            read = file.read_at(self.read_to, &mut self.buffer[have..]);
            let more = *read.as_ref().unwrap_or(&0);
            have += more;
            self.read_to += more as u64;
        }
        self.buffer.truncate(have);
        // A file that ends before its segment does was cut by somebody else.
        read.map(|_| have >= bytes)
    }

    /// Forgets what was read, and goes on at a place of the file.
    fn stand_at(&mut self, at: u64) {
        self.buffer.clear();
        self.from = 0;
        self.read_to = at;
    }
}

/// An entry in the buffer.
struct Place {
    sequence: u64,
    /// Bytes of what its checksum is over.
    length: usize,
    /// Bytes it takes up.
    bytes: usize,
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}
