//! JSON: is it valid, how deep is it, where does it end.
//!
//! A byte of 0x80 or above is taken inside of strings and nowhere else: that is to replace what is not UTF-8 before
//! the check, as only such bytes are ever replaced. Brackets are followed without recursion.

use super::error::{Checked, Parsed, Reason, refuse};
use super::limits::Limits;
use super::{number, scan};
use crate::record::{Value, json};

/// What follows one valid value at the start of `input`, inside `depth` brackets that are open already.
///
/// Inlined down to the strings and numbers without anything rare in them, since a result that is handed over in memory costs
/// more than to read one of those.
#[inline(always)]
pub(super) fn value<'a>(input: &'a [u8], depth: usize, limits: &Limits) -> Checked<'a, &'a [u8]> {
    match input {
        [b'{' | b'[', ..] => brackets(input, depth, limits),
        _ => scalar(input),
    }
}

#[inline(never)]
fn brackets<'a>(input: &'a [u8], depth: usize, limits: &Limits) -> Checked<'a, &'a [u8]> {
    let mut open = Brackets::new(depth, limits);
    let mut rest = input;
    loop {
        // Here a value has to begin. What opens one leads to the first value in it, or to its end.
        rest = match rest {
            [b'{', inside @ ..] => {
                open.push(true, rest)?;
                let inside = spaces(inside);
                if !inside.starts_with(b"}") {
                    rest = key(inside)?;
                    continue;
                }
                inside
            }
            [b'[', inside @ ..] => {
                open.push(false, rest)?;
                let inside = spaces(inside);
                if !inside.starts_with(b"]") {
                    rest = inside;
                    continue;
                }
                inside
            }
            _ => scalar(rest)?,
        };
        // Here a value has ended, or there is none in the brackets just opened.
        loop {
            let Some(is_object) = open.last() else { return Ok(rest) };
            rest = spaces(rest);
            match (rest, is_object) {
                ([b'}', after @ ..], true) | ([b']', after @ ..], false) => {
                    open.pop();
                    rest = after;
                }
                ([b',', after @ ..], true) => {
                    rest = key(spaces(after))?;
                    break;
                }
                ([b',', after @ ..], false) => {
                    rest = spaces(after);
                    break;
                }
                _ => return refuse(Reason::BadJson, rest),
            }
        }
    }
}

/// Which brackets are open: a bit each, set for `{`.
struct Brackets {
    objects: [u64; Limits::MAX_JSON_DEPTH / 64],
    depth: usize,
    left: usize,
}

impl Brackets {
    fn new(outside: usize, limits: &Limits) -> Self {
        let left = limits.max_json_depth.saturating_sub(outside).min(Limits::MAX_JSON_DEPTH);
        Brackets { objects: [0; Limits::MAX_JSON_DEPTH / 64], depth: 0, left }
    }

    fn push<'a>(&mut self, is_object: bool, at: &'a [u8]) -> Checked<'a, ()> {
        if self.depth >= self.left {
            return refuse(Reason::JsonTooDeep, at);
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        self.objects[word] = self.objects[word] & !bit | if is_object { bit } else { 0 };
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn last(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some(self.objects[top / 64] >> (top % 64) & 1 == 1)
    }
}

/// The name of a member and its `:`; the rest begins with what has to be its value.
fn key(input: &[u8]) -> Checked<'_, &[u8]> {
    member_name(input).map(|(rest, _)| rest)
}

/// The name of a member, as it was sent, and its `:`.
#[inline(always)]
pub(super) fn member_name(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, name) = string(input)?;
    let rest = spaces(rest);
    match rest {
        [b':', rest @ ..] => Ok((spaces(rest), name)),
        _ => refuse(Reason::BadJson, rest),
    }
}

/// Anything without brackets.
#[inline(always)]
fn scalar(input: &[u8]) -> Checked<'_, &[u8]> {
    match input {
        [b'"', ..] => string(input).map(|(rest, _)| rest),
        [b'-' | b'0'..=b'9', ..] => finite(input),
        [b't', b'r', b'u', b'e', rest @ ..]
        | [b'f', b'a', b'l', b's', b'e', rest @ ..]
        | [b'n', b'u', b'l', b'l', rest @ ..] => Ok(rest),
        _ => refuse(Reason::BadJson, input),
    }
}

