//! One chunk as an entry of a segment: what is written in front of its lines, and how it is read back.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::bytes::Rest;
use super::checksum::crc32c;
use super::reread;
use super::segment::Marker;
use crate::record::chunk::{Parts, Peer, Read};
use crate::record::{Chunk, ChunkId, Dialect, LineOrigin, Origin, Position};

/// Every entry takes up a multiple of this.
pub const ALIGNMENT: u64 = 8;

/// Bytes in front of what the checksum is over: marker, length, checksum.
pub(super) const FRONT: usize = 16;

/// Bytes of an entry up to its texts.
const FIXED: usize = 112;

/// No entry is longer, so that a damaged length never makes a reader hold more. The largest chunk, with a name for
/// every line, has half of it.
pub const MAX_BYTES: usize = 16 << 20;

const CARRIES: u8 = 1;
const LINE_BASE: u8 = 2;
const TARGET: u8 = 4;

/// What is appended: a chunk, which has its place.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The chunk. Its sequence number is that of the entry.
    pub chunk: Arc<Chunk>,
    /// The entry whose undecided records these are, appended again for one sink.
    pub carries: Option<u64>,
}

impl Entry {
    /// What it will say of itself; it takes up `bytes`.
    pub(super) fn head(&self, bytes: u64) -> Head {
        Head {
            sequence: self.chunk.position().sequence,
            records: self.chunk.len() as u32,
            target: self.chunk.target().map(Arc::from),
            carries: self.carries,
            bytes,
        }
    }
}

/// What an entry says of itself, without the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The place of its chunk.
    pub sequence: u64,
    /// How many records it had when it was written.
    pub records: u32,
    /// The only sink that takes it; `None`: every one.
    pub target: Option<Arc<str>>,
    /// See [`Entry::carries`].
    pub carries: Option<u64>,
    /// Bytes it takes up in its segment.
    pub bytes: u64,
}

/// How many bytes stand behind `bytes` of an entry, so that the next one is aligned.
pub(super) fn padding(bytes: usize) -> usize {
    bytes.wrapping_neg() % ALIGNMENT as usize
}

/// What stands before the lines of each entry of a group, and behind the last; kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Heads {
    bytes: Vec<u8>,
    /// Where the head of each entry ends. The padding behind its lines is part of the next one.
    ends: Vec<usize>,
    /// Bytes that each entry takes up, padding included.
    sizes: Vec<u64>,
}

impl Heads {
    /// Those of `group`. An error if an entry is too long.
    pub(super) fn write(&mut self, group: &[Entry], marker: Marker) -> io::Result<()> {
        self.bytes.clear();
        self.ends.clear();
        self.sizes.clear();
        for entry in group {
            let start = self.bytes.len();
            write_head(entry, marker, &mut self.bytes);
            self.ends.push(self.bytes.len());
            let whole = self.bytes.len() - start + entry.chunk.bytes().len();
            if whole > MAX_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a chunk is too long for the journal",
                ));
            }
            let padding = padding(whole);
            self.bytes.extend_from_slice(&[0; ALIGNMENT as usize][..padding]);
            self.sizes.push((whole + padding) as u64);
        }
        Ok(())
    }

    /// All bytes of `group`, in order, with its lines where they are.
    pub(super) fn parts<'a>(&'a self, group: &'a [Entry]) -> Vec<IoSlice<'a>> {
        let mut parts = Vec::with_capacity(2 * group.len() + 1);
        let mut from = 0;
        for (entry, end) in group.iter().zip(&self.ends) {
            parts.push(IoSlice::new(&self.bytes[from..*end]));
            parts.push(IoSlice::new(entry.chunk.bytes()));
            from = *end;
        }
        parts.push(IoSlice::new(&self.bytes[from..]));
        parts
    }

    /// Bytes that each entry takes up.
    pub(super) fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}

