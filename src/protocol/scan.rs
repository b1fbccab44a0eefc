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
    first(bytes, |word| any_of(wanted, word), |byte| wanted.contains(&byte))
}

/// The place of the first byte that cannot stand for itself in a JSON string: a quote, a backslash or a control character.
#[inline(always)]
pub(super) fn find_in_string(bytes: &[u8]) -> Option<usize> {
    const CONTROLS: u8 = 0x20;
    const WANTED: [u8; 2] = [b'"', b'\\'];

    let in_word =
        |word: u64| any_of(WANTED, word) | word.wrapping_sub(ONES * u64::from(CONTROLS)) & !word & HIGHS;
    first(bytes, in_word, |byte| byte < CONTROLS || WANTED.contains(&byte))
}

/// The place of the first byte that is wanted. `in_word` sets the high bit of the first one that is in a word, and
/// perhaps of bytes behind it.
#[inline(always)]
fn first(bytes: &[u8], in_word: impl Fn(u64) -> u64, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in words.by_ref() {
        let found = in_word(word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    words.remainder().iter().position(|&byte| is_wanted(byte)).map(|rest| at + rest)
}

/// The high bit of each byte that is one of `wanted`. Above the first such byte it may be set by a borrow.
#[inline(always)]
fn any_of<const N: usize>(wanted: [u8; N], word: u64) -> u64 {
    wanted.into_iter().fold(0, |found, byte| {
        let difference = word ^ (ONES * u64::from(byte));
        found | difference.wrapping_sub(ONES) & !difference & HIGHS
    })
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
    fn what_cannot_stand_for_itself_in_a_string_is_found_wherever_it_stands() {
        for length in 0..40 {
            for place in 0..length {
                for wanted in (0..=0x1f).chain(*b"\"\\") {
                    for filler in [b' ', b'!', b'a', b'\x7f', 0x80, 0x9f, 0xa2, 0xff] {
                        let mut bytes = vec![filler; length];
                        assert_eq!(find_in_string(&bytes), None);
                        bytes[place..].fill(wanted);
                        assert_eq!(find_in_string(&bytes), Some(place));
                    }
                }
            }
        }
    }

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
