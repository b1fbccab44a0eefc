//! Decimal numbers: integers of 64 bits exactly, everything else as the nearest double.

use super::error::{Checked, Parsed, Reason, refuse};
use crate::record::Number;

/// So many digits always fit into an `i64`.
const SAFE_DIGITS: usize = 18;

/// So many digits always are an exact double.
const EXACT_DIGITS: usize = 15;

/// The powers of ten that are exact as doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The longest number at the start: `[+-] (1*DIGIT ["." *DIGIT] / "." 1*DIGIT) [(e/E) [+-] 1*DIGIT]`.
///
/// A few digits, perhaps with a point among them, are read here, everything else by [`decimal`]. Always inlined: in
/// the case of nearly every line nothing is put together that is taken apart again.
#[inline(always)]
pub(super) fn number(input: &[u8]) -> Parsed<'_, Number> {
    let (unsigned, negative) = sign(input);
    let (rest, whole) = digits(unsigned, 0);
    match rest {
        _ if whole.count == 0 || whole.count > SAFE_DIGITS => {}
        [b'.', rest @ ..] => {
            let (rest, fraction) = digits(rest, whole.value);
            if whole.count + fraction.count <= EXACT_DIGITS && !matches!(rest, [b'e' | b'E', ..]) {
                // Both are exact, so one rounding gives the nearest double.
                let float = fraction.value as i64 as f64 / POWERS[fraction.count];
                return Ok((rest, Number::Float(if negative { -float } else { float })));
            }
        }
        [b'e' | b'E', ..] => {}
        _ => {
            let integer = whole.value as i64;
            return Ok((rest, Number::Int(if negative { -integer } else { integer })));
        }
    }
    decimal(input)
}

/// The number that `text` is, if it has at most eight bytes: all digits at once, without a loop that ends here or
/// there. `padded` is `text` and what follows. `None` says nothing about a text that is longer or written otherwise.
#[inline(always)]
pub(super) fn short(text: &[u8], padded: &[u8]) -> Option<Number> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    const DOT: u64 = (b'.' ^ b'0') as u64;

    let padded = padded.first_chunk::<9>()?;
    let negative = padded[0] == b'-';
    let signed = usize::from(negative | (padded[0] == b'+'));
    let count = text.len().wrapping_sub(signed);
    if count.wrapping_sub(1) >= 8 {
        return None;
    }
    // The digits' values, the first in the lowest byte; what follows the text is shifted out, and zeros come before.
    let word = u64::from_le_bytes(*padded[signed..].first_chunk()?);
    let word = (word ^ (ONES * u64::from(b'0'))) << (64 - 8 * count);
    let difference = word ^ (ONES * DOT);
    let dots = difference.wrapping_sub(ONES) & !difference & HIGHS;
    let (word, fraction) = match dots {
        0 => (word, 0),
        _ => {
            // The digits before the dot take its place.
            let dot = dots.trailing_zeros() & !7;
            let before = word & !(u64::MAX << dot);
            (before << 8 | word & (u64::MAX << dot << 8), 7 - dot as usize / 8)
        }
    };
    if (word | word.wrapping_add(ONES * 0x76)) & HIGHS != 0 || (dots != 0 && count == 1) {
        return None;
    }
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let value = (pairs & 0x0000_00ff_0000_00ff)
        .wrapping_mul(0x000f_4240_0000_0064)
        .wrapping_add((pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001))
        >> 32;
    let value = value as i64;
    Some(if dots != 0 {
        let float = value as f64 / POWERS[fraction];
        Number::Float(if negative { -float } else { float })
    } else {
        Number::Int(if negative { -value } else { value })
    })
}

/// All of `text` is one number.
pub(super) fn all(text: &[u8]) -> Checked<'_, Number> {
    match number(text)? {
        ([], number) => Ok(number),
        (rest, _) => refuse(Reason::BadNumber, rest),
    }
}

/// Any number.
#[inline(never)]
fn decimal(input: &[u8]) -> Parsed<'_, Number> {
    let (unsigned, negative) = sign(input);
    let (rest, whole) = digits(unsigned, 0);
    let (rest, fraction) = match rest {
        [b'.', rest @ ..] => digits(rest, whole.value),
        _ => (rest, Digits { count: 0, value: whole.value }),
    };
    if whole.count + fraction.count == 0 {
        return refuse(Reason::BadNumber, rest);
    }
    let (rest, exponent) = exponent(rest)?;
    let text = &unsigned[..unsigned.len() - rest.len()];
    if text.len() == whole.count
        && let Some(integer) = integer(text, negative)
    {
        return Ok((rest, integer));
    }
    let power = exponent.saturating_sub(i64::try_from(fraction.count).unwrap_or(i64::MAX));
    let exact = if whole.count + fraction.count <= SAFE_DIGITS { exact(fraction.value, power) } else { None };
    match exact.or_else(|| nearest(text)) {
        Some(float) => Ok((rest, Number::Float(if negative { -float } else { float }))),
        None => refuse(Reason::BadNumber, input),
    }
}

