//! DogStatsD's service checks, `_sc|name|status[|field]...`.

use nom::Parser;
use nom::sequence::delimited;

use super::error::{Checked, Parsed, Reason, refuse};
use super::field::{self, Fields};
use super::scan::{literal, until};
use super::{Limits, Notes};
use crate::record::{Form, Kind, Number, Record, Text, Value};

/// Reads a line that begins with `_sc|`.
#[inline(never)]
pub(super) fn parse<'a>(
    line: &'a [u8],
    limits: &Limits,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    let mut header =
        (delimited(literal(b"_sc|", Reason::NoName), name, literal(b"|", Reason::BadStatus)), status);
    let (rest, (name, value)) = header.parse(line)?;
    let mut fields = Fields::new();
    field::each(rest, &mut fields, |fields, field| read(&mut fields.record, field, limits))?;
    emit(Record { kind: Kind::ServiceCheck, name, value, ..fields.record });
    Ok(Notes { ignored: fields.ignored })
}

/// A field of a service check.
fn read<'a>(record: &mut Record<'a>, field: &'a [u8], limits: &Limits) -> Checked<'a, bool> {
    match field {
        [b'd', b':', text @ ..] => field::date(record, text)?,
        [b'm', b':', raw @ ..] if !raw.is_empty() => record.message = Some(Text { raw, form: Form::Message }),
        [b'm', b':'] => {}
        _ => return field::common(record, field, limits),
    }
    Ok(true)
}

/// At least one byte, to the `|`.
fn name(input: &[u8]) -> Parsed<'_, Text<'_>> {
    let (rest, name) = until(*b"|")(input)?;
    if name.is_empty() { refuse(Reason::NoName, input) } else { Ok((rest, Text::plain(name))) }
}

/// One digit, 0 to 3.
fn status(input: &[u8]) -> Parsed<'_, Value<'_>> {
    match until(*b"|")(input)? {
        (rest, raw @ [digit @ b'0'..=b'3']) => {
            Ok((rest, Value::Number(Number::Int(i64::from(digit - b'0')), raw)))
        }
        _ => refuse(Reason::BadStatus, input),
    }
}
