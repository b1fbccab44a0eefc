//! A small file that says all there is to say of one name, and is replaced in one step.

use std::io::{self, IoSlice};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::OpenError;
use super::bytes::Rest;
use super::checksum::crc32c;
use super::files::{File, Files};
use super::segment::VERSION;

/// How a file ends that is to get its name once it is written.
pub(super) const UNFINISHED: &str = ".new";

/// What stands in front of what the checksum is over: the magic and the checksum.
pub(super) const FRONT: usize = 12;

/// Characters of a name that stand in the name of a file as they are.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The file for `name`, of the sort that ends in `end`.
pub(super) fn file_name(name: &str, end: &str) -> String {
    utf8_percent_encode(name, &PLAIN).to_string() + end
}

/// The other way round; `None` for other files.
pub(super) fn name_of(file: &str, end: &str) -> Option<String> {
    let name = percent_decode_str(file.strip_suffix(end)?).decode_utf8().ok()?.into_owned();
    (file_name(&name, end) == file).then_some(name)
}

/// All of a file; `None` if there is none.
pub(super) fn read(files: &impl Files, file: &str) -> Result<Option<Vec<u8>>, OpenError> {
    match bytes(files, file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Io { what: file.to_owned(), error }),
    }
}

fn bytes(files: &impl Files, name: &str) -> io::Result<Vec<u8>> {
    let file = files.open(name)?;
    let length = file.length()?;
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
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

/// Puts `bytes` into a file. After an error it has what it had before, or these.
pub(super) fn store(files: &impl Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}{UNFINISHED}");
    let file = match files.create(&new) {
        // A failure before this left it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(&new)?;
            files.create(&new)?
        }
        created => created?,
    };
    file.write_at(0, &mut [IoSlice::new(bytes)])?;
    // Before it gets its name, or a crash could leave the name with nothing behind it.
    file.sync()?;
    files.rename(&new, name)?;
    files.sync()
}

/// The file whose checksum is over `checked`, which begins with the format.
pub(super) fn sealed(magic: &[u8; 8], checked: &[u8]) -> Vec<u8> {
    [&magic[..], &crc32c([checked]).to_le_bytes(), checked].concat()
}

/// What stands behind the format in the file `name`; `damaged` where that cannot be.
pub(super) fn unsealed<'a>(
    magic: &[u8; 8],
    bytes: &'a [u8],
    name: &str,
    damaged: impl Fn() -> OpenError,
) -> Result<Rest<'a>, OpenError> {
    let mut rest = Rest::of(bytes);
    let found: [u8; 8] = rest.array().ok_or_else(&damaged)?;
    let checksum = rest.u32().ok_or_else(&damaged)?;
    if found != *magic || checksum != crc32c([&bytes[FRONT..]]) {
        return Err(damaged());
    }
    match rest.u32() {
        Some(VERSION) => Ok(rest),
        Some(version) => Err(OpenError::Version { file: name.to_owned(), version, known: VERSION }),
        None => Err(damaged()),
    }
}

/// A count or a length in such a file.
pub(super) fn put_len(out: &mut Vec<u8>, length: usize) {
    // What is kept is bounded far below that.
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_name_of_a_file() {
        for (name, file) in [
            ("sqlite", "sqlite.cursor"),
            ("log-2_b", "log-2_b.cursor"),
            ("../a b", "%2E%2E%2Fa%20b.cursor"),
            ("é", "%C3%A9.cursor"),
        ] {
            assert_eq!(file_name(name, ".cursor"), file);
            assert_eq!(name_of(file, ".cursor").as_deref(), Some(name));
            assert_eq!(name_of(file, ".known"), None);
        }
        for file in ["a.cursor.new", "lock", "00000000000000000001.log", "a b.cursor", "%c3%A9.cursor"] {
            assert_eq!(name_of(file, ".cursor"), None);
        }
    }
}
