//! `kaneda journal`: what the daemon has on disk, read without it.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::journal::inspect::{Inspection, Position, Queue, inspect};
use crate::journal::{Cause, Folder, Log, OpenError, Reader, Recovery, SegmentInfo, Settings, file_name};
use crate::record::document::{self, Envelope};
use crate::record::{Chunk, Host, Identity, Text};

/// Bytes of lines that are read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Why it ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such folder, or it cannot be read.
    #[error("{0}: {1}")]
    Folder(String, io::Error),
    /// It is no journal that can be opened.
    #[error("{0}: {1}")]
    Journal(String, OpenError),
    /// There is no such cursor, or no such queue.
    #[error("there is no {what} {name}; there are: {there}")]
    Unknown {
        /// What there is none of.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        there: String,
    },
    /// A segment cannot be read, or what was to be said cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a line for each segment and each cursor.
pub fn ls(folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    let found = look(folder)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    writeln!(
        out,
        "{:24} {:>20} {:>8} {:>9} {:>11} {:>5}",
        "segment", "to", "entries", "records", "bytes", "age"
    )?;
    for (segment, _) in &found.segments {
        let SegmentInfo { first, last, bytes, entries, records, created } = segment;
        // A segment without entries has no last one.
        let last = if entries == &0 { String::from("-") } else { last.to_string() };
        let age = age(now.saturating_sub(*created));
        writeln!(out, "{} {last:>20} {entries:>8} {records:>9} {bytes:>11} {age:>5}", file_name(*first))?;
    }
    writeln!(out)?;
    let columns = ["next", "waiting", "accepted", "delivered", "rejected", "dropped"];
    write!(out, "{:16}", "cursor")?;
    // It can be as large as the microseconds since 1970.
    write!(out, " {:>16}", columns[0])?;
    columns[1..].iter().try_for_each(|column| write!(out, " {column:>11}"))?;
    writeln!(out)?;
    for Position { sink, cursor, waiting, .. } in &found.cursors {
        match cursor {
            Ok(cursor) => {
                let totals = &cursor.totals;
                let (rejected, dropped): (u64, u64) =
                    (totals.rejected.values().sum(), totals.dropped.values().sum());
                // With what waits, as `/status` says it.
                let accepted = totals.accepted + waiting;
                write!(out, "{sink:16} {:>16}", cursor.next)?;
                for number in [*waiting, accepted, totals.delivered, rejected, dropped] {
                    write!(out, " {number:>11}")?;
                }
                writeln!(out)?;
            }
            Err(error) => writeln!(out, "{sink:16} {error}")?,
        }
    }
    if !found.queues.is_empty() {
        writeln!(out, "\n{:16} {:>11}", "queue", "known")?;
    }
    for Queue { name, messages } in &found.queues {
        match messages {
            Ok(messages) => writeln!(out, "{name:16} {messages:>11}")?,
            Err(error) => writeln!(out, "{name:16} {error}")?,
        }
    }
    Ok(())
}

/// Writes every record as a line of JSON.
pub fn cat(folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    let mut reader = Reader::new(look(folder)?.extent, 0);
    let mut line = Vec::new();
    loop {
        let block = reader.read(BLOCK_BYTES)?;
        for found in &block.entries {
            for index in 0..found.chunk.len() {
                line.clear();
                write_record(&found.chunk, index, found.carries, &mut line);
                out.write_all(&line)?;
            }
        }
        if block.is_end {
            return Ok(out.flush()?);
        }
    }
}

/// Reads everything, and writes what is wrong, and where. Says whether nothing is.
pub fn verify(folder: &Path, out: &mut impl Write) -> Result<bool, Error> {
    let found = look(folder)?;
    let mut is_good = true;
    let newest = found.segments.len().saturating_sub(1);
    for (index, (segment, faults)) in found.segments.iter().enumerate() {
        for fault in faults {
            let what = match &fault.cause {
                Cause::Header => "its header is damaged",
                Cause::Tail if index == newest => {
                    "unfinished: it is being written, or was at an unclean stop"
                }
                Cause::Entry | Cause::Tail => "there is no entry with a right checksum",
                Cause::Disk(_) => "it cannot be read",
            };
            is_good &= matches!(fault.cause, Cause::Tail) && index == newest;
            write!(out, "{}: byte {}, {} bytes: {what}", file_name(segment.first), fault.at, fault.bytes)?;
            match &fault.cause {
                Cause::Disk(error) => writeln!(out, ": {error}")?,
                _ => writeln!(out)?,
            }
        }
    }
    for position in &found.cursors {
        let Position { sink, cursor, missing, .. } = position;
        if let Err(error) = cursor {
            is_good = false;
            writeln!(out, "{error}")?;
        } else if *missing > 0 {
            is_good = false;
            writeln!(out, "{sink}: {missing} records that it has not decided are in no segment")?;
        }
    }
    for queue in &found.queues {
        if let Err(error) = &queue.messages {
            is_good = false;
            writeln!(out, "{error}")?;
        }
    }
    let mut reader = Reader::new(found.extent, 0);
    let (mut entries, mut records) = (0, 0);
    loop {
        let block = reader.read(BLOCK_BYTES)?;
        for found in &block.entries {
            entries += 1;
            records += found.chunk.len();
            if found.chunk.len() != found.records as usize {
                is_good = false;
                let (sequence, now) = (found.chunk.position().sequence, found.chunk.len());
                writeln!(out, "entry {sequence}: {now} records, and it was written with {}", found.records)?;
            }
        }
        if block.is_end {
            break;
        }
    }
    let segments = found.segments.len();
    writeln!(
        out,
        "{segments} segments, {entries} entries, {records} records, {} cursors, {} queues",
        found.cursors.len(),
        found.queues.len()
    )?;
    Ok(is_good)
}

