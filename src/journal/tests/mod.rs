//! The journal as its callers use it, on a real folder.

use std::sync::Arc;

use super::*;
use crate::protocol::{Limits, lines, parse};
use crate::record::{Chunk, Dialect, OpenChunk, Origin, Position};

mod disk;
mod handle;
mod log;
mod model;
mod queue;
mod read;
mod spare;

/// Few bytes, so that tests have many segments.
const SMALL: Settings = Settings { segment_size: 1000 };

fn origin() -> Origin {
    Origin { source: "udp".into(), dialect: Dialect::Kaneda, host: "here".into() }
}

/// A chunk of these lines.
fn open_chunk(text: &str) -> OpenChunk {
    let mut open = OpenChunk::new(origin());
    open.begin_read(1_795_374_000_000_000_000);
    open.append(text.as_bytes());
    let (bytes, table) = open.parts();
    for line in lines(&bytes[..text.len()]).filter(|line| !line.bytes.is_empty()) {
        parse(line.bytes, Dialect::Kaneda, &Limits::NONE, &mut |record| {
            table.push(&record, bytes, line.offset)
        })
        .unwrap();
    }
    open
}

/// An entry of so many records, each of which says where it stands.
fn entry(sequence: u64, records: usize) -> Entry {
    let text: String = (0..records).map(|index| format!("e{sequence}.{index}:1|c\n")).collect();
    sealed(open_chunk(&text), sequence)
}

/// An entry for one sink, which carries what another had undecided.
fn carried(sequence: u64, records: usize, target: &str, carries: u64) -> Entry {
    let text: String = (0..records).map(|index| format!("e{sequence}.{index}:1|c\n")).collect();
    let mut open = open_chunk(&text);
    open.set_target(Some(target.into()));
    Entry { carries: Some(carries), ..sealed(open, sequence) }
}

fn sealed(mut open: OpenChunk, sequence: u64) -> Entry {
    let mut chunk = open.close().unwrap();
    chunk.set_position(Position { sequence, bytes_before: 1000 * sequence });
    Entry { chunk: Arc::new(chunk), carries: None }
}

/// Everything that is known of the records of a chunk.
fn shown(chunk: &Chunk) -> String {
    let records: Vec<_> = (0..chunk.len()).map(|index| format!("{:?}", chunk.received(index))).collect();
    format!("{:?} {:?} {:?} {records:#?}", chunk.id(), chunk.position(), chunk.target())
}

fn sequences(block: &Block) -> Vec<u64> {
    block.entries.iter().map(|found| found.chunk.position().sequence).collect()
}

/// All that a reader from `from` on gives now.
fn read_all<F: Files>(log: &Log<F>, from: u64) -> Vec<u64> {
    let mut reader = Reader::new(log.extent(), from);
    let mut all = Vec::new();
    loop {
        let block = reader.read(300).unwrap();
        all.extend(sequences(&block));
        if block.is_end {
            assert_eq!(block.through, log.written().max(from.saturating_sub(1)));
            return all;
        }
    }
}
