//! A report in JSON: `{"name":..,"metric":..,"value":..}` and what may stand beside.

use std::borrow::Cow;
use std::collections::HashSet;

use super::error::{Checked, Notes, Reason, refuse};
use super::limits::Limits;
use super::{field, json, time};
use crate::record::{Form, Kind, Record, Tags, Text, Value, json as valid};

/// The members that are known. `id` and `id_` are one.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Member {
    Name,
    Metric,
    Value,
    Tags,
    Id,
    Timestamp,
    Host,
    Rate,
    Fields,
    ContainerId,
    ExternalData,
    Cardinality,
    Priority,
    AlertType,
    AggregationKey,
    SourceTypeName,
    Message,
}

impl Member {
    /// The member that is called so, also if its name is written with escapes.
    fn named(name: Text<'_>) -> Option<Member> {
        let is_escaped = || name.raw.contains(&b'\\');
        Member::called(name.raw).or_else(|| is_escaped().then(|| Member::called(&name.bytes())).flatten())
    }

    fn called(name: &[u8]) -> Option<Member> {
        Some(match name {
            b"name" => Member::Name,
            b"metric" => Member::Metric,
            b"value" => Member::Value,
            b"tags" => Member::Tags,
            b"id" | b"id_" => Member::Id,
            b"timestamp" => Member::Timestamp,
            b"host" => Member::Host,
            b"rate" => Member::Rate,
            b"fields" => Member::Fields,
            b"container_id" => Member::ContainerId,
            b"external_data" => Member::ExternalData,
            b"cardinality" => Member::Cardinality,
            b"priority" => Member::Priority,
            b"alert_type" => Member::AlertType,
            b"aggregation_key" => Member::AggregationKey,
            b"source_type_name" => Member::SourceTypeName,
            b"message" => Member::Message,
            _ => return None,
        })
    }
}

/// Reads a line that begins with `{`.
#[inline(never)]
pub(super) fn parse<'a>(
    line: &'a [u8],
    limits: &Limits,
    emit: &mut dyn FnMut(Record<'a>),
) -> Checked<'a, Notes> {
    if limits.max_json_depth == 0 {
        return refuse(Reason::JsonTooDeep, line);
    }
    let mut report = Report::default();
    let mut rest = json::spaces(line.get(1..).unwrap_or_default());
    if !rest.starts_with(b"}") {
        loop {
            let at = rest;
            let (after, name) = json::member_name(rest)?;
            let after_value = json::value(after, 1, limits)?;
            let raw = &after[..after.len() - after_value.len()];
            report.add(Text { raw: name, form: Form::Json }, at, raw, limits)?;
            rest = json::spaces(after_value);
            match rest {
                [b',', after @ ..] => rest = json::spaces(after),
                [b'}', ..] => break,
                _ => return refuse(Reason::BadJson, rest),
            }
        }
    }
    let behind = json::spaces(&rest[1..]);
    if !behind.is_empty() {
        return refuse(Reason::BadJson, behind);
    }
    emit(report.record(rest)?);
    Ok(Notes { ignored: report.unknown.map_or(0, |unknown| unknown.count) })
}

/// A report as far as it was read.
#[derive(Default)]
struct Report<'a> {
    name: Option<Text<'a>>,
    metric: Option<Text<'a>>,
    value: Option<Value<'a>>,
    tags: Option<Tags<'a>>,
    id: Option<Text<'a>>,
    timestamp: Option<crate::record::Timestamp>,
    host: Option<Text<'a>>,
    rate: Option<f64>,
    fields: Option<&'a [u8]>,
    container_id: Option<Text<'a>>,
    external_data: Option<Text<'a>>,
    cardinality: Option<Text<'a>>,
    priority: Option<Text<'a>>,
    alert_type: Option<Text<'a>>,
    aggregation_key: Option<Text<'a>>,
    source_type_name: Option<Text<'a>>,
    message: Option<Text<'a>>,
    /// A bit for each known member that was there, also as null.
    seen: u32,
    unknown: Option<Unknown<'a>>,
}

