//! The chunk that a source is filling.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{LineOrigin, Origin, Peer, Read};
use super::span::{Field, Span};
use super::usual::Usual;
use super::{Chunk, ChunkId, Position, Record};

/// Bytes of lines at which a chunk is full. One chunk is one allocation and one queue operation for some
/// two thousand packed lines; twice as much gains nothing measurable and costs memory and cache.
pub const FULL_BYTES: usize = 64 * 1024;
/// Records at which a chunk is full: what `FULL_BYTES` holds of ordinary lines.
pub const FULL_RECORDS: usize = 4096;

/// Bytes behind the last line that may be looked at while the chunk is open, all LFs: so a parser can load a word, or
/// several, wherever a line begins. They are no part of the chunk.
pub const PAD: usize = 64;

/// Bytes of memory that a chunk may hold: a nearly full one, to which a block or line of one-digit values was added.
pub const fn largest_memory(max_line: usize) -> usize {
    let block = if max_line > FULL_BYTES { max_line } else { FULL_BYTES };
    // Every second byte can be a value; a field has four bytes at least.
    let records = FULL_RECORDS + block / 2;
    FULL_BYTES + PAD + 1 + block + records * size_of::<Span>() + block / 4 * size_of::<Field>()
}

/// A chunk before it is closed. It is reused: closing hands over what it holds and leaves it empty.
#[derive(Debug)]
pub struct OpenChunk {
    origin: Origin,
    /// The lines, and `PAD` behind them.
    bytes: Vec<u8>,
    /// Bytes of lines.
    end: usize,
    table: Table,
    /// How much the chunk before held: what this one is given room for at once, for growing step by step copies.
    expected: Mark,
    reads: Vec<Read>,
    peers: Vec<Peer>,
    line_base: Option<(ChunkId, u32)>,
    line_origins: Vec<LineOrigin>,
    target: Option<Arc<str>>,
}

/// The records of an open chunk, apart from its bytes so that both can be borrowed at once.
#[derive(Debug, Default)]
pub struct Table {
    spans: Vec<Span>,
    fields: Vec<Field>,
    has_client_ids: bool,
}

/// How far a table was filled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    spans: usize,
    fields: usize,
}

impl OpenChunk {
    /// An empty one for a source's lines.
    pub fn new(origin: Origin) -> Self {
        OpenChunk {
            origin,
            bytes: Vec::new(),
            end: 0,
            table: Table::default(),
            expected: Mark::default(),
            reads: Vec::new(),
            peers: Vec::new(),
            line_base: None,
            line_origins: Vec::new(),
            target: None,
        }
    }

    /// How its lines are read.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether nothing was put into it since it was closed.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Records in it so far.
    pub fn len(&self) -> usize {
        self.table.spans.len()
    }

    /// Bytes in it so far.
    pub fn bytes(&self) -> usize {
        self.end
    }

    /// Whether `more` bytes fit before it has to be closed. Any number fits into an empty one.
    #[inline]
    pub fn fits(&self, more: usize) -> bool {
        self.end == 0 || self.end + more < FULL_BYTES && self.table.spans.len() < FULL_RECORDS
    }

