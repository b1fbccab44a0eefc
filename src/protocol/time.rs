//! Instants: seconds since 1970 in digits, and RFC 3339 in JSON reports.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::record::{Text, Timestamp, text::Piece};

/// The last second that is taken: 64-bit nanoseconds end within the next one, in the year 2262.
const LAST_SECOND: u64 = 9_223_372_035;
const NANOS: i64 = 1_000_000_000;

/// `1*DIGIT ["." 1*DIGIT]` seconds since 1970, above 0 and at most [`LAST_SECOND`]; digits beyond nanoseconds are cut.
pub(super) fn seconds(text: &[u8]) -> Option<Timestamp> {
    let whole = digits(text);
    let seconds = whole.iter().try_fold(0u64, |seconds, digit| {
        let seconds = seconds * 10 + u64::from(digit - b'0');
        (seconds <= LAST_SECOND).then_some(seconds)
    })?;
    let (rest, nanos, digits) = fraction(&text[whole.len()..])?;
    let within = seconds < LAST_SECOND || text[whole.len()..].iter().all(|byte| matches!(byte, b'.' | b'0'));
    if whole.is_empty() || !rest.is_empty() || !within {
        return None;
    }
    timestamp(i64::try_from(seconds).ok()?, nanos, digits)
}

/// RFC 3339, such as `2026-11-22T20:00:00.25+01:00`, in the same range. The second 60 is the first of the next minute.
pub(super) fn rfc3339(text: Text<'_>) -> Option<Timestamp> {
    let mut buffer = [0; 64];
    let (rest, date) = numbers(unescaped(text, &mut buffer)?, [4, 2, 2], b'-')?;
    let (b'T' | b't', rest) = rest.split_first()? else { return None };
    let (rest, clock) = numbers(rest, [2, 2, 2], b':')?;
    let (rest, nanos, digits) = fraction(rest)?;
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let ([], [hours, minutes]) = numbers(rest, [2, 2], b':')? else { return None };
            let offset = i32::from(hours) * 3600 + i32::from(minutes) * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let small = |number: i16| i8::try_from(number).ok();
    let [year, month, day] = date;
    let [hour, minute, second] = clock;
    let leap = i64::from(second == 60);
    let civil = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(if second == 60 { 59 } else { second })?,
        0,
    )
    .ok()?;
    let seconds = Offset::from_seconds(offset).ok()?.to_timestamp(civil).ok()?.as_second() + leap;
    let within = u64::try_from(seconds).is_ok_and(|seconds| seconds < LAST_SECOND + u64::from(nanos == 0));
    if within { timestamp(seconds, nanos, digits) } else { None }
}

fn timestamp(seconds: i64, nanos: i64, digits: u8) -> Option<Timestamp> {
    let nanos = seconds.checked_mul(NANOS)?.checked_add(nanos)?;
    (nanos > 0).then_some(Timestamp { nanos, digits })
}

/// `["." 1*DIGIT]`: what follows it, the nanoseconds and how many digits of them were sent.
fn fraction(text: &[u8]) -> Option<(&[u8], i64, u8)> {
    let [b'.', text @ ..] = text else { return Some((text, 0, 0)) };
    let sent = digits(text);
    if sent.is_empty() {
        return None;
    }
    let kept = &sent[..sent.len().min(9)];
    let nanos = (0..9)
        .fold(0, |nanos, place| nanos * 10 + kept.get(place).map_or(0, |digit| i64::from(digit - b'0')));
    Some((&text[sent.len()..], nanos, kept.len() as u8))
}

/// Numbers of so many digits each with `separator` between them.
fn numbers<const N: usize>(text: &[u8], widths: [usize; N], separator: u8) -> Option<(&[u8], [i16; N])> {
    let mut rest = text;
    let mut numbers = [0; N];
    for (index, (number, width)) in numbers.iter_mut().zip(widths).enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(&[separator])?;
        }
        let (number_digits, after) = rest.split_at_checked(width)?;
        if digits(number_digits).len() != width {
            return None;
        }
        *number = number_digits.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0'));
        rest = after;
    }
    Some((rest, numbers))
}

fn digits(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    &text[..length]
}

/// The text itself, or `buffer` if it has escapes. With escapes *and* more than 64 bytes it is nobody's time.
fn unescaped<'b>(text: Text<'b>, buffer: &'b mut [u8; 64]) -> Option<&'b [u8]> {
    if !text.raw.contains(&b'\\') {
        return Some(text.raw);
    }
    let mut length = 0;
    for piece in text.pieces() {
        let mut char = [0; 4];
        let bytes = match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Char(escaped) => escaped.encode_utf8(&mut char).as_bytes(),
        };
        buffer.get_mut(length..length + bytes.len())?.copy_from_slice(bytes);
        length += bytes.len();
    }
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Form;

    fn of_text(text: &str) -> Option<(i64, u8)> {
        rfc3339(Text { raw: text.as_bytes(), form: Form::Json }).map(|time| (time.nanos, time.digits))
    }

    fn of_seconds(text: &str) -> Option<(i64, u8)> {
        seconds(text.as_bytes()).map(|time| (time.nanos, time.digits))
    }

    #[test]
    fn seconds_keep_the_digits_that_were_sent() {
        assert_eq!(of_seconds("1795374000"), Some((1_795_374_000_000_000_000, 0)));
        assert_eq!(of_seconds("1795374000.250"), Some((1_795_374_000_250_000_000, 3)));
        assert_eq!(of_seconds("0000000000000001.1234567899"), Some((1_123_456_789, 9)));
        assert_eq!(of_seconds("9223372035.000"), Some((9_223_372_035_000_000_000, 3)));
    }

    #[test]
    fn seconds_out_of_range_or_form_are_none() {
        for text in [
            "",
            "0",
            "0.0",
            "0.0000000001",
            "9223372036",
            "9223372035.5",
            "99999999999999999999999",
            "-1",
            "+1",
            "1.",
            ".5",
            "1e9",
            " 1",
            "1 ",
            "1.5.5",
            "1,5",
        ] {
            assert_eq!(of_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_read_with_its_offset() {
        assert_eq!(of_text("2026-11-22T19:00:00Z"), Some((1_795_374_000_000_000_000, 0)));
        assert_eq!(of_text("2026-11-22t20:30:00.25+01:30"), Some((1_795_374_000_250_000_000, 2)));
        assert_eq!(of_text("2026-11-22T18:00:00.1234567891-01:00"), Some((1_795_374_000_123_456_789, 9)));
        assert_eq!(of_text(r"2026\u002d11-22T19:00:00Z"), Some((1_795_374_000_000_000_000, 0)));
        assert_eq!(of_text("2016-12-31T23:59:60Z"), of_text("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn a_text_out_of_range_or_form_is_none() {
        for text in [
            "",
            "1795374000",
            "2026-11-22",
            "2026-11-22T19:00:00",
            "2026-11-22 19:00:00Z",
            "2026-11-22T19:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T19:00:61Z",
            "2026-11-22T19:00:00.Z",
            "2026-11-22T19:00:00+1:00",
            "2026-11-22T19:00:00+24:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2262-04-11T23:47:16Z",
            "9999-12-31T23:59:59Z",
            "+2026-11-22T19:00:00Z",
            "2026-11-22T19:00:00Z ",
            "2026-11-22T19:00:00Z[UTC]",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