/// Puts all that stands in front of the lines of `entry` behind `out`. `docs/journal.md` has the layout.
fn write_head(entry: &Entry, marker: Marker, out: &mut Vec<u8>) {
    let Entry { chunk, carries } = entry;
    let start = out.len();
    let origin = chunk.origin();
    let target = chunk.target();
    let (base, base_at) = chunk.line_base().unwrap_or((ChunkId::from_bytes([0; 16]), 0));
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(carries.is_some(), CARRIES)
        | flag(chunk.line_base().is_some(), LINE_BASE)
        | flag(target.is_some(), TARGET);
    out.extend_from_slice(&marker);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&chunk.position().sequence.to_le_bytes());
    out.extend_from_slice(&chunk.position().bytes_before.to_le_bytes());
    out.extend_from_slice(&chunk.id().to_bytes());
    put_len(out, chunk.len());
    put_len(out, chunk.bytes().len());
    out.extend_from_slice(&carries.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&base.to_bytes());
    out.extend_from_slice(&base_at.to_le_bytes());
    put_len(out, origin.source.len());
    put_len(out, origin.host.len());
    put_len(out, target.map_or(0, str::len));
    put_len(out, chunk.reads().len());
    put_len(out, chunk.peers().len());
    put_len(out, chunk.line_origins().len());
    out.extend_from_slice(&[dialect_code(origin.dialect), flags, 0, 0]);
    for text in [&origin.source, &origin.host, target.unwrap_or_default()] {
        out.extend_from_slice(text.as_bytes());
    }
    for read in chunk.reads() {
        out.extend_from_slice(&read.at.to_le_bytes());
        out.extend_from_slice(&read.time.to_le_bytes());
    }
    chunk.peers().iter().for_each(|peer| put_peer(out, peer));
    chunk.line_origins().iter().for_each(|origin| put_line_origin(out, origin));

    let length = (out.len() - start - FRONT + chunk.bytes().len()) as u32;
    let front = &mut out[start..];
    front[8..12].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c([&length.to_le_bytes(), &front[FRONT..], chunk.bytes()]);
    front[12..FRONT].copy_from_slice(&checksum.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, length: usize) {
    // Whatever a chunk has fits: its offsets are as wide.
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

fn put_peer(out: &mut Vec<u8>, peer: &Peer) {
    out.extend_from_slice(&peer.at.to_le_bytes());
    let mut address = [0; 16];
    match peer.address {
        IpAddr::V4(v4) => {
            address[..4].copy_from_slice(&v4.octets());
            out.push(4);
        }
        IpAddr::V6(v6) => {
            address = v6.octets();
            out.push(6);
        }
    }
    out.extend_from_slice(&address);
}

fn put_line_origin(out: &mut Vec<u8>, origin: &LineOrigin) {
    out.extend_from_slice(&origin.at.to_le_bytes());
    out.push(u8::from(origin.time.is_some()) | u8::from(origin.position.is_some()) << 1);
    out.extend_from_slice(&origin.time.unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&origin.position.unwrap_or_default().to_le_bytes());
    put_len(out, origin.id.len());
    out.extend_from_slice(origin.id.as_bytes());
}

fn dialect_code(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Kaneda => 0,
        Dialect::Statsd => 1,
    }
}

/// An entry as it was read: taken apart and checked, its lines still where they were read to.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The place of its chunk.
    pub position: Position,
    /// The chunk's id.
    pub id: ChunkId,
    /// How many records it had when it was written.
    pub records: u32,
    /// See [`Entry::carries`].
    pub carries: Option<u64>,
    /// The only sink that takes it.
    pub target: Option<&'a str>,
    /// Its lines.
    pub lines: &'a [u8],
    pub(super) source: &'a str,
    host: &'a str,
    dialect: Dialect,
    pub(super) reads: Box<[Read]>,
    peers: Box<[Peer]>,
    line_base: Option<(ChunkId, u32)>,
    pub(super) line_origins: Box<[LineOrigin]>,
}

/// Names that one entry after the other has, so that the chunks read share them.
#[derive(Debug, Default)]
pub struct Names([Arc<str>; 3]);

impl<'a> Stored<'a> {
    /// Takes apart what the checksum of an entry is over. `None` if it makes no sense.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Stored<'a>> {
        let mut rest = Rest::of(bytes);
        let sequence = rest.u64()?;
        let bytes_before = rest.u64()?;
        let id = chunk_id(&mut rest)?;
        let records = rest.u32()?;
        let lines = rest.u32()? as usize;
        let carries = rest.u64()?;
        let (base, base_at) = (chunk_id(&mut rest)?, rest.u32()?);
        let [source, host, target] = [rest.u32()?, rest.u32()?, rest.u32()?];
        let [reads, peers, line_origins] = [rest.u32()?, rest.u32()?, rest.u32()?];
        let dialect = match rest.u8()? {
            0 => Dialect::Kaneda,
            1 => Dialect::Statsd,
            _ => return None,
        };
        let flags = rest.u8()?;
        rest.take(2)?;
        debug_assert_eq!(bytes.len() - rest.len(), FIXED - FRONT);