    /// What follows was read at `time`: see [`Read`].
    #[inline]
    pub fn begin_read(&mut self, time: i64) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FULL_BYTES + PAD);
            self.table.reserve(self.expected);
        }
        self.reads.push(Read { at: self.end as u32, time });
    }

    /// What follows was sent by `address`; its host where no `h:` says otherwise.
    pub fn begin_peer(&mut self, address: IpAddr) {
        if self.peers.last().is_none_or(|last| last.address != address) {
            self.peers.push(Peer { at: self.end as u32, address });
        }
    }

    /// Puts whole lines behind what is there and ends the last one. Returns where they stand.
    #[inline]
    pub fn append(&mut self, lines: &[u8]) -> Range<usize> {
        let start = self.end;
        self.bytes.truncate(start);
        self.bytes.extend_from_slice(lines);
        // One of the pad ends the last line where it has no LF.
        self.end = start + lines.len() + usize::from(lines.last() != Some(&b'\n'));
        self.bytes.extend_from_slice(&[b'\n'; PAD + 1]);
        self.bytes.truncate(self.end + PAD);
        start..self.end
    }

    /// The lines of this chunk are named by `id` and their offset in bytes that this chunk begins at `start` of,
    /// until it is closed.
    pub fn set_line_base(&mut self, id: ChunkId, start: u32) {
        self.line_base = Some((id, start));
    }

    /// A line was known before. Lines are given in order.
    pub fn set_line_origin(&mut self, origin: LineOrigin) {
        self.line_origins.push(origin);
    }

    /// Only this sink is to take the chunk.
    pub fn set_target(&mut self, sink: Option<Arc<str>>) {
        self.target = sink;
    }

    /// Bytes, `PAD` included, and records side by side, for parsing.
    #[inline]
    pub fn parts(&mut self) -> (&[u8], &mut Table) {
        (&self.bytes, &mut self.table)
    }

    /// Overwrites a refused line, so that reading the bytes again does not meet it.
    pub fn blank(&mut self, line: Range<usize>) {
        self.bytes[line].fill(b'\n');
    }

    /// Takes back all from `at` on, where the table was at `mark`.
    pub fn take_back(&mut self, at: usize, mark: Mark) {
        self.table.rewind(mark);
        self.end = at;
        self.reads.truncate(self.reads.partition_point(|read| (read.at as usize) < at));
    }

    /// Closes it. Nothing comes of it if it holds no record.
    pub fn close(&mut self) -> Option<Chunk> {
        self.expected = self.table.mark();
        let table = std::mem::take(&mut self.table);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(std::mem::take(&mut self.end));
        let reads = std::mem::take(&mut self.reads);
        let peers = std::mem::take(&mut self.peers);
        let line_base = self.line_base.take();
        let line_origins = std::mem::take(&mut self.line_origins);
        let target = self.target.take();
        if table.spans.is_empty() {
            return None;
        }
        let (spans, fields, has_client_ids) = table.into_parts();
        Some(Chunk {
            id: ChunkId::new(),
            origin: self.origin.clone(),
            bytes: bytes.into_boxed_slice(),
            spans,
            fields,
            reads: reads.into_boxed_slice(),
            peers: peers.into_boxed_slice(),
            line_base,
            line_origins: line_origins.into_boxed_slice(),
            target,
            has_client_ids,
            position: Position::default(),
        })
    }
}

impl Table {
    /// Puts `record`, whose slices lie in `chunk`, behind the others. Always inlined, as `Span::new` is.
    #[inline(always)]
    pub fn push(&mut self, record: &Record<'_>, chunk: &[u8], line: usize) {
        self.has_client_ids |= record.id.is_some();
        let mut span = Span::new(record, chunk, line as u32, &mut self.fields);
        if record.index > 0
            && let Some(before) = self.spans.last()
        {
            span.share_fields(before, &mut self.fields);
        }
        self.spans.push(span);
    }

    /// As [`Table::push`] of the record that `usual` is, at a smaller cost.
    #[inline(always)]
    pub fn push_usual(&mut self, usual: &Usual<'_>, chunk: &[u8], line: usize) {
        self.spans.push(Span::usual(usual, chunk, line as u32, &mut self.fields));
    }

    /// Records in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Where the table ends now.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { spans: self.spans.len(), fields: self.fields.len() }
    }

    fn reserve(&mut self, expected: Mark) {
        // A little more, since no chunk is quite like the one before.
        self.spans.reserve(expected.spans + expected.spans / 8);
        self.fields.reserve(expected.fields + expected.fields / 8);
    }

    pub(super) fn into_parts(self) -> (Box<[Span]>, Box<[Field]>, bool) {
        (self.spans.into_boxed_slice(), self.fields.into_boxed_slice(), self.has_client_ids)
    }

    /// Takes back all that was pushed since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.spans.truncate(mark.spans);
        self.fields.truncate(mark.fields);
    }
}
