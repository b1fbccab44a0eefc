//! Which table a record goes to: one for all, or as Kaneda has it one for each metric.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

/// Where records go whose metric gets no table of its own.
const OVERFLOW: &str = "custom";
/// Bytes of a table's name at most. 2.4 itself takes longer ones; older versions do not.
pub(super) const NAME_BYTES: usize = 127;
/// Hexadecimal digits behind `_` that tell names apart which were changed.
const HASH_DIGITS: usize = 16;

/// The tables of one database.
#[derive(Debug)]
pub(super) struct Tables {
    layout: Layout,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Layout {
    One(Arc<str>),
    PerMetric { max: usize },
}

#[derive(Debug, Default)]
struct State {
    /// Whether the tables that are there are among the known.
    listed: bool,
    /// The tables that metrics have, or will have: it never shrinks, so that a record sent again goes where it went.
    known: HashSet<Arc<str>>,
    /// The tables that are there and can be written to.
    ready: HashSet<Arc<str>>,
}

/// Where a record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The table.
    pub(super) table: Arc<str>,
    /// Whether its metric has got no table of its own for want of room.
    pub(super) overflows: bool,
}

impl Tables {
    /// One table for all metrics.
    pub(super) fn one(name: &str) -> Self {
        Tables { layout: Layout::One(name.into()), state: Mutex::default() }
    }

    /// A table for each metric, until the database has `max`.
    pub(super) fn per_metric(max: usize) -> Self {
        Tables { layout: Layout::PerMetric { max }, state: Mutex::default() }
    }

    /// Whether it must be known which tables there are before a record can be routed.
    pub(super) fn is_to_be_listed(&self) -> bool {
        matches!(self.layout, Layout::PerMetric { .. }) && !self.state().listed
    }

    /// The tables that there are.
    pub(super) fn list(&self, names: Vec<String>) {
        let mut state = self.state();
        state.listed = true;
        state.known.extend(names.into_iter().map(Arc::from));
    }

    /// The table of a metric.
    pub(super) fn route(&self, metric: &str) -> Route {
        let max = match &self.layout {
            Layout::One(table) => return Route { table: Arc::clone(table), overflows: false },
            Layout::PerMetric { max } => *max,
        };
        let name = name(metric);
        let mut state = self.state();
        if let Some(table) = state.known.get(&*name) {
            return Route { table: Arc::clone(table), overflows: false };
        }
        if state.known.len() >= max {
            return Route { table: OVERFLOW.into(), overflows: true };
        }
        let table: Arc<str> = name.into();
        state.known.insert(Arc::clone(&table));
        Route { table, overflows: false }
    }

    /// A table that a check can try: one that there will be.
    pub(super) fn any(&self) -> Arc<str> {
        match &self.layout {
            Layout::One(table) => Arc::clone(table),
            Layout::PerMetric { .. } => OVERFLOW.into(),
        }
    }

    /// Whether a table was found, or made.
    pub(super) fn is_ready(&self, table: &str) -> bool {
        self.state().ready.contains(table)
    }

    /// A table was found, or made.
    pub(super) fn set_ready(&self, table: &Arc<str>) {
        self.state().ready.insert(Arc::clone(table));
    }

    /// A table is gone.
    pub(super) fn set_missing(&self, table: &str) {
        self.state().ready.remove(table);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one call of a set: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the table of a metric. The store allows letters, digits, `_` and `-`. A metric of these alone is its
/// own name; of any other, what is not allowed becomes `_`, and a hash of the metric follows, so that no two metrics
/// share a table. So that nobody can choose a metric that is the changed name of another, one that ends as changed
/// names do is changed as well.
fn name(metric: &str) -> Cow<'_, str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if metric.bytes().all(is_allowed) && (1..=NAME_BYTES).contains(&metric.len()) && !ends_in_hash(metric) {
        return Cow::Borrowed(metric);
    }
    let room = NAME_BYTES - HASH_DIGITS - 1;
    let allowed = metric.chars().map(|char| u8::try_from(char).ok().filter(|byte| is_allowed(*byte)));
    let mut name: String = allowed.map(|byte| byte.map_or('_', char::from)).take(room).collect();
    name.push('_');
    for byte in &Sha256::digest(metric)[..HASH_DIGITS / 2] {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    Cow::Owned(name)
}

fn ends_in_hash(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len().checked_sub(HASH_DIGITS + 1).is_some_and(|at| {
        name.as_bytes()[at] == b'_' && name.as_bytes()[at + 1..].iter().all(|byte| is_digit(*byte))
    })
}

/// Whether the store takes a text as the name of a table or database.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_name_that_is_allowed_stays() {
        for metric in
            ["counter", "my-metric_2", "-", "A", &"x".repeat(127), "a_0123456789abcde", "a_0123456789ABCDEF"]
        {
            assert_eq!(name(metric), metric);
        }
    }

    #[test]
    fn any_other_name_is_changed_and_meets_no_other() {
        // A fixture: what is stored is found again by it.
        assert_eq!(name("a b"), "a_b_c8687a08aa5d6ed2");
        let long = "x".repeat(128);
        let metrics = [
            "",
            "a.b",
            "a b",
            "a_b",
            "a/b",
            "é",
            "\0",
            ".",
            &long,
            &format!("{long}y"),
            "a_b_c8687a08aa5d6ed2",
        ];
        let mut names: HashMap<String, &str> = HashMap::new();
        for metric in metrics {
            let name = name(metric).into_owned();
            assert!(is_name(&name), "{name}");
            assert_eq!(names.insert(name, metric), None, "{metric}");
        }
    }

    #[test]
    fn metrics_get_tables_until_there_are_enough_and_keep_them() {
        let tables = Tables::per_metric(3);
        assert!(tables.is_to_be_listed());
        tables.list(vec!["there".into()]);
        assert!(!tables.is_to_be_listed());
        let route = |metric| {
            let Route { table, overflows } = tables.route(metric);
            (table.to_string(), overflows)
        };
        for _ in 0..2 {
            assert_eq!(route("a"), ("a".to_owned(), false));
            assert_eq!(route("b"), ("b".to_owned(), false));
            assert_eq!(route("c"), ("custom".to_owned(), true));
            assert_eq!(route("there"), ("there".to_owned(), false));
            tables.set_missing("a");
        }
    }

    #[test]
    fn all_metrics_share_the_table_that_is_named() {
        let tables = Tables::one("reports");
        assert!(!tables.is_to_be_listed());
        assert_eq!(tables.route("a b"), Route { table: "reports".into(), overflows: false });
        assert!(!tables.is_ready("reports"));
        tables.set_ready(&"reports".into());
        assert!(tables.is_ready("reports"));
        tables.set_missing("reports");
        assert!(!tables.is_ready("reports"));
    }
}
