//! The plain form in the `statsd` dialect: `name:value|type[|@rate][:value|type...][|field]...[|#tags]`.

use super::error::{Checked, Notes, Reason, refuse};
use super::field::{self, Fields};
use super::limits::Limits;
use super::{scan, typed};
use crate::record::{Kind, Record, Tags, Value};

/// Whether a gauge with this text changes the one before instead of replacing it.
#[inline]
pub(super) fn is_delta(kind: Kind<'_>, raw: &[u8]) -> bool {
    kind == Kind::Gauge && matches!(raw, [b'+' | b'-', ..])
}

/// Reads what follows the name, which is already in `fields`.
///
/// Fields stand behind the last segment and hold for all of them, so the segments are walked twice: once to check
/// the line and find its fields, once to give out the records.
pub(super) fn parse<'a>(
    input: &'a [u8],
    limits: &Limits,
    mut fields: Fields<'a>,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    let (segments, tags) = split_tags(input);
    let tags = tags.map_or(Ok(None), |tags| field::tags(tags, limits))?;
    let mut records = 0u32;
    walk(segments, &mut fields, limits, &mut |_| records += 1)?;
    fields.record.tags = tags.unwrap_or(Tags::None);
    let Fields { record: shared, ignored, .. } = fields;
    if let Some(id) = shared.id
        && records > 1
    {
        return refuse(Reason::BadId, id.raw);
    }
    let mut index = 0;
    walk(segments, &mut fields, limits, &mut |Said { kind, value, rate }| {
        let delta = matches!(value, Value::Number(_, raw) if is_delta(kind, raw));
        emit(Record { kind, value, rate, delta, index, ..shared });
        index += 1;
    })?;
    Ok(Notes { ignored })
}

/// What stands before the first `|#`, and the tags behind it.
#[inline]
fn split_tags(input: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr_iter(b'|', input).find(|&bar| input.get(bar + 1) == Some(&b'#')) {
        Some(bar) => (&input[..bar], Some(&input[bar + 2..])),
        None => (input, None),
    }
}

/// The fields behind a type and the tags, if no `:` among the fields could begin another segment: then they mean
/// what they mean in the other dialect.
#[inline]
pub(super) fn of_one_segment(input: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let (parts, tags) = split_tags(input);
    (scan::find(*b":", parts).is_none().then_some(parts), tags)
}

/// One value of a segment.
struct Said<'a> {
    kind: Kind<'a>,
    value: Value<'a>,
    rate: f64,
}

/// Gives every value of `segments` to `say`, and puts the fields of the line into `fields`.
fn walk<'a>(
    segments: &'a [u8],
    fields: &mut Fields<'a>,
    limits: &Limits,
    say: &mut dyn FnMut(Said<'a>),
) -> Checked<'a, ()> {
    let mut rest = segments;
    loop {
        let (after, value) = scan::until(*b"|")(rest)?;
        let Some(after) = after.strip_prefix(b"|") else { return refuse(Reason::NoType, after) };
        let (after, type_name) = scan::until(*b"|:")(after)?;
        fields.record.rate = 1.0;
        rest = parts(after, fields, limits)?;
        let rate = fields.record.rate;
        if type_name == b"s" {
            say(Said { kind: Kind::Set, value: typed::set(value)?, rate });
        } else {
            let kind = typed::numeric_name(type_name).map_or_else(|| typed::no_such_type(type_name), Ok)?;
            for value in typed::unpack(value) {
                say(Said { kind, value: value?, rate });
            }
        }
        match rest {
            [b':', after @ ..] => rest = after,
            _ => return Ok(()),
        }
    }
}

/// Reads the rate of a segment, or the fields of the line. What is left is empty, or `:` and the next segment.
fn parts<'a>(input: &'a [u8], fields: &mut Fields<'a>, limits: &Limits) -> Checked<'a, &'a [u8]> {
    let mut rest = input;
    while let [b'|', after @ ..] = rest {
        if is_last(after) {
            field::each(rest, fields, |fields, field| field::plain(fields, field, limits))?;
            return Ok(b"");
        }
        let (after, part) = match after {
            [b'@', ..] => scan::until(*b"|:")(after)?,
            _ => scan::until(*b"|")(after)?,
        };
        if !part.is_empty() && !field::plain(fields, part, limits)? {
            fields.ignored += 1;
        }
        rest = after;
    }
    Ok(rest)
}

/// Whether a part is a field that only the last segment has: its `:` begins no other one.
fn is_last(part: &[u8]) -> bool {
    [&b"c:"[..], b"e:", b"h:", b"i:", b"card:"].iter().any(|prefix| part.starts_with(prefix))
}