/// Deletes the cursor of a sink that is no more, and the segments that only it needed.
pub fn forget(name: &str, folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    let (mut log, recovery) = open(folder, out)?;
    let Some(orphan) = recovery.orphans.iter().find(|orphan| orphan.name == name) else {
        let there: Vec<_> = log.orphans().collect();
        return Err(Error::Unknown {
            what: "cursor of a sink",
            name: name.to_owned(),
            there: there.join(", "),
        });
    };
    log.forget(name)?;
    let freed = log.reclaim()?;
    writeln!(out, "forgot {name}, for which {} records waited; {freed} bytes were freed", orphan.records)?;
    Ok(())
}

/// Deletes what is known of the messages of a source that is no more.
pub fn forget_source(name: &str, folder: &Path, out: &mut impl Write) -> Result<(), Error> {
    let (mut log, recovery) = open(folder, out)?;
    let Some(queue) = recovery.orphan_queues.iter().find(|queue| queue.name == name) else {
        let there: Vec<_> = recovery.orphan_queues.iter().map(|queue| queue.name.as_str()).collect();
        return Err(Error::Unknown {
            what: "queue of a source",
            name: name.to_owned(),
            there: there.join(", "),
        });
    };
    log.forget_queue(name)?;
    writeln!(out, "forgot {name}, of which {} messages were known", queue.messages)?;
    Ok(())
}

/// Opens a journal without a sink or a queue, to change it.
fn open(folder: &Path, out: &mut impl Write) -> Result<(Log<Folder>, Recovery), Error> {
    let shown = || folder.display().to_string();
    // Opening makes a folder where there is none.
    Folder::look(folder).map_err(|error| Error::Folder(shown(), error))?;
    let files = Folder::open(folder).map_err(|error| Error::Journal(shown(), error))?;
    let settings = Settings { segment_size: u64::MAX };
    let (log, recovery) =
        Log::open(files, settings, &[], &[]).map_err(|error| Error::Journal(shown(), error))?;
    if recovery.torn_bytes > 0 {
        writeln!(out, "cut {} bytes that an unclean stop left unfinished", recovery.torn_bytes)?;
    }
    Ok((log, recovery))
}

fn look(folder: &Path) -> Result<Inspection<Folder>, Error> {
    let shown = || folder.display().to_string();
    let files = Folder::look(folder).map_err(|error| Error::Folder(shown(), error))?;
    inspect(files).map_err(|error| Error::Journal(shown(), error))
}

/// The document of `kaneda parse`, with what the journal knows besides.
fn write_record(chunk: &Chunk, index: usize, carries: Option<u64>, out: &mut Vec<u8>) {
    let received = chunk.received(index);
    let peer;
    let host = match received.host {
        Host::Sent(text) => text,
        Host::Named(name) => Text::plain(name.as_bytes()),
        Host::Peer(address) => {
            peer = address.to_string();
            Text::plain(peer.as_bytes())
        }
    };
    let own;
    let id = match received.identity {
        Identity::Client(_) => None,
        Identity::Own(id) => {
            own = id.to_string();
            Some(own.as_str())
        }
    };
    out.extend_from_slice(format!("{{\"sequence\":{},", chunk.position().sequence).as_bytes());
    if let Some(target) = chunk.target() {
        out.extend_from_slice(b"\"sink\":");
        Text::plain(target.as_bytes()).write_json(out);
        out.push(b',');
    }
    if let Some(carries) = carries {
        out.extend_from_slice(format!("\"carries\":{carries},").as_bytes());
    }
    let start = out.len();
    let envelope = Envelope { timestamp: Some(received.time), host: Some(host), id };
    document::write(&received.record, &envelope, out);
    // Its members come behind those above, in the same object.
    out.remove(start);
    out.push(b'\n');
}

/// `12s`, `5m`, `3h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
