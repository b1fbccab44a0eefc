//! Where the bytes that structure a line stand, of 64 bytes at once.

use wide::u8x16;

/// Bytes that are looked at together: one bit each.
pub(super) const WINDOW: usize = 64;

/// Bit `n` stands for byte `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Each `:`.
    pub(super) colons: u64,
    /// Each `|` and LF.
    pub(super) ends: u64,
}

/// The marks of `window`.
#[inline(always)]
pub(super) fn of(window: &[u8; WINDOW]) -> Marks {
    let (parts, _) = window.as_chunks::<16>();
    let mut marks = Marks { colons: 0, ends: 0 };
    for (part, shift) in parts.iter().zip([0, 16, 32, 48]) {
        let part = u8x16::new(*part);
        let is = |byte: u8| part.simd_eq(u8x16::splat(byte));
        let bits = |found: u8x16| u64::from(found.to_bitmask()) << shift;
        marks.colons |= bits(is(b':'));
        marks.ends |= bits(is(b'|') | is(b'\n'));
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_structural_byte_is_a_bit_wherever_it_stands() {
        for place in 0..WINDOW {
            for filler in [b'a', b'{', b'}', b';', b'9', b'\r', 0x8a, 0xfc, 0x00] {
                let mut window = [filler; WINDOW];
                assert_eq!(of(&window), Marks { colons: 0, ends: 0 });
                for (byte, colons, ends) in [(b':', 1, 0), (b'|', 0, 1), (b'\n', 0, 1)] {
                    window[place] = byte;
                    assert_eq!(of(&window), Marks { colons: colons << place, ends: ends << place });
                }
            }
        }
    }
}
