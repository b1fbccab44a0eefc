//! A segment: a file of entries, and the header it begins with.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use super::OpenError;
use super::checksum::crc32c;

/// The format that is written, and the latest that is read.
pub const VERSION: u32 = 1;

/// Bytes of a header. The first entry begins behind it.
pub const HEADER_BYTES: u64 = 48;

/// What every segment begins with, in every version.
const MAGIC: &[u8; 8] = b"KANEDAJL";

/// What stands in the header of a segment whose file was another's before; else 0 does.
const REUSED: u32 = 1;

/// What the header's checksum is over.
const CHECKED: usize = 40;

/// The bytes that every entry of a segment begins with: drawn at random for each segment, so that nobody can send
/// lines that would be taken for an entry where the one around them is damaged.
pub type Marker = [u8; 8];

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// No entry in it has a lower sequence number.
    pub first: u64,
    /// When it was begun, seconds since 1970.
    pub created: u64,
    /// What its entries begin with.
    pub marker: Marker,
    /// Its file was another segment's before: behind its last entry may stand what is left of that.
    pub is_reused: bool,
}

/// What the beginning of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// A header.
    Header(Header),
    /// The header of another format.
    OtherVersion(u32),
    /// Damaged.
    Unreadable,
}

impl Header {
    /// For a new segment.
    pub fn new(first: u64) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // The standard library's hasher is keyed by the system's random numbers.
        let marker = RandomState::new().build_hasher().finish().to_le_bytes();
        Header { first, created, marker, is_reused: false }
    }

    /// As it stands in the file. `docs/journal.md` has the layout.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&if self.is_reused { REUSED } else { 0 }.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.marker);
        let checksum = crc32c([&bytes[..CHECKED]]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

impl Beginning {
    /// What `bytes` at the start of a segment are.
    pub fn of(bytes: &[u8]) -> Beginning {
        let Some(bytes) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else {
            return Beginning::Unreadable;
        };
        let word = |at: usize| bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        let long = |at: usize| bytes[at..].first_chunk().copied().unwrap_or_default();
        if !bytes.starts_with(MAGIC) || word(40) != crc32c([&bytes[..CHECKED]]) {
            return Beginning::Unreadable;
        }
        match word(8) {
            VERSION => Beginning::Header(Header {
                first: u64::from_le_bytes(long(16)),
                created: u64::from_le_bytes(long(24)),
                marker: long(32),
                is_reused: word(12) == REUSED,
            }),
            other => Beginning::OtherVersion(other),
        }
    }

    /// The header of the segment `name`. None if it is damaged; another format is an error.
    pub fn header(self, name: &str) -> Result<Option<Header>, OpenError> {
        match self {
            Beginning::Header(header) => Ok((file_name(header.first) == name).then_some(header)),
            Beginning::OtherVersion(version) => {
                Err(OpenError::Version { file: name.to_owned(), version, known: VERSION })
            }
            Beginning::Unreadable => Ok(None),
        }
    }
}

/// The name of the segment whose entries begin with the sequence number `first`.
pub fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// The other way round; `None` for other files.
pub fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_no_bit_of_it_can_change_unseen() {
        let header = Header { is_reused: true, ..Header::new(42) };
        let bytes = header.to_bytes();
        assert_eq!(Beginning::of(&bytes), Beginning::Header(header));
        assert!(
            matches!(Beginning::of(&Header::new(42).to_bytes()), Beginning::Header(new) if !new.is_reused)
        );
        for bit in 0..44 * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Beginning::of(&changed), Beginning::Unreadable, "bit {bit}");
        }
        assert_eq!(Beginning::of(&bytes[..47]), Beginning::Unreadable);
    }

    #[test]
    fn another_version_is_a_refusal_that_says_what_to_do() {
        let mut bytes = Header::new(1).to_bytes();
        bytes[8] = 7;
        let checksum = crc32c([&bytes[..CHECKED]]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        let error = Beginning::of(&bytes).header(&file_name(1)).unwrap_err().to_string();
        assert!(
            error.contains("00000000000000000001.log is of format 7") && error.contains("run the version")
        );
    }

    #[test]
    fn a_header_under_another_name_is_none() {
        let beginning = Beginning::Header(Header::new(1));
        assert!(matches!(beginning.header(&file_name(2)), Ok(None)));
    }

    #[test]
    fn names_are_numbers_of_twenty_digits() {
        for first in [0, 17, u64::MAX] {
            assert_eq!(first_of(&file_name(first)), Some(first));
        }
        for name in ["lock", "1.log", "99999999999999999999.log", "+0000000000000000001.log", "sqlite.cursor"]
        {
            assert_eq!(first_of(name), None);
        }
    }

    #[test]
    fn every_segment_has_a_marker_of_its_own() {
        assert_ne!(Header::new(1).marker, Header::new(1).marker);
    }
}
