//! A chunk: the bytes of some hundred reports and where their records stand in them. What travels.

use std::net::IpAddr;
use std::sync::Arc;

use super::open::Table;
use super::span::{Field, Span};
use super::{ChunkId, Dialect, Identity, LineId, OwnId, Record, Text};

/// An immutable arena of received bytes plus the spans of the records in it.
///
/// Its bytes are whole lines, each ended by LF. Every line in it that is not blank was accepted: a refused one
/// was overwritten with LFs, so that reading the bytes again gives the same records at the same offsets.
#[derive(Debug)]
pub struct Chunk {
    pub(super) id: ChunkId,
    pub(super) origin: Origin,
    pub(super) bytes: Box<[u8]>,
    pub(super) spans: Box<[Span]>,
    pub(super) fields: Box<[Field]>,
    pub(super) reads: Box<[Read]>,
    pub(super) peers: Box<[Peer]>,
    pub(super) line_base: Option<(ChunkId, u32)>,
    pub(super) line_origins: Box<[LineOrigin]>,
    pub(super) target: Option<Arc<str>>,
    pub(super) has_client_ids: bool,
    pub(super) position: Position,
}

/// What all lines of a source have in common.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The source's name.
    pub source: Arc<str>,
    /// How its lines are read.
    pub dialect: Dialect,
    /// The `host` of a record that did not send one, unless the chunk has peers.
    pub host: Arc<str>,
}

/// Bytes from `at` on came in one read, at `time`.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// Offset in the chunk.
    pub at: u32,
    /// Nanoseconds since 1970; at least the previous read's time plus its bytes, so that no two bytes of a
    /// source share a nanosecond.
    pub time: i64,
}

/// Lines from `at` on were sent by `address`.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Offset in the chunk.
    pub at: u32,
    /// The sender.
    pub address: IpAddr,
}

/// The line at `at` was known before it came here.
#[derive(Debug, Clone)]
pub struct LineOrigin {
    /// Offset of the line in the chunk.
    pub at: u32,
    /// Its id of ours, in place of chunk id and offset. Of no use to a line that has a client's.
    pub id: Box<str>,
    /// When it was first received, nanoseconds since 1970.
    pub time: Option<i64>,
    /// The byte position that its value had then.
    pub position: Option<u64>,
}

/// A chunk's place among all that were dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// From 0, one more with each chunk.
    pub sequence: u64,
    /// Bytes dispatched before it.
    pub bytes_before: u64,
}

/// A chunk as it is kept: all but its records, which reading its bytes again gives.
#[derive(Debug)]
pub struct Parts {
    /// What names it.
    pub id: ChunkId,
    /// Source, dialect and host.
    pub origin: Origin,
    /// Whole lines.
    pub bytes: Box<[u8]>,
    /// When which bytes were read, ascending.
    pub reads: Box<[Read]>,
    /// Who sent which lines, ascending.
    pub peers: Box<[Peer]>,
    /// What its lines are named by in place of its id, and the offset in that where it begins.
    pub line_base: Option<(ChunkId, u32)>,
    /// The lines that were known before, ascending.
    pub line_origins: Box<[LineOrigin]>,
    /// The only sink that takes it.
    pub target: Option<Arc<str>>,
    /// Its place.
    pub position: Position,
}

/// A record with all that the daemon knows about it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What was sent.
    pub record: Record<'a>,
    /// Its id.
    pub identity: Identity<'a>,
    /// The client's timestamp, else when its bytes were read; nanoseconds since 1970.
    pub time: i64,
    /// Where it comes from.
    pub host: Host<'a>,
    /// The byte position of its value among all bytes dispatched: no other record of this daemon has it.
    pub position: u64,
    /// The name of the source it came in by.
    pub source: &'a str,
}

