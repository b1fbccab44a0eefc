//! Texts as protocol 0 spells them.

use std::borrow::Cow;

use super::Error;

const BAD_ESCAPE: Error = Error::Broken("a text has an escape that is none");

/// The bytes of a `str` of Python 2, as its `repr` has them: in quotes, with escapes.
pub(super) fn quoted(line: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let inside = match line {
        [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => inside,
        _ => return Err(Error::Broken("a text has no quotes")),
    };
    if !inside.contains(&b'\\') {
        return Ok(inside.into());
    }
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (&escape, after) = rest.split_first().ok_or(BAD_ESCAPE)?;
        rest = after;
        bytes.push(match escape {
            b'\\' | b'\'' | b'"' => escape,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => hex(&mut rest, 2)? as u8,
            _ => return Err(BAD_ESCAPE),
        });
    }
    Ok(bytes.into())
}

/// A text in Python's `raw-unicode-escape`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`, and no other escape.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Result<Cow<'_, str>, Error> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return str::from_utf8(line).map(Cow::Borrowed).map_err(|_| BAD_ESCAPE);
    }
    // In UTF-16, since Python 2 may write a character beyond it as two.
    let mut units = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = match (first, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                units.push(u16::from(*first));
                continue;
            }
        };
        rest = &rest[1..];
        let code = hex(&mut rest, digits)?;
        match char::from_u32(code) {
            Some(letter) => units.extend_from_slice(letter.encode_utf16(&mut [0; 2])),
            None => units.push(u16::try_from(code).map_err(|_| BAD_ESCAPE)?),
        }
    }
    Ok(String::from_utf16_lossy(&units).into())
}

/// Takes so many hexadecimal digits off `rest`.
fn hex(rest: &mut &[u8], digits: usize) -> Result<u32, Error> {
    let (taken, after) = rest.split_at_checked(digits).ok_or(BAD_ESCAPE)?;
    *rest = after;
    taken.iter().try_fold(0, |code, &byte| {
        let digit = char::from(byte).to_digit(16).ok_or(BAD_ESCAPE)?;
        Ok(code << 4 | digit)
    })
}
