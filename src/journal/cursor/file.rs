//! A cursor as a file, which is replaced in one step.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::{Cursor, Totals, Undecided};
use crate::journal::OpenError;
use crate::journal::bytes::Rest;
use crate::journal::files::Files;
use crate::journal::replaced::{self, put_len};
use crate::journal::segment::VERSION;

/// What every cursor file begins with, in every version.
const MAGIC: &[u8; 8] = b"KANEDACU";

/// How the name of every cursor file ends.
pub(in crate::journal) const END: &str = ".cursor";

/// The name of the file for a sink.
pub fn file_name(sink: &str) -> String {
    replaced::file_name(sink, END)
}

/// The other way round; `None` for other files.
pub fn sink_of(name: &str) -> Option<String> {
    replaced::name_of(name, END)
}

/// Reads the cursor of a sink; `None` if it has none.
pub fn load(files: &impl Files, sink: &str) -> Result<Option<Cursor>, OpenError> {
    let name = file_name(sink);
    let bytes = replaced::read(files, &name)?;
    bytes.map(|bytes| from_bytes(&bytes, &name)).transpose()
}

/// Stores the cursor of a sink. After an error the one before is stored, or this one.
pub fn store(files: &impl Files, sink: &str, cursor: &Cursor) -> io::Result<()> {
    replaced::store(files, &file_name(sink), &to_bytes(cursor))
}

/// A cursor as it stands in its file. `docs/journal.md` has the layout.
pub fn to_bytes(cursor: &Cursor) -> Vec<u8> {
    let Cursor { next, undecided, decided, totals } = cursor;
    let mut out = Vec::new();
    out.extend_from_slice(&VERSION.to_le_bytes());
    for number in [*next, totals.accepted, totals.delivered] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for count in [totals.rejected.len(), totals.dropped.len(), undecided.len(), decided.len()] {
        put_len(&mut out, count);
    }
    for (reason, records) in totals.rejected.iter().chain(&totals.dropped) {
        put_len(&mut out, reason.len());
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(&records.to_le_bytes());
    }
    for Undecided { sequence, records } in undecided {
        out.extend_from_slice(&sequence.to_le_bytes());
        put_len(&mut out, records.len());
        for range in records {
            out.extend_from_slice(&range.start.to_le_bytes());
            out.extend_from_slice(&range.end.to_le_bytes());
        }
    }
    for sequence in decided {
        out.extend_from_slice(&sequence.to_le_bytes());
    }
    sealed(&out)
}

/// The file whose checksum is over `checked`.
pub(in crate::journal) fn sealed(checked: &[u8]) -> Vec<u8> {
    replaced::sealed(MAGIC, checked)
}

/// The cursor in the file `name`.
pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Cursor, OpenError> {
    let damaged = || OpenError::Cursor { file: name.to_owned() };
    let mut rest = replaced::unsealed(MAGIC, bytes, name, damaged)?;
    cursor(&mut rest).filter(|_| rest.len() == 0).ok_or_else(damaged)
}

fn cursor(rest: &mut Rest<'_>) -> Option<Cursor> {
    let next = rest.u64()?;
    let (accepted, delivered) = (rest.u64()?, rest.u64()?);
    let [rejected, dropped, undecided, decided] = [rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?];
    let rejected = counts(rest, rejected)?;
    let dropped = counts(rest, dropped)?;
    let undecided = rest.several::<_, 12>(undecided, undecided_of)?;
    let decided = rest.several::<_, 8>(decided, Rest::u64)?;
    let ascends = |sequences: &mut dyn Iterator<Item = u64>| sequences.is_sorted_by(|a, b| a < b);
    let is_sound = ascends(&mut undecided.iter().map(|undecided| undecided.sequence))
        && ascends(&mut decided.iter().copied())
        && undecided.iter().all(|undecided| is_sound(&undecided.records));
    let totals = Totals { accepted, delivered, rejected, dropped };
    is_sound.then_some(Cursor { next, undecided, decided, totals })
}

fn counts(rest: &mut Rest<'_>, count: u32) -> Option<BTreeMap<String, u64>> {
    let one = |rest: &mut Rest<'_>| {
        let length = rest.u32()?;
        Some((rest.text(length)?.to_owned(), rest.u64()?))
    };
    rest.several::<_, 12>(count, one).map(|counts| counts.into_iter().collect())
}

fn undecided_of(rest: &mut Rest<'_>) -> Option<Undecided> {
    let sequence = rest.u64()?;
    let count = rest.u32()?;
    let records = rest.several::<_, 8>(count, |rest| Some(rest.u32()?..rest.u32()?))?;
    Some(Undecided { sequence, records })
}

fn is_sound(ranges: &[Range<u32>]) -> bool {
    ranges.iter().all(|range| range.start < range.end) && ranges.is_sorted_by(|a, b| a.end <= b.start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges)]

    use super::*;
    use crate::journal::checksum::crc32c;
    use crate::journal::replaced::FRONT;

    fn sample() -> Cursor {
        Cursor {
            next: 900,
            undecided: vec![
                Undecided { sequence: 3, records: vec![0..2, 5..6] },
                Undecided { sequence: 17, records: vec![1..4096] },
            ],
            decided: vec![901, 950],
            totals: Totals {
                accepted: 12,
                delivered: 10,
                rejected: BTreeMap::from([("mapping".into(), 1)]),
                dropped: BTreeMap::from([("journal_full".into(), 1)]),
            },
        }
    }

    #[test]
    fn a_cursor_reads_back_and_no_bit_of_it_can_change_unseen() {
        let bytes = to_bytes(&sample());
        assert_eq!(from_bytes(&bytes, "a").unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(from_bytes(&changed, "a"), Err(OpenError::Cursor { .. })), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length], "a").is_err());
        }
    }

    #[test]
    fn another_version_is_a_refusal_that_says_what_to_do() {
        let mut bytes = to_bytes(&sample());
        bytes[FRONT] = 9;
        let checksum = crc32c([&bytes[FRONT..]]);
        bytes[8..FRONT].copy_from_slice(&checksum.to_le_bytes());
        let error = from_bytes(&bytes, "a.cursor").unwrap_err().to_string();
        assert!(error.contains("a.cursor is of format 9"), "{error}");
    }

    #[test]
    fn ranges_that_overlap_are_damage() {
        for records in [vec![1..3, 2..4], vec![3..3], vec![4..2], vec![5..6, 1..2]] {
            let cursor = Cursor { undecided: vec![Undecided { sequence: 1, records }], ..Cursor::at(2) };
            assert!(from_bytes(&to_bytes(&cursor), "a").is_err());
        }
        let cursor = Cursor { decided: vec![5, 5], ..Cursor::at(2) };
        assert!(from_bytes(&to_bytes(&cursor), "a").is_err());
    }
}
