//! Who a record is: an id that is the same on every retry and every replay.

use std::fmt;

use uuid::Uuid;

use super::Text;

/// Names a chunk. Unique over restarts and hosts, and ordered by time: a UUID of version 7 (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(Uuid);

impl ChunkId {
    /// A new one, later in order than every earlier one of this process.
    pub fn new() -> Self {
        ChunkId(Uuid::now_v7())
    }

    /// The one with these 16 bytes, as `to_bytes` gave them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        ChunkId(Uuid::from_bytes(bytes))
    }

    /// For storing.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl Default for ChunkId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// The id of a record, and whose it is: the rules for a repeat differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Identity<'a> {
    /// The client's own: a repeat replaces what is stored.
    Client(Text<'a>),
    /// Ours: a repeat is the same record again and is ignored.
    Own(OwnId<'a>),
}

/// An id of ours: the place of the line (or its origin id), and `-index` for all but the first value of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnId<'a> {
    /// The line.
    pub line: LineId<'a>,
    /// Which value of a packed or multi-metric line.
    pub index: u32,
}

/// What names a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineId<'a> {
    /// The chunk, or an `Idempotency-Key` hashed to as many bytes, and the byte offset of the line in it, printed
    /// `chunk-offset`.
    Place(ChunkId, u32),
    /// An id from where the line came from: a queue's message id, a dead letter's id.
    Origin(&'a str),
}

impl fmt::Display for OwnId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            LineId::Place(chunk, offset) => write!(f, "{chunk}-{offset}")?,
            LineId::Origin(id) => f.write_str(id)?,
        }
        match self.index {
            0 => Ok(()),
            index => write!(f, "-{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spelt_as_they_always_were() {
        // A fixture: stored documents carry these ids, so their spelling never changes.
        let chunk = ChunkId::from_bytes([
            0x01, 0x93, 0x52, 0xab, 0x00, 0x01, 0x70, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 0x2a,
        ]);
        let place = |offset, index| OwnId { line: LineId::Place(chunk, offset), index }.to_string();
        assert_eq!(place(0, 0), "019352ab00017000800000000000002a-0");
        assert_eq!(place(1432, 7), "019352ab00017000800000000000002a-1432-7");
        let origin = OwnId { line: LineId::Origin("task-1"), index: 1 };
        assert_eq!(origin.to_string(), "task-1-1");
    }

    #[test]
    fn chunk_ids_are_ordered_as_they_were_made() {
        let ids: Vec<_> = (0..1000).map(|_| ChunkId::new()).collect();
        assert!(ids.is_sorted());
    }
}