/// The `host` of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Host<'a> {
    /// `h:`.
    Sent(Text<'a>),
    /// What the source is configured to say.
    Named(&'a str),
    /// The sender's address.
    Peer(IpAddr),
}

impl Chunk {
    /// One that was kept, with the records that its bytes say.
    pub fn from_parts(parts: Parts, table: Table) -> Chunk {
        let Parts { id, origin, bytes, reads, peers, line_base, line_origins, target, position } = parts;
        let (spans, fields, has_client_ids) = table.into_parts();
        Chunk {
            id,
            origin,
            bytes,
            spans,
            fields,
            reads,
            peers,
            line_base,
            line_origins,
            target,
            has_client_ids,
            position,
        }
    }

    /// What names it.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// A chunk without records is never dispatched.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes received, whole lines.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Source, dialect and host.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The only sink that takes it; `None`: every one.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Whether any of its records was named by the client.
    pub fn has_client_ids(&self) -> bool {
        self.has_client_ids
    }

    /// Its place; set once, by dispatch.
    pub fn position(&self) -> Position {
        self.position
    }

    /// When which bytes were read, ascending.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Who sent which lines, ascending; empty if the origin's host did.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// What its lines are named by in place of its id, and the offset in that where it begins.
    pub fn line_base(&self) -> Option<(ChunkId, u32)> {
        self.line_base
    }

    /// The lines that were known before, ascending.
    pub fn line_origins(&self) -> &[LineOrigin] {
        &self.line_origins
    }

    /// The same chunk with the records of `table` instead of its own, for reading its bytes again.
    pub fn with_records(self, table: Table) -> Chunk {
        let (spans, fields, has_client_ids) = table.into_parts();
        Chunk { spans, fields, has_client_ids, ..self }
    }

    /// Gives it its place.
    pub fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// Bytes of memory it holds.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.bytes.len()
            + size_of_val(&*self.spans)
            + size_of_val(&*self.fields)
            + size_of_val(&*self.reads)
            + size_of_val(&*self.peers)
            + self.line_origins.iter().map(|o| size_of::<LineOrigin>() + o.id.len()).sum::<usize>()
    }

    /// The client's id of record `index`, if it has one.
    pub fn client_id(&self, index: usize) -> Option<Text<'_>> {
        let span = &self.spans[index];
        (self.has_client_ids && span.has_client_id(&self.fields))
            .then(|| span.record(&self.bytes, &self.fields).id)
            .flatten()
    }

    /// How many bytes records `first..last` take up in the chunk, lines and line ends included.
    pub fn bytes_between(&self, first: usize, last: usize) -> usize {
        let from =
            |index: usize| self.spans.get(index).map_or(self.bytes.len(), |span| span.value_at() as usize);
        let start = if first == 0 { 0 } else { from(first) };
        let end = from(last);
        end.saturating_sub(start)
    }

    /// Record `index` with all that is known about it.
    #[inline]
    pub fn received(&self, index: usize) -> Received<'_> {
        let span = &self.spans[index];
        let record = span.record(&self.bytes, &self.fields);
        let origin = self.line_origin(span.line);
        let identity = match (record.id, origin) {
            (Some(id), _) => Identity::Client(id),
            (None, Some(origin)) => {
                Identity::Own(OwnId { line: LineId::Origin(&origin.id), index: span.index })
            }
            (None, None) => {
                let (id, start) = self.line_base.unwrap_or((self.id, 0));
                Identity::Own(OwnId { line: LineId::Place(id, start + span.line), index: span.index })
            }
        };
        let time = match (record.timestamp, origin.and_then(|o| o.time)) {
            (Some(sent), _) => sent.nanos,
            (None, Some(first)) => first,
            (None, None) => self.read_time(span.value_at()),
        };
        let host = match record.host {
            Some(sent) => Host::Sent(sent),
            None => match self.peers.partition_point(|peer| peer.at <= span.line) {
                0 => Host::Named(&self.origin.host),
                n => Host::Peer(self.peers[n - 1].address),
            },
        };
        let position = match origin.and_then(|origin| origin.position) {
            Some(first) => first,
            None => self.position.bytes_before + u64::from(span.value_at()),
        };
        Received { record, identity, time, host, position, source: &self.origin.source }
    }

    /// When record `index` was first received, nanoseconds since 1970.
    pub fn receive_time(&self, index: usize) -> i64 {
        let span = &self.spans[index];
        let first = self.line_origin(span.line).and_then(|origin| origin.time);
        first.unwrap_or_else(|| self.read_time(span.value_at()))
    }

    /// The nanosecond of the byte at `at`: its read's time plus its offset in that read.
    fn read_time(&self, at: u32) -> i64 {
        let n = self.reads.partition_point(|read| read.at <= at).max(1);
        self.reads.get(n - 1).map_or(0, |read| read.time + i64::from(at.saturating_sub(read.at)))
    }

    fn line_origin(&self, line: u32) -> Option<&LineOrigin> {
        if self.line_origins.is_empty() {
            return None;
        }
        let found = self.line_origins.binary_search_by_key(&line, |origin| origin.at).ok()?;
        Some(&self.line_origins[found])
    }
}
