//! What holds for any bytes at all: nothing panics, and no memory is taken that they do not justify.

use std::io::{self, ErrorKind, IoSlice};

use super::checksum::crc32c;
use super::cursor::file;
use super::entry;
use super::files::{File, Files};
use super::inspect::inspect;
use super::known;
use super::read::Reader;
use super::segment::{Beginning, HEADER_BYTES, Header, file_name};

/// Bytes of memory for each byte read: a record of two bytes, `:1`, has a span of 48, and a table with room to spare.
const MOST_MEMORY: usize = 128;

/// Takes `bytes` for a segment, for a cursor and for the known messages of a queue, as they are, and with checksums that are right; panics if something
/// does not hold.
pub fn check_journal(bytes: &[u8]) {
    check_cursor(bytes);
    check_cursor(&file::sealed(bytes));
    check_known(bytes);
    check_known(&known::file::sealed(bytes));
    check_segment(bytes.to_vec());
    check_entry(Header::new(1), bytes);
    check_entry(Header { is_reused: true, ..Header::new(1) }, bytes);
}

/// Takes `bytes` for what the checksum of an entry is over.
fn check_entry(header: Header, bytes: &[u8]) {
    let mut segment = header.to_bytes().to_vec();
    let length = bytes.len() as u32;
    segment.extend_from_slice(&header.marker);
    segment.extend_from_slice(&length.to_le_bytes());
    segment.extend_from_slice(&crc32c([&length.to_le_bytes(), bytes]).to_le_bytes());
    segment.extend_from_slice(bytes);
    segment.resize(segment.len() + entry::padding(segment.len()), 0);
    check_segment(segment);
}

fn check_cursor(bytes: &[u8]) {
    if let Ok(cursor) = file::from_bytes(bytes, "any") {
        let again = file::from_bytes(&file::to_bytes(&cursor), "any");
        assert_eq!(again.ok(), Some(cursor), "a cursor reads back as another one");
    }
}

fn check_known(bytes: &[u8]) {
    if let Ok(record) = known::file::from_bytes(bytes, "any") {
        let again = known::file::from_bytes(&known::file::to_bytes(&record), "any");
        assert_eq!(again.ok(), Some(record), "it reads back as something else");
    }
}

fn check_segment(bytes: Vec<u8>) {
    let length = bytes.len() as u64;
    let is_reused = matches!(Beginning::of(&bytes), Beginning::Header(header) if header.is_reused);
    // Another version is refused.
    let Ok(found) = inspect(One(bytes)) else { return };
    let (segment, faults) = &found.segments[0];
    let unreadable: u64 = faults.iter().map(|fault| fault.bytes).sum();
    let header = if faults.first().is_some_and(|fault| fault.at == 0) { 0 } else { HEADER_BYTES.min(length) };
    let mut reader = Reader::new(found.extent, 0);
    let (mut entries, mut read) = (0, 0);
    loop {
        // Memory does not fail.
        let Ok(block) = reader.read(1 << 20) else { panic!("a read fails") };
        for found in &block.entries {
            entries += 1;
            read += found.chunk.bytes().len() as u64;
            for index in 0..found.chunk.len() {
                let received = found.chunk.received(index);
                assert!(received.record.name.bytes().len() as u64 <= length);
            }
            let most = MOST_MEMORY * (found.chunk.bytes().len() + 1) + MOST_MEMORY * length as usize;
            assert!(found.chunk.memory() <= most, "{} bytes of memory for {length}", found.chunk.memory());
        }
        if block.is_end {
            break;
        }
    }
    assert_eq!(entries, segment.entries);
    assert!(header + unreadable + read <= length);
    assert!(segment.entries > 0 || is_reused || header + unreadable == length, "bytes are in no count");
}

/// A folder with one segment, to be read.
#[derive(Debug)]
struct One(Vec<u8>);

impl Files for One {
    type File = Vec<u8>;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![file_name(1)])
    }

    fn create(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(0)
    }
}

impl File for Vec<u8> {
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn cut(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an entry's checksum is over, of nothing but zeros up to the lines.
    fn body(lines: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 96];
        body[0] = 1;
        body[36..40].copy_from_slice(&(lines.len() as u32).to_le_bytes());
        body.extend_from_slice(lines);
        body
    }

    #[test]
    fn many_records_of_few_bytes_take_no_more_memory_than_they_justify() {
        check_journal(&body(format!("a{}|c\n", ":1".repeat(30_000)).as_bytes()));
        check_journal(&body(
            b"a:1|c|i:x|h:y|T1|#z\n_sc|a|0\n{\"name\":\"a\",\"metric\":\"gauge\",\"value\":1}\n",
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check_journal(&bytes);
        }

        #[test]
        fn nearly_right_bytes_are_read_without_a_panic(
            changes in prop::collection::vec((0..120_usize, any::<u8>()), 0..4),
        ) {
            let mut bytes = body(b"a:1|c\nb:2:3|ms\n");
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            check_journal(&bytes);
        }
    }
}