/// What follows white space.
pub(super) fn spaces(input: &[u8]) -> &[u8] {
    let length = input.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    &input[length..]
}

/// What stands between the quotes of a string.
#[inline(always)]
fn string(input: &[u8]) -> Parsed<'_, &[u8]> {
    if let [b'"', inside @ ..] = input
        && let Some(length) = scan::find_in_string(inside)
        && let (text, [b'"', after @ ..]) = inside.split_at(length)
    {
        return Ok((after, text));
    }
    escaped(input)
}

/// As [`string`], also with escapes.
#[inline(never)]
fn escaped(input: &[u8]) -> Parsed<'_, &[u8]> {
    let Some(inside) = input.strip_prefix(b"\"") else { return refuse(Reason::BadJson, input) };
    let mut rest = inside;
    loop {
        let plain = scan::find_in_string(rest).unwrap_or(rest.len());
        rest = match &rest[plain..] {
            [b'"', after @ ..] => return Ok((after, &inside[..inside.len() - after.len() - 1])),
            [b'\\', b'u', after @ ..] => unicode(after)?,
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            other => return refuse(Reason::BadJson, other),
        }
    }
}

/// What follows `\u`: four digits, and its other half if they are one half of a character.
fn unicode(input: &[u8]) -> Checked<'_, &[u8]> {
    match code(input) {
        Some((0xD800..0xDC00, rest)) => match rest.strip_prefix(b"\\u").and_then(code) {
            Some((0xDC00..0xE000, rest)) => Ok(rest),
            _ => refuse(Reason::BadJson, input),
        },
        None | Some((0xDC00..0xE000, _)) => refuse(Reason::BadJson, input),
        Some((_, rest)) => Ok(rest),
    }
}

fn code(input: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = input.split_at_checked(4)?;
    let code = digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))?;
    Some((code, rest))
}

/// A number that a double can hold.
fn finite(input: &[u8]) -> Checked<'_, &[u8]> {
    let Some(length) = number_length(input) else { return refuse(Reason::BadJson, input) };
    let (text, rest) = input.split_at(length);
    // Without an exponent it takes 309 digits to overflow.
    if (length > 300 || memchr::memchr2(b'e', b'E', text).is_some()) && number::all(text).is_err() {
        return refuse(Reason::BadJson, input);
    }
    Ok(rest)
}

/// Whether all of `text` is a number by JSON's grammar, large as it may be.
pub(super) fn is_number(text: &[u8]) -> bool {
    number_length(text) == Some(text.len())
}

/// `["-"] ("0" / %x31-39 *DIGIT) ["." 1*DIGIT] [("e" / "E") ["+" / "-"] 1*DIGIT]`.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let some_digits = |from| Some(digits(from)).filter(|&count| count > 0);
    let mut at = usize::from(text.starts_with(b"-"));
    at += if text.get(at) == Some(&b'0') { 1 } else { some_digits(at)? };
    if text.get(at) == Some(&b'.') {
        at += 1 + some_digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at += some_digits(at)?;
    }
    Some(at)
}

/// What follows a text whose brackets and quotes are balanced, valid or not; `None` if they are not.
pub(super) fn balanced(input: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    let mut quoted = false;
    let mut bytes = input.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 && !quoted {
            return Some(bytes.as_slice());
        }
    }
    None
}

/// What a valid JSON value says. `raw` has nothing around it.
#[inline]
pub(super) fn typed(raw: &[u8]) -> Value<'_> {
    match raw {
        [b'{', ..] => Value::Object(raw),
        [b'[', ..] => Value::List(raw),
        [b'"', ..] => Value::Text(json::string(raw)),
        b"true" => Value::Bool(true, raw),
        b"false" => Value::Bool(false, raw),
        b"null" => Value::Null(raw),
        _ => match number::all(raw) {
            Ok(number) => Value::Number(number, raw),
            Err(_) => Value::Null(raw),
        },
    }
}
