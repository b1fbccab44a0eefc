//! CRC-32C (Castagnoli), by which all that is stored is checked. `docs/journal.md` names the standard.

use crc_fast::{CrcAlgorithm, Digest};

/// Over `parts` as if they were one.
pub(super) fn crc32c<const N: usize>(parts: [&[u8]; N]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // It has 64 bits for whatever the digest counts.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_of_the_standard() {
        // RFC 3720, B.4, and what `docs/journal.md` gives.
        assert_eq!(crc32c([&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32]]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c([&ascending]), 0x46dd_794e);
        assert_eq!(crc32c([b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c([]), 0);
    }

    #[test]
    fn parts_are_as_the_whole_at_every_length_and_place() {
        // Each length has its way through the instructions of the processor.
        let bytes: Vec<u8> = (0..3000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for length in (0..600).chain([1024, 1432, 2048, 2999, 3000]) {
            let bytes = &bytes[..length];
            let plain = bytes.iter().fold(!0, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78))
            });
            assert_eq!(crc32c([bytes]), !plain, "{length}");
            let (first, rest) = bytes.split_at(length / 3);
            let (second, third) = rest.split_at(rest.len() / 2);
            assert_eq!(crc32c([first, second, third]), !plain, "{length} in parts");
        }
    }
}
