//! Inserts: the documents of a batch, by the table they go to and by whose ids they have.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::encode::Encoder;
use super::query::{Query, START, table_term};
use super::table::{Route, Tables};
use crate::record::{Batch, Identity};

/// Documents of one insert at most, and their bytes: what an answer calls wrong is looked for among so many. The
/// server's own limits are 100 000 documents and 128 MiB.
const INSERT_DOCUMENTS: usize = 500;
const INSERT_BYTES: usize = 4 << 20;

/// When the server says that it has stored a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When it is on the disks of a majority of the table's replicas.
    #[default]
    Hard,
    /// When it is in their memory.
    Soft,
}

/// Whose ids the documents of an insert have, and so what happens to one that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ids {
    /// Ours: it is the same document again, and stays as it is.
    Own,
    /// The client's: the new one takes its place.
    Client,
}

/// Documents that one query puts into one table.
#[derive(Debug)]
pub(super) struct Insert {
    /// The table.
    pub(super) table: Arc<str>,
    /// Whose ids they have.
    pub(super) ids: Ids,
    /// Where each comes from: the place of its record in the batch.
    pub(super) records: Vec<usize>,
    /// Which of them are here since their metric has no table of its own.
    overflowed: Vec<bool>,
    documents: Vec<u8>,
    /// Where each document ends in `documents`; the next one begins behind the comma that follows.
    ends: Vec<usize>,
}

impl Insert {
    /// Of nothing yet.
    pub(super) fn new(table: Arc<str>, ids: Ids) -> Self {
        Insert {
            table,
            ids,
            records: Vec::new(),
            overflowed: Vec::new(),
            documents: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Puts the document of record `record` behind the others; `write` appends its JSON object. It `overflows` if
    /// it is here since its metric has no table of its own.
    pub(super) fn push(&mut self, record: usize, overflows: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.ends.is_empty() {
            self.documents.push(b',');
        }
        self.documents.extend_from_slice(b"[1,");
        write(&mut self.documents);
        self.documents.push(b']');
        self.ends.push(self.documents.len());
        self.records.push(record);
        self.overflowed.push(overflows);
    }

    /// How many documents of a range are here since their metric has no table of its own.
    pub(super) fn overflowed(&self, range: &Range<usize>) -> u64 {
        self.overflowed[range.clone()].iter().filter(|overflows| **overflows).count() as u64
    }

    /// How many documents there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the documents.
    pub(super) fn bytes(&self) -> usize {
        self.documents.len()
    }

    /// Cuts all documents into ranges, each of at most so many documents and bytes, but of at least one document.
    pub(super) fn ranges(&self, max_documents: usize, max_bytes: usize) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut first = 0;
        for last in 1..=self.len() {
            let is_full = last - first == max_documents
                || last == self.len()
                || self.ends[last] - self.start(first) > max_bytes;
            if is_full {
                ranges.push(first..last);
                first = last;
            }
        }
        ranges
    }

    /// The query that inserts the documents of a range. With `tells_each` the answer says of each what came of it,
    /// not only how many could not be stored and why the first one could not.
    pub(super) fn query(
        &self,
        database: &str,
        durability: Durability,
        range: Range<usize>,
        tells_each: bool,
    ) -> Query<'_> {
        let table = table_term(database, &self.table);
        let conflict = match self.ids {
            Ids::Own => "error",
            Ids::Client => "replace",
        };
        let durability = match durability {
            Durability::Hard => "hard",
            Durability::Soft => "soft",
        };
        let changes = if tells_each { r#","return_changes":"always""# } else { "" };
        let documents = &self.documents[self.start(range.start)..self.ends[range.end - 1]];
        Query::of_parts([
            Cow::Owned(format!("{START}[56,[{table},[2,[").into_bytes()),
            Cow::Borrowed(documents),
            Cow::Owned(
                format!(r#"]]],{{"conflict":"{conflict}","durability":"{durability}"{changes}}}]]"#)
                    .into_bytes(),
            ),
        ])
    }

    fn start(&self, document: usize) -> usize {
        document.checked_sub(1).map_or(0, |before| self.ends[before] + 1)
    }
}

/// The inserts that store a batch: by table, and by whose ids there are.
pub(super) fn inserts(tables: &Tables, batch: &Batch) -> Vec<Insert> {
    let mut encoder = Encoder::default();
    let mut routes: HashMap<Vec<u8>, Route> = HashMap::new();
    let mut open: BTreeMap<(Arc<str>, Ids), Insert> = BTreeMap::new();
    let mut full = Vec::new();
    for (index, received) in batch.records().enumerate() {
        let metric = received.record.kind.text();
        let metric = metric.bytes();
        if !routes.contains_key(&*metric) {
            routes.insert(metric.to_vec(), tables.route(&String::from_utf8_lossy(&metric)));
        }
        let Route { table, overflows } = &routes[&*metric];
        let ids = match received.identity {
            Identity::Own(_) => Ids::Own,
            Identity::Client(_) => Ids::Client,
        };
        let key = (Arc::clone(table), ids);
        let insert = open.entry(key).or_insert_with(|| Insert::new(Arc::clone(table), ids));
        insert.push(index, *overflows, |out| encoder.encode(&received, out));
        if insert.len() >= INSERT_DOCUMENTS || insert.bytes() >= INSERT_BYTES {
            full.push(std::mem::replace(insert, Insert::new(Arc::clone(table), ids)));
        }
    }
    full.extend(open.into_values().filter(|insert| insert.len() > 0));
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(query: &Query<'_>) -> String {
        String::from_utf8(query.parts().collect::<Vec<_>>().concat()).unwrap()
    }

    fn insert(documents: &[&str]) -> Insert {
        let mut insert = Insert::new("t".into(), Ids::Own);
        for (index, document) in documents.iter().enumerate() {
            insert.push(index, false, |out| out.extend_from_slice(document.as_bytes()));
        }
        insert
    }

    #[test]
    fn an_insert_says_what_happens_to_ids_that_are_there() {
        let mut insert = insert(&["{\"a\":1}", "{}", "{\"b\":2}"]);
        let query = |insert: &Insert, range, each| text(&insert.query("k", Durability::Hard, range, each));
        assert_eq!(
            query(&insert, 0..3, false),
            r#"[1,[56,[[15,[[14,["k"]],"t"]],[2,[[1,{"a":1}],[1,{}],[1,{"b":2}]]]],{"conflict":"error","durability":"hard"}]]"#
        );
        insert.ids = Ids::Client;
        assert_eq!(
            text(&insert.query("k", Durability::Soft, 1..2, true)),
            r#"[1,[56,[[15,[[14,["k"]],"t"]],[2,[[1,{}]]]],{"conflict":"replace","durability":"soft","return_changes":"always"}]]"#
        );
        assert!(query(&insert, 2..3, false).contains(r#"[2,[[1,{"b":2}]]]"#));
    }

    #[test]
    fn ranges_hold_all_documents_and_no_more_than_they_may() {
        let insert = insert(&["{}"; 5]);
        assert_eq!(insert.ranges(2, 1000), [0..2, 2..4, 4..5]);
        assert_eq!(insert.ranges(5, 1000), std::slice::from_ref(&(0..5)));
        // `[1,{}]` has 6 bytes, and there is a comma between two.
        assert_eq!(insert.ranges(5, 13), [0..2, 2..4, 4..5]);
        assert_eq!(insert.ranges(5, 12), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(insert.ranges(5, 1).len(), 5);
    }
}
