//! The differences between what two have stored, and the list of those that are expected.
//!
//! In a list `# TEXT` is the beginning of a row in `docs/from-kaneda.md`, its second cell, which argues the differences
//! below it. Each has a line: `NAME FIELD: OLD -> NEW`, with `-` for a field that is not there, or `NAME: lost -> FIELDS`.
//! In place of a name `*` stands for every report but those that have a line of their own for this field, and `?`
//! for one or more.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::Document;

/// Where every difference is argued.
const DOCS: &str = include_str!("../../docs/from-kaneda.md");
/// What reports which of these differ in.
const REPORTS: &str = include_str!("reports.py");

/// Rows that are of no single document, or were checked before documents are compared.
const ELSEWHERE: [&str; 8] = [
    "a store that is away, slow or full",
    "a report without an `id_`",
    "a name or a metric that is empty, or no text",
    "time",
    "`host`",
    "the index of the day it was written",
    "a table for each metric, without end",
    "two reports of one series in one microsecond are one point",
];

/// One difference, spelt as in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    name: String,
    /// Empty: of the document as a whole.
    field: String,
    change: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.field.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}: {}", self.name, self.field, self.change)
    }
}

/// Asserts that the documents of the original, `old`, differ from those of the daemon, `new`, as `list` says. `sent` are
/// the names of all reports.
pub(crate) fn assert_listed(old: &[Document], new: &[Document], sent: &BTreeSet<String>, list: &str) {
    let listed = parse(list);
    let (old, new) = (by_name(old), by_name(new));
    let stored: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let strange: Vec<_> = stored.difference(sent).collect();
    assert!(strange.is_empty(), "nobody has sent {strange:?}");

    let mut seen = BTreeSet::new();
    for name in sent {
        seen.extend(differences(name, old.get(name).copied(), new.get(name).copied(), &listed));
    }
    let pairs: BTreeSet<&String> = old.keys().filter(|name| new.contains_key(*name)).collect();
    let mut unlisted = seen.clone();
    let mut unseen = Vec::new();
    for one in &listed {
        let matching = |found: &&Difference| found.field == one.field && found.change == one.change;
        match &*one.name {
            "*" => {
                let own = |found: &&Difference| found.field == one.field && listed.contains(found);
                let excepted: BTreeSet<&String> = seen.iter().filter(own).map(|found| &found.name).collect();
                let found: BTreeSet<&String> =
                    seen.iter().filter(matching).map(|found| &found.name).collect();
                let without =
                    pairs.iter().filter(|name| !found.contains(**name) && !excepted.contains(**name));
                unseen.extend(without.map(|name| format!("{one} (not in {name})")));
                unlisted.retain(|found| !matching(&found));
            }
            "?" => {
                if !seen.iter().any(|found| matching(&found)) {
                    unseen.push(one.to_string());
                }
                unlisted.retain(|found| !matching(&found));
            }
            name if sent.contains(name) => {
                if !unlisted.remove(one) {
                    unseen.push(one.to_string());
                }
            }
            name => assert!(REPORTS.contains(&format!("\"{name}\"")), "nobody reports {name}"),
        }
    }
    let lines = |found: Vec<String>| found.join("\n");
    assert!(
        unlisted.is_empty() && unseen.is_empty(),
        "differences that are not listed:\n{}\n\nlisted and not seen:\n{}",
        lines(unlisted.iter().map(Difference::to_string).collect()),
        lines(unseen)
    );
}

fn by_name(documents: &[Document]) -> BTreeMap<String, &Document> {
    let mut found = BTreeMap::new();
    for document in documents {
        let before = found.insert(document.name.clone(), document);
        assert!(before.is_none(), "{} is stored twice: {before:?} {document:?}", document.name);
    }
    found
}

/// In what the documents of one report differ.
fn differences(
    name: &str,
    old: Option<&Document>,
    new: Option<&Document>,
    listed: &[Difference],
) -> Vec<Difference> {
    let one =
        |field: &str, change: String| Difference { name: name.to_owned(), field: field.to_owned(), change };
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (Some(_), None) => return vec![one("", "stored -> lost".to_owned())],
        (None, None) => return vec![one("", "lost -> lost".to_owned())],
        (None, Some(new)) => {
            // What it shares with all others was compared with theirs.
            let is_common = |field: &str, value: &str| {
                let is_listed = |one: &&Difference| {
                    matches!(&*one.name, "*" | "?")
                        && one.field == field
                        && one.change.ends_with(&format!("> {value}"))
                };
                field == "name" || is_word(value) || listed.iter().any(|one| is_listed(&one))
            };
            let own: Vec<String> = new
                .fields
                .iter()
                .filter(|(field, value)| !is_common(field, value))
                .map(|(field, value)| format!("{field}={value}"))
                .collect();
            return vec![one("", format!("lost -> {}", own.join(" ")).trim_end().to_owned())];
        }
    };
    assert_eq!(old.kind, new.kind, "{name}");
    let fields: BTreeSet<&String> = old.fields.keys().chain(new.fields.keys()).collect();
    let value = |document: &Document, field| document.fields.get(field).map_or("-".to_owned(), String::clone);
    let changed = fields.into_iter().filter(|field| old.fields.get(*field) != new.fields.get(*field));
    changed.map(|field| one(field, format!("{} -> {}", value(old, field), value(new, field)))).collect()
}

/// Whether it stands for something that was checked.
fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The lines of a list. Each has to be below a row that there is.
fn parse(list: &str) -> Vec<Difference> {
    let mut is_argued = false;
    let mut found = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        if let Some(row) = line.strip_prefix("# ") {
            assert!(rows().contains(&row.to_owned()), "no row of docs/from-kaneda.md says `{row}`");
            is_argued = true;
            continue;
        }
        assert!(is_argued, "no row argues {line}");
        let (place, change) = line.split_once(": ").expect(line);
        let (name, field) = place.split_once(' ').unwrap_or((place, ""));
        let (name, field, change) = (name.to_owned(), field.to_owned(), change.to_owned());
        found.push(Difference { name, field, change });
    }
    found
}

/// What Kaneda does, of each row of the tables in the chapter on documents.
fn rows() -> Vec<String> {
    let (_, chapter) = DOCS.split_once("## What changes in the stored documents").unwrap();
    let (chapter, _) = chapter.split_once("\n## ").unwrap();
    let rows = chapter.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        // The last is what stands behind the last `|`.
        let kaneda = cells[if cells.len() > 4 { 1 } else { 0 }];
        (!matches!(kaneda, "Kaneda" | "Kaneda's" | "---")).then(|| kaneda.to_owned())
    });
    rows.collect()
}

#[test]
fn every_row_of_the_docs_is_seen_in_a_store_or_proven_elsewhere() {
    let lists = [
        include_str!("differences/elasticsearch.txt"),
        include_str!("differences/influxdb.txt"),
        include_str!("differences/log.txt"),
        include_str!("differences/mongodb.txt"),
        include_str!("differences/rethinkdb.txt"),
    ];
    let rows = rows();
    let named: BTreeSet<&str> =
        lists.iter().flat_map(|list| list.lines()).filter_map(|line| line.strip_prefix("# ")).collect();
    let unseen: Vec<_> =
        rows.iter().filter(|row| !named.contains(&***row) && !ELSEWHERE.contains(&&***row)).collect();
    assert!(rows.len() > 20 && unseen.is_empty(), "{unseen:#?}");
    assert!(ELSEWHERE.iter().all(|row| rows.contains(&(*row).to_owned()) && !named.contains(row)));
}