impl<'a> Report<'a> {
    /// Takes a member. `at` is where it begins, `raw` its valid value.
    fn add(&mut self, name: Text<'a>, at: &'a [u8], raw: &'a [u8], limits: &Limits) -> Checked<'a, ()> {
        let Some(member) = Member::named(name) else {
            return if self.unknown.get_or_insert_default().add(name) {
                Ok(())
            } else {
                refuse(Reason::BadJson, at)
            };
        };
        let bit = 1 << (member as u8);
        if self.seen & bit != 0 {
            return refuse(Reason::BadJson, at);
        }
        self.seen |= bit;
        let value = json::typed(raw);
        match (member, value) {
            (Member::Name, Value::Text(text)) => self.name = Some(not_empty(text, Reason::NoName)?),
            (Member::Metric, Value::Text(text)) => self.metric = Some(not_empty(text, Reason::NoType)?),
            (Member::Value, value) => self.value = Some(value),
            (Member::Name | Member::Metric, _) => return refuse(Reason::BadJson, raw),
            // All others may be null, which is as if they were not there.
            (_, Value::Null(_)) => {}
            (Member::Tags, value) => self.tags = Some(tags(value, raw, limits)?),
            (Member::Id, Value::Text(text)) => self.id = Some(field::id(text, raw)?),
            (Member::Id, Value::Number(_, digits)) => self.id = Some(field::id(Text::plain(digits), raw)?),
            (Member::Id, _) => return refuse(Reason::BadId, raw),
            (Member::Timestamp, Value::Number(_, digits)) => self.timestamp = Some(field::timestamp(digits)?),
            (Member::Timestamp, Value::Text(text)) => {
                self.timestamp = time::rfc3339(text);
                if self.timestamp.is_none() {
                    return refuse(Reason::BadTimestamp, raw);
                }
            }
            (Member::Timestamp, _) => return refuse(Reason::BadTimestamp, raw),
            (Member::Rate, Value::Number(_, digits)) => self.rate = Some(field::rate(digits)?),
            (Member::Rate, _) => return refuse(Reason::BadRate, raw),
            (Member::Fields, Value::Object(object)) => self.fields = Some(object),
            (member, Value::Text(text)) => match self.text(member) {
                Some(place) => *place = Some(text).filter(|text| !text.is_empty()),
                None => return refuse(Reason::BadJson, raw),
            },
            _ => return refuse(Reason::BadJson, raw),
        }
        Ok(())
    }

    /// Where a member goes that is a text and nothing more; an empty one is as if it was not there.
    fn text(&mut self, member: Member) -> Option<&mut Option<Text<'a>>> {
        Some(match member {
            Member::Host => &mut self.host,
            Member::ContainerId => &mut self.container_id,
            Member::ExternalData => &mut self.external_data,
            Member::Cardinality => &mut self.cardinality,
            Member::Priority => &mut self.priority,
            Member::AlertType => &mut self.alert_type,
            Member::AggregationKey => &mut self.aggregation_key,
            Member::SourceTypeName => &mut self.source_type_name,
            Member::Message => &mut self.message,
            _ => return None,
        })
    }

    /// The record, if nothing is missing. `end` is where the report ends.
    fn record(&self, end: &'a [u8]) -> Checked<'a, Record<'a>> {
        let name = required(self.name, Reason::NoName, end)?;
        let metric = required(self.metric, Reason::NoType, end)?;
        let value = required(self.value, Reason::BadJson, end)?;
        Ok(Record {
            tags: self.tags.unwrap_or(Tags::None),
            id: self.id,
            timestamp: self.timestamp,
            host: self.host,
            rate: self.rate.unwrap_or(1.0),
            delta: self.fields.is_some_and(is_delta),
            fields: self.fields,
            container_id: self.container_id,
            external_data: self.external_data,
            cardinality: self.cardinality,
            priority: self.priority,
            alert_type: self.alert_type,
            aggregation_key: self.aggregation_key,
            source_type_name: self.source_type_name,
            message: self.message,
            ..Record::new(Kind::named(metric), name, value)
        })
    }
}

fn required<'a, T>(member: Option<T>, reason: Reason, end: &'a [u8]) -> Checked<'a, T> {
    member.map_or_else(|| refuse(reason, end), Ok)
}

fn not_empty(text: Text<'_>, reason: Reason) -> Checked<'_, Text<'_>> {
    if text.is_empty() { refuse(reason, text.raw) } else { Ok(text) }
}

/// Whether the last `delta` among `fields` is `true`.
fn is_delta(fields: &[u8]) -> bool {
    valid::members(fields)
        .filter(|(name, _)| name.is("delta"))
        .last()
        .is_some_and(|(_, value)| value == b"true")
}

/// A list of strings, or an object.
fn tags<'a>(value: Value<'a>, raw: &'a [u8], limits: &Limits) -> Checked<'a, Tags<'a>> {
    let (tags, count) = match value {
        Value::Object(object) => (Tags::Object(object), valid::members(object).count()),
        Value::List(list) => {
            if let Some(other) = valid::elements(list).find(|element| !element.starts_with(b"\"")) {
                return refuse(Reason::BadJson, other);
            }
            (Tags::JsonList(list), Tags::JsonList(list).list().count())
        }
        _ => return refuse(Reason::BadJson, raw),
    };
    match count {
        0 => Ok(Tags::None),
        _ if count > limits.max_tags => refuse(Reason::TooManyTags, raw),
        _ => Ok(tags),
    }
}

/// The names that are not known, so that a repeated one is found.
struct Unknown<'a> {
    first: [Text<'a>; 16],
    more: Option<HashSet<Cow<'a, str>>>,
    count: u32,
}

impl Default for Unknown<'_> {
    fn default() -> Self {
        Unknown { first: [Text::plain(b""); 16], more: None, count: 0 }
    }
}

impl<'a> Unknown<'a> {
    /// Whether the name is new.
    fn add(&mut self, name: Text<'a>) -> bool {
        let text = name.decode();
        let known = usize::try_from(self.count).unwrap_or(usize::MAX).min(self.first.len());
        if self.first[..known].iter().any(|first| first.decode() == text) {
            return false;
        }
        self.count += 1;
        match self.first.get_mut(known) {
            Some(free) => {
                *free = name;
                true
            }
            None => self.more.get_or_insert_default().insert(text),
        }
    }
}
