//! Finding the bytes that structure a line, eight at a time.

use super::error::{Parsed, Reason, refuse};

/// Each byte 1; times a byte, each byte that one.
const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// The place of the first byte that is one of `wanted`.
///
/// Names and values are short, some bytes to some tens: a loop over words that is inlined beats the call into a
/// vectorised search, whose strength is in long texts.
#[inline(always)]
pub(super) fn find<const N: usize>(wanted: [u8; N], bytes: &[u8]) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in words.by_ref() {
        let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let mut found = 0;
        for byte in wanted {
            // The high bit of a byte is set where the difference is zero; above the first such byte it may be set
            // by a borrow, but only the first one counts.
            let difference = word ^ (ONES * u64::from(byte));
            found |= difference.wrapping_sub(ONES) & !difference & HIGHS;
        }
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    words.remainder().iter().position(|byte| wanted.contains(byte)).map(|rest| at + rest)
}

/// What stands before the first of `stops`, or everything: the rest begins with the stop, or is empty.
#[inline(always)]
pub(super) fn until<'a, const N: usize>(stops: [u8; N]) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| {
        let (before, rest) = input.split_at(find(stops, input).unwrap_or(input.len()));
        Ok((rest, before))
    }
}

/// Exactly `text`, or the line is refused for `reason`.
#[inline]
pub(super) fn literal<'a>(text: &'static [u8], reason: Reason) -> impl Fn(&'a [u8]) -> Parsed<'a, ()> {
    move |input| match input.strip_prefix(text) {
        Some(rest) => Ok((rest, ())),
        None => refuse(reason, input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_wanted_bytes_is_found_wherever_it_stands() {
        for length in 0..40 {
            for place in 0..length {
                for filler in [b'a', b'{', b'}', b';', 0xfc, 0x00, 0x80] {
                    let mut bytes = vec![filler; length];
                    bytes[place..].fill(b'|');
                    assert_eq!(find([b':', b'|'], &bytes), Some(place));
                    bytes[length - 1] = b':';
                    assert_eq!(find([b':', b'|'], &bytes), Some(place));
                    assert_eq!(find([b'\n'], &bytes), None);
                }
            }
        }
    }
}