#[inline(always)]
fn sign(input: &[u8]) -> (&[u8], bool) {
    match input {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (input, false),
    }
}

/// A run of digits, and the integer they make behind the ones before: right as long as there are 19 in all.
struct Digits {
    count: usize,
    value: u64,
}

#[inline(always)]
fn digits(input: &[u8], before: u64) -> (&[u8], Digits) {
    let (mut rest, mut value) = (input, before);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = after;
    }
    (rest, Digits { count: input.len() - rest.len(), value })
}

/// `[(e/E) [+-] 1*DIGIT]`: 0 where there is none, and far out of any range where there are many digits.
fn exponent(input: &[u8]) -> Parsed<'_, i64> {
    let [b'e' | b'E', rest @ ..] = input else { return Ok((input, 0)) };
    let (rest, negative) = sign(rest);
    let (rest, digits) = digits(rest, 0);
    if digits.count == 0 {
        return refuse(Reason::BadNumber, rest);
    }
    let exponent = if digits.count > SAFE_DIGITS { i64::MAX } else { digits.value as i64 };
    Ok((rest, if negative { -exponent } else { exponent }))
}

/// The integer of a text of digits, if it has 64 bits.
fn integer(digits: &[u8], negative: bool) -> Option<Number> {
    let value = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    match (i64::try_from(value), negative) {
        (Ok(value), false) => Some(Number::Int(value)),
        (Ok(value), true) => Some(Number::Int(-value)),
        (Err(_), false) => Some(Number::Uint(value)),
        (Err(_), true) => (value == i64::MIN.unsigned_abs()).then_some(Number::Int(i64::MIN)),
    }
}

/// `mantissa` times ten to `power`, where both are exact doubles: then one rounding gives the nearest double.
fn exact(mantissa: u64, power: i64) -> Option<f64> {
    if mantissa > 1 << 53 {
        return None;
    }
    let scale = *POWERS.get(usize::try_from(power.unsigned_abs()).ok()?)?;
    let mantissa = mantissa as f64;
    Some(if power < 0 { mantissa / scale } else { mantissa * scale })
}

/// The nearest double, if it is finite. The grammar was checked before: `fast_float2` takes words such as `inf`.
fn nearest(text: &[u8]) -> Option<f64> {
    fast_float2::parse::<f64, _>(text).ok().filter(|float| float.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Number> {
        all(text.as_bytes()).ok()
    }

    #[test]
    fn integers_of_64_bits_are_exact() {
        assert_eq!(read("0"), Some(Number::Int(0)));
        assert_eq!(read("-0"), Some(Number::Int(0)));
        assert_eq!(read("+12"), Some(Number::Int(12)));
        assert_eq!(read("9223372036854775807"), Some(Number::Int(i64::MAX)));
        assert_eq!(read("-9223372036854775808"), Some(Number::Int(i64::MIN)));
        assert_eq!(read("9223372036854775808"), Some(Number::Uint(1 << 63)));
        assert_eq!(read("18446744073709551615"), Some(Number::Uint(u64::MAX)));
        assert_eq!(read("0000000000000000000000000000000000007"), Some(Number::Int(7)));
    }

    #[test]
    fn longer_integers_are_the_nearest_double() {
        assert_eq!(read("18446744073709551616"), Some(Number::Float(18446744073709551616.0)));
        assert_eq!(read("-9223372036854775809"), Some(Number::Float(-9223372036854775809.0)));
    }

    #[test]
    fn decimals_are_the_nearest_double() {
        for text in [
            "1.5",
            "-.5",
            "5.",
            "1.e5",
            "0.1",
            "1e22",
            "1e23",
            "1e-22",
            "1e-23",
            "4.35",
            "9007199254740993.0",
            "9007199254740992.5",
            "2.2250738585072011e-308",
            "4.9e-324",
            "1.7976931348623157e308",
            "0.000000000000000000000000000000000000000000000001",
            "123456789012345678901234567890.123456789",
            "0e999999999999999999999",
            "1e-999999999999999999999",
            "+0.30000000000000004",
        ] {
            assert_eq!(read(text), Some(Number::Float(text.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_is_no_finite_decimal_number_is_refused_where_it_stops_to_be_one() {
        for (text, offset) in [
            ("", 0),
            ("-", 1),
            ("+-1", 1),
            (" 1", 0),
            ("1 ", 1),
            (".", 1),
            ("-.", 2),
            ("1e", 2),
            ("1e+", 3),
            ("0x10", 1),
            ("1_000", 1),
            ("1o", 1),
            ("NaN", 0),
            ("inf", 0),
            ("-inf", 1),
            ("1.2.3", 3),
            ("1e999", 0),
            ("-1e309", 0),
        ] {
            let nom::Err::Failure(fault) = all(text.as_bytes()).unwrap_err() else { panic!() };
            assert_eq!((fault.reason, text.len() - fault.at.len()), (Reason::BadNumber, offset), "{text}");
        }
    }
}
