//! Types, and the values that go with numbers and sets.

use nom::Parser;
use nom::combinator::consumed;

use super::error::{Checked, Reason, refuse};
use super::number;
use crate::record::{Kind, Text, Value};

/// `|` and one of the types whose values are numbers, in the spelling that every client uses.
#[inline(always)]
pub(super) fn numeric(input: &[u8]) -> Option<(Kind<'static>, &[u8])> {
    let (kind, rest) = match input {
        [b'|', b'c', rest @ ..] => (Kind::Counter, rest),
        [b'|', b'm', b's', rest @ ..] => (Kind::Timing, rest),
        [b'|', b'g', rest @ ..] => (Kind::Gauge, rest),
        [b'|', b'h', rest @ ..] => (Kind::Histogram, rest),
        [b'|', b'd', rest @ ..] => (Kind::Distribution, rest),
        _ => return None,
    };
    matches!(rest, [] | [b'|', ..]).then_some((kind, rest))
}

/// The types whose values are numbers.
pub(super) fn numeric_name(name: &[u8]) -> Option<Kind<'static>> {
    Some(match name {
        b"c" | b"counter" => Kind::Counter,
        b"g" | b"gauge" => Kind::Gauge,
        b"ms" | b"timing" => Kind::Timing,
        b"h" => Kind::Histogram,
        b"d" => Kind::Distribution,
        _ => return None,
    })
}

/// Refuses what stands in the place of a type.
pub(super) fn no_such_type<'a, T>(name: &'a [u8]) -> Checked<'a, T> {
    refuse(if name.is_empty() { Reason::NoType } else { Reason::UnknownType }, name)
}

/// Whether `rest` is `|` and one of `types`, whole.
pub(super) fn is_type(rest: &[u8], types: &[&[u8]]) -> bool {
    let Some(rest) = rest.strip_prefix(b"|") else { return false };
    types.contains(&rest.split(|&byte| byte == b'|').next().unwrap_or_default())
}

/// The text of a set.
pub(super) fn set(value: &[u8]) -> Checked<'_, Value<'_>> {
    if value.is_empty() { refuse(Reason::EmptySet, value) } else { Ok(Value::Text(Text::plain(value))) }
}

/// The numbers of a packed value.
#[inline]
pub(super) fn unpack(packed: &[u8]) -> impl Iterator<Item = Checked<'_, Value<'_>>> {
    let mut rest = Some(packed);
    std::iter::from_fn(move || {
        let input = rest.take()?;
        let (after, (raw, number)) = match consumed(number::number).parse(input) {
            Ok(read) => read,
            Err(fault) => return Some(Err(fault)),
        };
        match after {
            [] => {}
            [b':', after @ ..] => rest = Some(after),
            _ => return Some(refuse(Reason::BadNumber, after)),
        }
        Some(Ok(Value::Number(number, raw)))
    })
}
