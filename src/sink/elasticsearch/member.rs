//! Which members of a report a store can index under their own names.

use std::collections::BTreeSet;

use crate::record::Record;
use crate::record::member::{self, Member};

/// Names of ours, beside those that every document keeps, and those that Elasticsearch and OpenSearch keep: a document
/// with one of the latter is refused. A member with such a name gets `_` put behind it.
const RESERVED: [&str; 27] = [
    "@timestamp",
    "text",
    "labels",
    "extra",
    "app_name",
    "_doc_count",
    "_data_stream_timestamp",
    "_feature",
    "_field_names",
    "_ignored",
    "_ignored_source",
    "_index",
    "_inference_fields",
    "_nested_path",
    "_parent",
    "_primary_term",
    "_recovery_source",
    "_routing",
    "_routing_hash",
    "_seq_no",
    "_size",
    "_source",
    "_tier",
    "_tsid",
    "_type",
    "_uid",
    "_version",
];

/// The longest name that is indexed; every name stands in the state of the cluster, which each of its nodes holds.
pub(super) const NAME_BYTES: usize = 255;

/// What of a document goes to `extra`, since the store has refused it where it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Moved {
    /// Nothing; only names that cannot be indexed at all.
    #[default]
    Nothing,
    /// These.
    Named(BTreeSet<String>),
    /// All that need not be there: every member, `value` and `labels`.
    Everything,
}

impl Moved {
    /// Whether what is called `name` goes to `extra`.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Moved::Nothing => false,
            Moved::Named(names) => names.contains(name),
            Moved::Everything => true,
        }
    }

    /// What to move after the store has refused a document with this moved, and blamed `fields`, of which some may be
    /// none of the document's. None: there is nothing left to move.
    pub(super) fn more(&self, record: &Record<'_>, fields: &[String]) -> Option<Moved> {
        match self {
            Moved::Nothing => {
                let names = movable(record);
                let blamed = |name: &&String| fields.iter().any(|field| is_within(field, name));
                let named: BTreeSet<String> = names.iter().filter(blamed).cloned().collect();
                if names.is_empty() {
                    None
                } else if named.is_empty() || named.len() == names.len() {
                    Some(Moved::Everything)
                } else {
                    Some(Moved::Named(named))
                }
            }
            Moved::Named(_) => Some(Moved::Everything),
            Moved::Everything => None,
        }
    }
}

/// The members of `record` under the names they are stored by.
pub(super) fn unpack<'a>(record: &Record<'a>) -> Vec<Member<'a>> {
    member::unpack(record, |name| RESERVED.contains(&name))
}

/// Whether a store takes a member of this name: the parts between dots are the names of objects.
pub(super) fn is_indexable(name: &str) -> bool {
    name.len() <= NAME_BYTES && name.split('.').all(|part| !part.trim().is_empty())
}

/// All that can be moved.
fn movable(record: &Record<'_>) -> Vec<String> {
    use crate::record::{Tags, Value};
    let mut names: Vec<String> = unpack(record).into_iter().map(|member| member.name.into_owned()).collect();
    if matches!(record.value, Value::Number(..) | Value::Text(_) | Value::Bool(..)) {
        names.push("value".to_owned());
    }
    if matches!(record.tags, Tags::Object(_)) {
        names.push("labels".to_owned());
    }
    names
}

/// Whether `field`, a path of names and dots, is the member `name` or inside of it, or an object that its name runs
/// through.
fn is_within(field: &str, name: &str) -> bool {
    let inside = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    inside(field, name) || inside(name, field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Tags, Text, Value};

    fn custom(object: &'static str) -> Record<'static> {
        Record::new(Kind::Gauge, Text::plain(b"n"), Value::Object(object.as_bytes()))
    }

    fn named(names: &[&str]) -> Option<Moved> {
        Some(Moved::Named(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn more(object: &'static str, fields: &[&str]) -> Option<Moved> {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        Moved::Nothing.more(&custom(object), &fields)
    }

    #[test]
    fn first_what_was_blamed_is_moved_then_all_then_nothing_is_left() {
        let record = custom(r#"{"a":1,"b":{"c":2},"d.e":3}"#);
        let first = Moved::Nothing.more(&record, &["b".to_owned()]).unwrap();
        assert_eq!(Some(&first), named(&["b"]).as_ref());
        assert_eq!(first.more(&record, &["a".to_owned()]), Some(Moved::Everything));
        assert_eq!(Moved::Everything.more(&record, &["a".to_owned()]), None);
    }

    #[test]
    fn a_field_blames_the_member_it_is_in_and_no_other() {
        let object = r#"{"a":1,"b":{"c":2},"d.e":3,"bc":4}"#;
        assert_eq!(more(object, &["b.c"]), named(&["b"]));
        assert_eq!(more(object, &["d"]), named(&["d.e"]));
        assert_eq!(more(object, &["double", "1:17"]), Some(Moved::Everything));
    }

    #[test]
    fn of_a_plain_report_the_value_can_be_moved_and_labels() {
        let mut record = Record::new(Kind::Event, Text::plain(b"n"), Value::Text(Text::plain(b"v")));
        assert_eq!(Moved::Nothing.more(&record, &["value".to_owned()]), Some(Moved::Everything));
        record.tags = Tags::Object(b"{\"a\":1}");
        assert_eq!(Moved::Nothing.more(&record, &["labels.a".to_owned()]), named(&["labels"]));
        record = Record::new(Kind::Event, Text::plain(b"n"), Value::Null(b"null"));
        assert_eq!(Moved::Nothing.more(&record, &["value".to_owned()]), None);
    }

    #[test]
    fn names_that_no_store_takes_are_known() {
        for name in ["a", "a.b", "$", "é", "_x", &"x".repeat(255)] {
            assert!(is_indexable(name), "{name}");
        }
        for name in ["", ".", "a..b", ".a", "a.", " ", "a. .b", &"x".repeat(256)] {
            assert!(!is_indexable(name), "{name}");
        }
    }
}
