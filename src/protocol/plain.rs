//! The plain form, `name:value|type[|field]...`, in Kaneda's dialect.

use nom::Parser;
use nom::combinator::consumed;
use nom::sequence::terminated;

use super::error::{Checked, Notes, Parsed, Reason, refuse};
use super::field::{self, Fields};
use super::limits::Limits;
use super::{Emit, custom, number, scan, statsd, typed};
use crate::record::{Dialect, Form, Kind, Record, Tags, Text, Value};

/// Reads a line of the plain form.
///
/// Nearly every line says one number, so that is tried first, and the number itself finds where the value ends. All
/// else is out of line: the less there is beside the common case, the more of it is compiled away.
#[inline]
pub(super) fn parse<'a>(
    line: &'a [u8],
    dialect: Dialect,
    limits: &Limits,
    to: &mut impl Emit<'a>,
) -> Checked<'a, Notes> {
    let (rest, name) = terminated(name, scan::literal(b":", Reason::BadNumber)).parse(line)?;
    if let Ok((after, (raw, number))) = consumed(number::number).parse(rest)
        && let Some((kind, after)) = typed::numeric(after)
    {
        let delta = dialect == Dialect::Statsd && statsd::is_delta(kind, raw);
        let record = Record { delta, ..Record::new(kind, name, Value::Number(number, raw)) };
        if after.is_empty() {
            to.emit(&record);
            return Ok(Notes::default());
        }
        let (parts, tags) = match dialect {
            Dialect::Kaneda => (Some(after), None),
            Dialect::Statsd => statsd::of_one_segment(after),
        };
        if let Some(parts) = parts {
            let mut fields = Fields::of(record);
            field::each(parts, &mut fields, |fields, field| field::plain(fields, field, limits))?;
            if let Some(tags) = tags {
                fields.record.tags = field::tags(tags, limits)?.unwrap_or(Tags::None);
            }
            to.emit(&fields.record);
            return Ok(Notes { ignored: fields.ignored });
        }
    }
    seldom(rest, name, dialect, limits, &mut |record| to.emit(&record))
}

/// What does not say one number, behind the name.
#[inline(never)]
fn seldom<'a>(
    rest: &'a [u8],
    name: Text<'a>,
    dialect: Dialect,
    limits: &Limits,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    let mut fields = Fields::new();
    fields.record.name = name;
    if dialect == Dialect::Kaneda
        && let Some((packed, kind, after)) = packed_numbers(rest)
    {
        fields.record.kind = kind;
        return numbers(packed, after, limits, fields, emit);
    }
    any(rest, dialect, limits, fields, emit)
}

/// A value that may be packed numbers, their type, and the fields behind it.
#[inline]
fn packed_numbers(input: &[u8]) -> Option<(&[u8], Kind<'static>, &[u8])> {
    let (value, rest) = input.split_at_checked(scan::find(*b"|", input)?)?;
    // A bar that is escaped, or text before it, is for other rules to judge.
    let may_be = matches!(value, [b'0'..=b'9' | b'+' | b'-' | b'.', .., b'0'..=b'9']);
    let (kind, after) = typed::numeric(rest).filter(|_| may_be)?;
    Some((value, kind, after))
}

/// The records of numbers, packed or not, with the fields in `rest`.
fn numbers<'a>(
    packed: &'a [u8],
    rest: &'a [u8],
    limits: &Limits,
    mut fields: Fields<'a>,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    // Of two faults the line is refused for the first: the values stand before the fields.
    if let Err(fault) = field::each(rest, &mut fields, |fields, field| field::plain(fields, field, limits)) {
        typed::unpack(packed).try_for_each(|value| value.map(|_| ()))?;
        return Err(fault);
    }
    if let Some(id) = fields.record.id
        && memchr::memchr(b':', packed).is_some()
    {
        return refuse(Reason::BadId, id.raw);
    }
    for (index, value) in (0..).zip(typed::unpack(packed)) {
        emit(Record { value: value?, index, ..fields.record });
    }
    Ok(Notes { ignored: fields.ignored })
}

/// Any value, type and fields.
fn any<'a>(
    input: &'a [u8],
    dialect: Dialect,
    limits: &Limits,
    mut fields: Fields<'a>,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    let (rest, (value, type_name)) = value_and_type(input, limits)?;
    let shared = |fields: &mut Fields<'a>| {
        field::each(rest, fields, |fields, field| field::plain(fields, field, limits))
    };
    match type_name {
        b"e" | b"event" => {
            shared(&mut fields)?;
            emit(Record {
                kind: Kind::Event,
                value: Value::Text(Text { raw: value, form: Form::Event }),
                ..fields.record
            });
        }
        b"k" | b"custom" => {
            let value = custom::value(value, limits)?;
            field::each(rest, &mut fields, |fields, field| match field {
                [b'm', b':', text @ ..] => {
                    field::set(&mut fields.metric, text);
                    Ok(true)
                }
                _ => field::plain(fields, field, limits),
            })?;
            let kind = Kind::named(fields.metric.unwrap_or(Text::plain(b"custom")));
            emit(Record { kind, value, ..fields.record });
        }
        _ if dialect == Dialect::Statsd => return statsd::parse(input, limits, fields, emit),
        b"s" => {
            let value = typed::set(value)?;
            shared(&mut fields)?;
            emit(Record { kind: Kind::Set, value, ..fields.record });
        }
        _ => {
            fields.record.kind =
                typed::numeric_name(type_name).map_or_else(|| typed::no_such_type(type_name), Ok)?;
            return numbers(value, rest, limits, fields, emit);
        }
    }
    Ok(Notes { ignored: fields.ignored })
}

/// A name: at least one byte, none of them `:` or `|`.
#[inline(always)]
fn name(input: &[u8]) -> Parsed<'_, Text<'_>> {
    let (rest, name) = scan::until(*b":|")(input)?;
    match rest {
        _ if name.is_empty() => refuse(Reason::NoName, input),
        [] => refuse(Reason::NoType, rest),
        _ => Ok((rest, Text::plain(name))),
    }
}

/// The value and the type at the start of `input`; the rest is empty or begins with `|`.
///
/// Where a value ends: behind a JSON value that `|k` or `|custom` follows; else at the first `|` that is not escaped,
/// if the type of an event follows; else at the first `|`.
fn value_and_type<'a>(input: &'a [u8], limits: &Limits) -> Parsed<'a, (&'a [u8], &'a [u8])> {
    let length = custom::json_length(input, limits)?
        .or_else(|| {
            unescaped_pipe(input).filter(|&length| typed::is_type(&input[length..], &[b"e", b"event"]))
        })
        .or_else(|| scan::find(*b"|", input));
    match length {
        Some(length) => {
            let (value, rest) = input.split_at(length);
            let (rest, type_name) = scan::until(*b"|")(&rest[1..])?;
            Ok((rest, (value, type_name)))
        }
        None => refuse(Reason::NoType, &input[input.len()..]),
    }
}

/// The first `|` with an even number of backslashes before it.
fn unescaped_pipe(input: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'|', input)
        .find(|&pipe| input[..pipe].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 0)
}