        let [source, host, target] = [rest.text(source)?, rest.text(host)?, rest.text(target)?];
        let reads = rest.several::<_, 12>(reads, read)?.into_boxed_slice();
        let peers = rest.several::<_, 21>(peers, peer)?.into_boxed_slice();
        let line_origins = rest.several::<_, 25>(line_origins, line_origin)?.into_boxed_slice();
        let lines = rest.take(lines).filter(|_| rest.len() == 0)?;

        // What a chunk takes for granted: offsets ascend, and adding one to any of its numbers does not overflow.
        let last = i64::try_from(lines.len()).ok()?;
        let is_sound = reads.is_sorted_by_key(|read| read.at)
            && reads.iter().all(|read| read.time.checked_add(last).is_some())
            && peers.is_sorted_by_key(|peer| peer.at)
            && line_origins.is_sorted_by_key(|origin| origin.at)
            && bytes_before.checked_add(lines.len() as u64).is_some()
            && base_at.checked_add(lines.len() as u32).is_some();
        is_sound.then_some(Stored {
            position: Position { sequence, bytes_before },
            id,
            records,
            carries: (flags & CARRIES != 0).then_some(carries),
            target: (flags & TARGET != 0).then_some(target),
            lines,
            source,
            host,
            dialect,
            reads,
            peers,
            line_base: (flags & LINE_BASE != 0).then_some((base, base_at)),
            line_origins,
        })
    }

    /// What it says of itself; it takes up `bytes`.
    pub fn head(&self, bytes: u64) -> Head {
        Head {
            sequence: self.position.sequence,
            records: self.records,
            target: self.target.map(Arc::from),
            carries: self.carries,
            bytes,
        }
    }

    /// Its chunk, with the records that its lines say.
    pub fn into_chunk(self, names: &mut Names) -> Chunk {
        let (records, _) = reread::records(self.lines, self.dialect);
        // The records are offsets into the lines, wherever those stand.
        let parts = Parts {
            id: self.id,
            origin: Origin {
                source: names.share(0, self.source),
                dialect: self.dialect,
                host: names.share(1, self.host),
            },
            bytes: self.lines.into(),
            reads: self.reads,
            peers: self.peers,
            line_base: self.line_base,
            line_origins: self.line_origins,
            target: self.target.map(|target| names.share(2, target)),
            position: self.position,
        };
        Chunk::from_parts(parts, records)
    }
}

impl Names {
    fn share(&mut self, which: usize, text: &str) -> Arc<str> {
        let known = &mut self.0[which];
        if **known != *text {
            *known = text.into();
        }
        Arc::clone(known)
    }
}

fn chunk_id(rest: &mut Rest<'_>) -> Option<ChunkId> {
    rest.array().map(ChunkId::from_bytes)
}

fn read(rest: &mut Rest<'_>) -> Option<Read> {
    Some(Read { at: rest.u32()?, time: rest.i64()? })
}

fn peer(rest: &mut Rest<'_>) -> Option<Peer> {
    let at = rest.u32()?;
    let family = rest.u8()?;
    let address: [u8; 16] = rest.array()?;
    let address = match family {
        4 => Ipv4Addr::from(*address.first_chunk()?).into(),
        6 => Ipv6Addr::from(address).into(),
        _ => return None,
    };
    Some(Peer { at, address })
}

fn line_origin(rest: &mut Rest<'_>) -> Option<LineOrigin> {
    let at = rest.u32()?;
    let flags = rest.u8()?;
    let time = rest.i64()?;
    let position = rest.u64()?;
    let length = rest.u32()?;
    Some(LineOrigin {
        at,
        id: rest.text(length)?.into(),
        time: (flags & 1 != 0).then_some(time),
        position: (flags & 2 != 0).then_some(position),
    })
}
