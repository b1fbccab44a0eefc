//! The fields behind a type, read into the record that all values of the line share.

use nom::Parser;
use nom::sequence::preceded;

use super::error::{Checked, Reason, refuse};
use super::limits::Limits;
use super::{number, scan, time};
use crate::record::{Kind, Number, Record, Tags, Text, Timestamp, Value};

/// The longest id: RethinkDB's limit for a primary key, the shortest of all stores.
const MAX_ID_BYTES: usize = 127;

/// What a line has said besides its values. Kind, name and value of `record` are still to come.
pub(super) struct Fields<'a> {
    /// What is shared.
    pub(super) record: Record<'a>,
    /// `m:`, of custom reports.
    pub(super) metric: Option<Text<'a>>,
    /// Fields that are not known.
    pub(super) ignored: u32,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        let nothing = Text::plain(b"");
        Fields::of(Record::new(Kind::Event, nothing, Value::Text(nothing)))
    }

    /// Of a line whose kind, name and value are known.
    #[inline]
    pub(super) fn of(record: Record<'a>) -> Self {
        Fields { record, metric: None, ignored: 0 }
    }
}

/// Gives each field of `rest`, which is empty or begins with `|`, to `read`, without the empty ones.
/// `read` says whether it knows the field.
#[inline]
pub(super) fn each<'a>(
    rest: &'a [u8],
    fields: &mut Fields<'a>,
    mut read: impl FnMut(&mut Fields<'a>, &'a [u8]) -> Checked<'a, bool>,
) -> Checked<'a, ()> {
    let mut rest = rest;
    while !rest.is_empty() {
        let (after, field) = preceded(scan::literal(b"|", Reason::NoType), scan::until(*b"|")).parse(rest)?;
        if !field.is_empty() && !read(fields, field)? {
            fields.ignored += 1;
        }
        rest = after;
    }
    Ok(())
}

/// A field of a plain line.
#[inline]
pub(super) fn plain<'a>(fields: &mut Fields<'a>, field: &'a [u8], limits: &Limits) -> Checked<'a, bool> {
    match field {
        [b'@', text @ ..] => fields.record.rate = rate(text)?,
        [b'T', text @ ..] => fields.record.timestamp = Some(timestamp(text)?),
        _ => return common(&mut fields.record, field, limits),
    }
    Ok(true)
}

/// A field that means the same on plain lines, events and service checks.
#[inline]
pub(super) fn common<'a>(record: &mut Record<'a>, field: &'a [u8], limits: &Limits) -> Checked<'a, bool> {
    match field {
        [b'#', text @ ..] => record.tags = tags(text, limits)?.unwrap_or(record.tags),
        [b'i', b':', text @ ..] => record.id = Some(id(Text::plain(text), field)?),
        [b'h', b':', text @ ..] => set(&mut record.host, text),
        [b'c', b':', text @ ..] => set(&mut record.container_id, text),
        [b'e', b':', text @ ..] => set(&mut record.external_data, text),
        [b'c', b'a', b'r', b'd', b':', text @ ..] => set(&mut record.cardinality, text),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A text of a field: the last one sent, and an empty one is as if not sent.
#[inline]
pub(super) fn set<'a>(member: &mut Option<Text<'a>>, text: &'a [u8]) {
    if !text.is_empty() {
        *member = Some(Text::plain(text));
    }
}

/// The number behind `@`.
pub(super) fn rate(text: &[u8]) -> Checked<'_, f64> {
    match number::all(text).as_ref().map(Number::as_f64) {
        Ok(rate) if rate > 0.0 && rate <= 1.0 => Ok(rate),
        _ => refuse(Reason::BadRate, text),
    }
}

/// `d:` of an event or a service check.
pub(super) fn date<'a>(record: &mut Record<'a>, text: &'a [u8]) -> Checked<'a, ()> {
    if !text.is_empty() {
        record.timestamp = Some(timestamp(text)?);
    }
    Ok(())
}

/// The seconds behind `T` or `d:`.
pub(super) fn timestamp(text: &[u8]) -> Checked<'_, Timestamp> {
    time::seconds(text).map_or_else(|| refuse(Reason::BadTimestamp, text), Ok)
}

/// An id of 1 to 127 bytes of UTF-8. `at` is where it stands.
pub(super) fn id<'a>(text: Text<'a>, at: &'a [u8]) -> Checked<'a, Text<'a>> {
    let length: usize = text
        .pieces()
        .map(|piece| match piece {
            crate::record::text::Piece::Bytes(bytes) => bytes.len(),
            crate::record::text::Piece::Char(char) => char.len_utf8(),
        })
        .sum();
    if length == 0 || length > MAX_ID_BYTES || str::from_utf8(text.raw).is_err() {
        return refuse(Reason::BadId, at);
    }
    Ok(text)
}

/// The list behind `#`; `None` if there is nothing but empty tags, which is as if it was not sent.
#[inline]
pub(super) fn tags<'a>(text: &'a [u8], limits: &Limits) -> Checked<'a, Option<Tags<'a>>> {
    // A list of so few bytes cannot hold too many.
    if text.len() >= limits.max_tags.saturating_mul(2)
        && let Some(tag) = text.split(|&byte| byte == b',').filter(|tag| !tag.is_empty()).nth(limits.max_tags)
    {
        return refuse(Reason::TooManyTags, tag);
    }
    Ok(text.iter().any(|&byte| byte != b',').then_some(Tags::List(text)))
}
