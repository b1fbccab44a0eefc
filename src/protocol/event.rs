//! DogStatsD's events, `_e{t,x}:title|text[|field]...`.

use nom::Parser;
use nom::sequence::{delimited, terminated};

use super::error::{Checked, Notes, Parsed, Reason, refuse};
use super::field::{self, Fields};
use super::limits::Limits;
use super::scan::literal;
use crate::record::{Form, Kind, Record, Text, Value};

/// Reads a line that begins with `_e{`.
#[inline(never)]
pub(super) fn parse<'a>(
    line: &'a [u8],
    limits: &Limits,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    let mut lengths = delimited(
        literal(b"_e{", Reason::BadLength),
        (terminated(length, literal(b",", Reason::BadLength)), length),
        literal(b"}:", Reason::BadLength),
    );
    let (rest, (title_length, text_length)) = lengths.parse(line)?;
    if title_length == 0 {
        return refuse(Reason::EmptyTitle, rest);
    }
    let (rest, name) = terminated(take(title_length), literal(b"|", Reason::BadLength)).parse(rest)?;
    let (rest, text) = take(text_length).parse(rest)?;
    if !matches!(rest, [] | [b'|', ..]) {
        return refuse(Reason::BadLength, rest);
    }
    let mut fields = Fields::new();
    field::each(rest, &mut fields, |fields, field| read(&mut fields.record, field, limits))?;
    emit(Record { kind: Kind::Event, name, value: Value::Text(text), ..fields.record });
    Ok(Notes { ignored: fields.ignored })
}

/// A field of an event.
fn read<'a>(record: &mut Record<'a>, field: &'a [u8], limits: &Limits) -> Checked<'a, bool> {
    match field {
        [b'd', b':', text @ ..] => field::date(record, text)?,
        [b'k', b':', text @ ..] => field::set(&mut record.aggregation_key, text),
        [b's', b':', text @ ..] => field::set(&mut record.source_type_name, text),
        [b'p', b':', text @ ..] => return Ok(one_of(&mut record.priority, text, &[b"normal", b"low"])),
        [b't', b':', text @ ..] => {
            return Ok(one_of(&mut record.alert_type, text, &[b"error", b"warning", b"info", b"success"]));
        }
        _ => return field::common(record, field, limits),
    }
    Ok(true)
}

/// A field with a choice of texts. Any other than these is not known; none at all is as if it was not sent.
fn one_of<'a>(member: &mut Option<Text<'a>>, text: &'a [u8], choice: &[&[u8]]) -> bool {
    let known = choice.contains(&text);
    if known {
        *member = Some(Text::plain(text));
    }
    known || text.is_empty()
}

/// `1*DIGIT`. What is longer than any line may be as well the longest length there is.
fn length(input: &[u8]) -> Parsed<'_, usize> {
    let count = input.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return refuse(Reason::BadLength, input);
    }
    let (digits, rest) = input.split_at(count);
    let length = digits
        .iter()
        .fold(0usize, |length, digit| length.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    Ok((rest, length))
}

/// A text of so many bytes.
fn take<'a>(length: usize) -> impl Fn(&'a [u8]) -> Parsed<'a, Text<'a>> {
    move |input| match input.split_at_checked(length) {
        Some((raw, rest)) => Ok((rest, Text { raw, form: Form::Newline })),
        None => refuse(Reason::BadLength, &input[input.len()..]),
    }
}
