//! The members that a report puts beside those of every document: an object value unpacked, and `fields`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::{RESERVED, Record, Value, json};

/// One member to be stored beside the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name in the document: as sent, or with `_` behind it.
    pub name: Cow<'a, str>,
    /// Its value: valid JSON, as sent; write it with [`json::write_raw`].
    pub value: &'a [u8],
}

/// The members of `record` beside those every document has, each under a name of its own.
///
/// A name that is [`RESERVED`], or that `reserved` says this store keeps for itself, gets `_` put behind it until
/// it is free; `reserved` must let a name pass at some length. Of a repeated name the last one stays. A name that
/// the document has already, such as `priority`, is moved likewise. A member of `fields` also gives way to one of an unpacked value, and `"delta": true` in it is no member: the parser has
/// already made it [`Record::delta`].
pub fn unpack<'a>(record: &Record<'a>, reserved: impl Fn(&str) -> bool) -> Vec<Member<'a>> {
    let reserved = |name: &str| reserved(name) || has(record, name);
    let mut unpacked = Vec::new();
    if let Value::Object(object) = record.value {
        add(&mut unpacked, last_of_each(object), &reserved);
    }
    if let Some(fields) = record.fields {
        let mut fields = last_of_each(fields);
        fields.retain(|member| !(member.name == "delta" && member.value == b"true"));
        add(&mut unpacked, fields, &reserved);
    }
    unpacked
}

/// Whether the document of `record` has a member of this name by itself that most documents do not have.
fn has(record: &Record<'_>, name: &str) -> bool {
    match name {
        "priority" => record.priority.is_some(),
        "alert_type" => record.alert_type.is_some(),
        "aggregation_key" => record.aggregation_key.is_some(),
        "source_type_name" => record.source_type_name.is_some(),
        "message" => record.message.is_some(),
        _ => false,
    }
}

/// The members of an object, of each name the last.
fn last_of_each(object: &[u8]) -> Vec<Member<'_>> {
    let mut members: Vec<Member> =
        json::members(object).map(|(name, value)| Member { name: name.decode(), value }).collect();
    let mut last = HashMap::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        last.insert(member.name.clone(), index);
    }
    if last.len() < members.len() {
        let mut index = 0;
        members.retain(|member| {
            index += 1;
            last.get(&member.name) == Some(&(index - 1))
        });
    }
    members
}

/// Adds `more`, whose names differ from each other, to `members`, under names that are free.
fn add<'a>(members: &mut Vec<Member<'a>>, mut more: Vec<Member<'a>>, reserved: &impl Fn(&str) -> bool) {
    let mut taken: HashSet<Cow<'a, str>> = members.iter().map(|member| member.name.clone()).collect();
    let kept = |name: &str, taken: &HashSet<Cow<'a, str>>| {
        RESERVED.contains(&name) || reserved(name) || taken.contains(name)
    };
    let renamed: Vec<bool> = more.iter().map(|member| kept(&member.name, &taken)).collect();
    // A name that may stay is taken before any other is renamed, so that a member is never moved by a neighbour's `_`.
    taken.extend(
        more.iter().zip(&renamed).filter(|(_, renamed)| !**renamed).map(|(member, _)| member.name.clone()),
    );
    for member in more.iter_mut().zip(renamed).filter_map(|(member, renamed)| renamed.then_some(member)) {
        while kept(&member.name, &taken) {
            member.name.to_mut().push('_');
        }
        taken.insert(member.name.clone());
    }
    members.append(&mut more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Text};

    fn unpacked(value: &str, fields: Option<&str>) -> Vec<(String, String)> {
        let mut record = Record::new(Kind::Counter, Text::plain(b"n"), Value::Object(value.as_bytes()));
        record.fields = fields.map(str::as_bytes);
        unpack(&record, |name| name == "@timestamp")
            .into_iter()
            .map(|member| (member.name.into_owned(), String::from_utf8_lossy(member.value).into_owned()))
            .collect()
    }

    fn names(value: &str, fields: Option<&str>) -> Vec<String> {
        unpacked(value, fields).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_reserved_name_is_moved_until_it_is_free() {
        assert_eq!(
            names(r#"{"name":1,"name_":2,"_id":3,"@timestamp":4}"#, None),
            ["name__", "name_", "_id_", "@timestamp_"]
        );
        assert_eq!(names(r#"{"\u006eame":1}"#, None), ["name_"]);
    }

    #[test]
    fn the_last_of_a_repeated_name_stays() {
        assert_eq!(
            unpacked(r#"{"a":1,"b":2,"\u0061":3}"#, None),
            [("b".into(), "2".into()), ("a".into(), "3".into())]
        );
    }

    #[test]
    fn fields_give_way_to_the_value() {
        assert_eq!(names(r#"{"a":1}"#, Some(r#"{"a":2,"a_":3,"b":4}"#)), ["a", "a__", "a_", "b"]);
    }

    #[test]
    fn what_the_document_has_already_is_moved() {
        let mut record =
            Record::new(Kind::Event, Text::plain(b"n"), Value::Object(br#"{"message":1,"priority":2}"#));
        record.message = Some(Text::plain(b"m"));
        let names: Vec<_> = unpack(&record, |_| false).into_iter().map(|member| member.name).collect();
        assert_eq!(names, ["message_", "priority"]);
    }

    #[test]
    fn a_true_delta_is_no_member_and_any_other_is_moved() {
        assert_eq!(names("{}", Some(r#"{"delta":true}"#)), [""; 0]);
        assert_eq!(names("{}", Some(r#"{"delta":false}"#)), ["delta_"]);
        assert_eq!(names(r#"{"delta":true}"#, None), ["delta_"]);
    }
}
