//! What is stored: databases, tables, users.

use std::collections::BTreeMap;

use serde_json::Value;

/// Rounds of PBKDF2 for passwords. The real server's default is 4096, too slow for a build that is not optimised.
pub(super) const ROUNDS: u32 = 16;

/// All of it.
#[derive(Debug)]
pub(crate) struct Store {
    users: BTreeMap<String, User>,
    pub(super) databases: BTreeMap<String, BTreeMap<String, Table>>,
    /// Inserts that were answered, with what they were asked to do.
    pub(crate) inserts: Vec<Asked>,
    /// What every write is answered with from now on: an error's type and text.
    pub(crate) failure: Option<(u32, String)>,
}

/// What an insert asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) table: String,
    pub(crate) documents: usize,
    pub(crate) conflict: Option<String>,
    pub(crate) durability: Option<String>,
    pub(crate) tells_each: bool,
}

#[derive(Debug)]
struct User {
    password: String,
    may_write: bool,
    may_configure: bool,
}

/// A table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) primary_key: String,
    /// By the text of their primary keys.
    pub(super) documents: BTreeMap<String, Value>,
    /// A write hook of the user's: documents with this name are refused with this text.
    pub(super) hook: Option<(String, String)>,
}

impl Store {
    /// Empty, with the user `admin`.
    pub(crate) fn new(password: &str) -> Self {
        let admin = User { password: password.to_owned(), may_write: true, may_configure: true };
        Store {
            users: BTreeMap::from([("admin".to_owned(), admin)]),
            databases: BTreeMap::from([("test".to_owned(), BTreeMap::new())]),
            inserts: Vec::new(),
            failure: None,
        }
    }

    /// A further user.
    pub(crate) fn add_user(&mut self, name: &str, password: &str, may_write: bool, may_configure: bool) {
        let user = User { password: password.to_owned(), may_write, may_configure };
        self.users.insert(name.to_owned(), user);
    }

    /// A table with this primary key, and its database.
    pub(crate) fn add_table(&mut self, database: &str, table: &str, primary_key: &str) {
        let database = self.databases.entry(database.to_owned()).or_default();
        let made = Table { primary_key: primary_key.to_owned(), ..Table::default() };
        database.insert(table.to_owned(), made);
    }

    /// From now on documents with this name are refused by the table's write hook, with this text.
    pub(crate) fn hook(&mut self, database: &str, table: &str, name: &str, text: &str) {
        let tables = self.databases.get_mut(database).expect("the database");
        tables.get_mut(table).expect("the table").hook = Some((name.to_owned(), text.to_owned()));
    }

    /// The tables of a database.
    pub(crate) fn tables(&self, database: &str) -> Vec<String> {
        self.databases.get(database).map_or_else(Vec::new, |tables| tables.keys().cloned().collect())
    }

    /// Drops a database.
    pub(crate) fn drop_database(&mut self, database: &str) {
        self.databases.remove(database);
    }

    pub(super) fn password(&self, user: &str) -> Option<String> {
        self.users.get(user).map(|user| user.password.clone())
    }

    pub(super) fn may_write(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.may_write)
    }

    pub(super) fn may_configure(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.may_configure)
    }
}
