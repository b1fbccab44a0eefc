//! The environment's part of the configuration: `KANEDA_<TABLE>_<KEY>`.
//!
//! `KANEDA_ADMIN_LISTEN` is `listen` of `[admin]`; `KANEDA_SHUTDOWN_TIMEOUT` stands outside of all tables;
//! `KANEDA_SINK_<NAME>_<KEY>` and `KANEDA_SOURCE_<NAME>_<KEY>` go to the table of that name, and make one if
//! `.._TYPE` is set. Names are in capitals, with `_` for `.` and `-`.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Origin, Table};

/// The variables whose names begin with `KANEDA_` and that are not empty: compose files pass those that are not set so.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process. Values that are no UTF-8 are left out.
    pub fn of_process() -> Self {
        let text = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_iter(text)
    }

    /// What a variable holds.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The names that stand in `KANEDA_<PREFIX>_<NAME>_TYPE`, as a name of a table: in small letters.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{}_", variable(&[], prefix));
        let name = |variable: &String| {
            let name = variable.strip_prefix(prefix.as_str())?.strip_suffix("_TYPE")?;
            Some(name.to_ascii_lowercase())
        };
        self.0.keys().filter_map(name).collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let is_set = |(name, value): &(String, String)| name.starts_with("KANEDA_") && !value.is_empty();
        Environment(variables.into_iter().filter(is_set).collect())
    }
}

/// Which variables have been put into tables, so that those which belong nowhere can be told.
pub(super) struct Overrides<'t> {
    environment: &'t Environment,
    used: BTreeSet<String>,
    known: BTreeSet<String>,
}

impl<'t> Overrides<'t> {
    pub(super) fn new(environment: &'t Environment) -> Self {
        Overrides { environment, used: BTreeSet::new(), known: BTreeSet::new() }
    }

    /// Sets those of `keys` in `table` that the environment has. `path` is what stands before the key.
    pub(super) fn apply(
        &mut self,
        table: &mut Table<'t>,
        path: &[&str],
        keys: impl IntoIterator<Item = &'static str>,
        origin: &mut Origin<'t>,
    ) {
        for key in keys {
            let name = variable(path, key);
            if let Some(value) = self.environment.get(&name) {
                table.set(origin, key, &name, value);
                self.used.insert(name.clone());
            }
            self.known.insert(name);
        }
    }

    /// Variables that look like keys of tables and are none, each with the nearest that is one.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&'t str, Option<String>)> {
        let is_ours = |name: &&String| {
            let tables =
                ["KANEDA_ADMIN_", "KANEDA_LIMITS_", "KANEDA_LOGGING_", "KANEDA_SINK_", "KANEDA_SOURCE_"];
            tables.iter().any(|table| name.starts_with(table)) && !is_of_kubernetes(name)
        };
        let unused = self.environment.0.keys().filter(|name| !self.used.contains(*name)).filter(is_ours);
        unused
            .map(|name| (name.as_str(), super::mistake::nearest(name, self.known.iter().map(String::as_str))))
    }
}

/// The name of the variable for a key.
pub(super) fn variable(path: &[&str], key: &str) -> String {
    let words: Vec<&str> = std::iter::once("KANEDA").chain(path.iter().copied()).chain([key]).collect();
    words.join("_").to_ascii_uppercase().replace(['.', '-'], "_")
}

/// Kubernetes gives every pod such variables for each service; one that is called `kaneda-admin` must not keep
/// the daemon from starting.
fn is_of_kubernetes(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| name.contains(part))
        || name.ends_with("_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_for_the_table_and_the_key() {
        assert_eq!(
            variable(&["sink", "my.store-2"], "batch_max_bytes"),
            "KANEDA_SINK_MY_STORE_2_BATCH_MAX_BYTES"
        );
        assert_eq!(variable(&[], "hostname"), "KANEDA_HOSTNAME");
    }
}
