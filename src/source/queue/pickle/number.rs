//! Numbers as pickles spell them.

use super::Error;
use super::node::Node;

/// Bytes of an integer that may be finite as a double: 1024 bits and a sign. Larger ones no store takes, and turning
/// them into decimal digits takes time that grows with the square of their length.
const MAX_BYTES: usize = 129;
/// Words of 32 bits that these fit into.
const WORDS: usize = MAX_BYTES.div_ceil(4);
const BILLION: u64 = 1_000_000_000;
/// Decimal digits of the largest double, and a sign.
const MAX_DIGITS: usize = 310;

const NO_NUMBER: Error = Error::Broken("a number is none");

/// An integer in decimal digits.
pub(super) fn decimal<'p>(digits: &[u8]) -> Result<Node<'p>, Error> {
    let text = str::from_utf8(digits).map_err(|_| NO_NUMBER)?;
    if let Ok(int) = text.parse() {
        return Ok(Node::Int(int));
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_NUMBER);
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_DIGITS {
        return Err(Error::TooMany("digits in a number"));
    }
    Ok(Node::Digits(format!("{sign}{}", if digits.is_empty() { "0" } else { digits })))
}

/// An integer in two's complement, the lowest byte first; no bytes are 0.
pub(super) fn little_endian<'p>(bytes: &[u8]) -> Result<Node<'p>, Error> {
    let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    if bytes.len() <= 8 {
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        return Ok(Node::Int(i64::from_le_bytes(wide)));
    }
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooMany("digits in a number"));
    }
    // Its magnitude in words of 32 bits, the highest first.
    let mut wide = [if is_negative { 0xff } else { 0 }; WORDS * 4];
    wide[..bytes.len()].copy_from_slice(bytes);
    let mut carry = is_negative;
    let mut words = wide.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect::<Vec<_>>();
    for word in words.iter_mut().filter(|_| is_negative) {
        (*word, carry) = (!*word).overflowing_add(carry.into());
    }
    words.reverse();
    // Divided by a billion until nothing is left: the remainders are its digits, the last ones first.
    let mut parts = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut remainder = 0;
        for word in &mut words {
            let part = remainder << 32 | u64::from(*word);
            (*word, remainder) = ((part / BILLION) as u32, part % BILLION);
        }
        parts.push(remainder);
    }
    let sign = if is_negative { "-" } else { "" };
    let mut digits = format!("{sign}{}", parts.pop().unwrap_or(0));
    for part in parts.iter().rev() {
        digits += &format!("{part:09}");
    }
    Ok(Node::Digits(digits))
}

/// A float as `repr` prints it.
pub(super) fn float(text: &[u8]) -> Result<f64, Error> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NO_NUMBER)
}

/// An index into the memo.
pub(super) fn index(digits: &[u8]) -> Result<u64, Error> {
    str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(NO_NUMBER)
}
