//! Which messages of a queue are known, as a file, which is replaced in one step.

use std::io;

use super::{Message, Record};
use crate::journal::OpenError;
use crate::journal::bytes::Rest;
use crate::journal::files::Files;
use crate::journal::replaced::{self, put_len};
use crate::journal::segment::VERSION;

/// What every such file begins with, in every version.
const MAGIC: &[u8; 8] = b"KANEDAKN";

/// How the name of every such file ends.
pub(in crate::journal) const END: &str = ".known";

/// The name of the file for a queue.
pub fn file_name(queue: &str) -> String {
    replaced::file_name(queue, END)
}

/// The other way round; `None` for other files.
pub fn queue_of(name: &str) -> Option<String> {
    replaced::name_of(name, END)
}

/// Reads what is known of a queue; `None` if there is no such file.
pub fn load(files: &impl Files, queue: &str) -> Result<Option<Record>, OpenError> {
    let name = file_name(queue);
    let bytes = replaced::read(files, &name)?;
    bytes.map(|bytes| from_bytes(&bytes, &name)).transpose()
}

/// Stores what is known of a queue. After an error the file is as before, or says this.
pub fn store(files: &impl Files, queue: &str, record: &Record) -> io::Result<()> {
    replaced::store(files, &file_name(queue), &to_bytes(record))
}

/// As it stands in its file. `docs/journal.md` has the layout.
pub fn to_bytes(record: &Record) -> Vec<u8> {
    let Record { next, messages } = record;
    let mut out = Vec::new();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    put_len(&mut out, messages.len());
    for Message { id, time } in messages {
        out.extend_from_slice(&time.to_le_bytes());
        put_len(&mut out, id.len());
        out.extend_from_slice(id.as_bytes());
    }
    sealed(&out)
}

/// The file whose checksum is over `checked`.
pub(in crate::journal) fn sealed(checked: &[u8]) -> Vec<u8> {
    replaced::sealed(MAGIC, checked)
}

/// What the file `name` says.
pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Record, OpenError> {
    let damaged = || OpenError::Known { file: name.to_owned() };
    let mut rest = replaced::unsealed(MAGIC, bytes, name, damaged)?;
    record(&mut rest).filter(|_| rest.len() == 0).ok_or_else(damaged)
}

fn record(rest: &mut Rest<'_>) -> Option<Record> {
    let next = rest.u64()?;
    let count = rest.u32()?;
    let messages = rest.several::<_, 12>(count, |rest| {
        let time = rest.i64()?;
        let length = rest.u32()?;
        Some(Message { id: rest.text(length)?.into(), time })
    })?;
    messages.is_sorted_by(|a, b| a.id < b.id).then_some(Record { next, messages })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checksum::crc32c;
    use crate::journal::replaced::FRONT;

    fn sample() -> Record {
        let message = |id: &str, time| Message { id: id.into(), time };
        Record {
            next: 900, messages: vec![message("2b09886a", -5), message("é", 1_795_374_000_000_000_000)]
        }
    }

    #[test]
    fn it_reads_back_and_no_bit_of_it_can_change_unseen() {
        let bytes = to_bytes(&sample());
        assert_eq!(from_bytes(&bytes, "a").unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(from_bytes(&changed, "a"), Err(OpenError::Known { .. })), "bit {bit}");
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
        let error = from_bytes(&bytes, "a.known").unwrap_err().to_string();
        assert!(error.contains("a.known is of format 9"), "{error}");
    }

    #[test]
    fn ids_that_do_not_ascend_are_damage() {
        let mut record = sample();
        record.messages.swap(0, 1);
        assert!(from_bytes(&to_bytes(&record), "a").is_err());
    }
}
