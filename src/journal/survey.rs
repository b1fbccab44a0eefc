//! Reads a whole segment, to know what is in it and what is wrong with it.

use std::io;

use super::OpenError;
use super::entry::{Head, Stored};
use super::extent::Segment;
use super::files::{File, Files};
use super::scan::{Scan, Step};
use super::segment::{Beginning, HEADER_BYTES, file_name, first_of};

/// What is in a segment. Its end is where its last entry ends.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) segment: Segment,
    /// Bytes of its file.
    pub(super) length: u64,
    pub(super) faults: Vec<Fault>,
}

/// What is wrong with a stretch of a segment.
#[derive(Debug)]
pub struct Fault {
    /// Where it begins.
    pub at: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why it cannot be read.
    pub cause: Cause,
}

/// Why a stretch of a segment cannot be read.
#[derive(Debug)]
pub enum Cause {
    /// Its header is damaged.
    Header,
    /// There is no sound entry, but there is one behind it.
    Entry,
    /// There is no sound entry up to the end.
    Tail,
    /// The disk does not give it, nor what is behind it.
    Disk(io::Error),
}

/// The first sequence numbers of all segments, ascending: their names.
pub(super) fn firsts(files: &impl Files) -> io::Result<Vec<u64>> {
    let mut firsts: Vec<_> = files.list()?.iter().filter_map(|name| first_of(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Reads the segment `first`, whose entries have numbers up to `below`, and gives each, and its head, to `seen`.
pub(super) fn survey<F: Files>(
    files: &F,
    first: u64,
    below: u64,
    mut seen: impl FnMut(&Stored<'_>, &Head),
) -> Result<Survey, OpenError> {
    let name = file_name(first);
    let failed = |error| OpenError::Io { what: name.clone(), error };
    let file = files.open(&name).map_err(failed)?;
    let length = file.length().map_err(failed)?;
    let mut faults = Vec::new();
    let beginning = match beginning(&file) {
        Ok(beginning) => beginning,
        Err(error) => {
            faults.push(Fault { at: 0, bytes: length, cause: Cause::Disk(error) });
            return Ok(Survey { segment: Segment::new(first, None), length, faults });
        }
    };
    let header = Beginning::of(&beginning).header(&name)?;
    let mut segment = Segment::new(first, header);
    let start = HEADER_BYTES.min(length);
    if header.is_none() {
        faults.push(Fault { at: 0, bytes: start, cause: Cause::Header });
        // Where the first entry is whole, it begins with what the header said.
        let marker = beginning.get(HEADER_BYTES as usize..).and_then(|rest| rest.first_chunk().copied());
        segment.marker = marker.unwrap_or_default();
    }
    segment.end = start;
    let mut scan = Scan::new(segment.marker, start..length, first..below);
    loop {
        match scan.next(&file) {
            Ok(None) => break,
            Ok(Some(Step::Entry { stored, at, bytes })) => {
                let head = stored.head(bytes);
                segment.add(&head, at);
                seen(&stored, &head);
            }
            Ok(Some(Step::Bad { at, bytes, is_tail })) => {
                let cause = if is_tail { Cause::Tail } else { Cause::Entry };
                // Behind the last entry that was begun in the newest one stands what is left of another segment: no fault
                // of this one. The others were cut where they end.
                let is_newest = below == u64::MAX;
                let is_left = is_tail && is_newest && header.is_some_and(|header| header.is_reused);
                let bytes = if is_left { scan.reach().saturating_sub(at) } else { bytes };
                if bytes > 0 {
                    faults.push(Fault { at, bytes, cause });
                }
            }
            Err(error) => {
                let at = scan.at();
                faults.push(Fault { at, bytes: length - at, cause: Cause::Disk(error) });
                break;
            }
        }
    }
    // A file that was given to another segment meanwhile has not this name any more, and nothing is wrong with it.
    if !faults.is_empty()
        && let Err(error) = files.open(&name)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    Ok(Survey { segment, length, faults })
}

/// Whether nothing of the segment `first`, the newest, has got to the disk whole, neither its header nor an entry: then how many
/// bytes there are of it.
pub(super) fn worthless<F: Files>(files: &F, first: u64) -> Result<Option<u64>, OpenError> {
    let name = file_name(first);
    let failed = |error| OpenError::Io { what: name.clone(), error };
    let start = files.open(&name).and_then(|file| beginning(&file)).map_err(failed)?;
    if Beginning::of(&start).header(&name)?.is_some() {
        return Ok(None);
    }
    let Survey { segment, length, faults } = survey(files, first, u64::MAX, |_, _| {})?;
    let is_given = !faults.iter().any(|fault| matches!(fault.cause, Cause::Disk(_)));
    Ok((is_given && segment.entries == 0).then_some(length))
}

/// The header and the marker behind it, or what there is of them.
fn beginning(file: &impl File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES as usize + 8];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(have as u64, &mut bytes[have..])? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}
