//! Queries, as the server reads them: JSON, where `[type, arguments, options]` is a term.
//!
//! The numbers are those of `ql2.proto` in the server's repository. A document stands in a query as the term
//! `[1, {..}]`, a datum: the server takes its JSON as it is and looks for no terms in it.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::record::Text;

/// Starts a query; stands before each of them.
pub(super) const START: &str = "[1,";
const DB: u64 = 14;
const TABLE: u64 = 15;
const GET: u64 = 16;
const DELETE: u64 = 54;
const DB_CREATE: u64 = 57;
const TABLE_CREATE: u64 = 60;
const TABLE_LIST: u64 = 62;
const INFO: u64 = 79;

/// A query, ready to be sent: the parts stand behind each other.
#[derive(Debug, Clone)]
pub(super) struct Query<'a> {
    parts: [Cow<'a, [u8]>; 3],
}

impl Query<'_> {
    /// The parts, to be written in this order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &part[..])
    }

    /// Bytes of all parts.
    pub(super) fn len(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    /// One that stands in three parts.
    pub(super) fn of_parts(parts: [Cow<'_, [u8]>; 3]) -> Query<'_> {
        Query { parts }
    }

    fn of(term: &Value) -> Query<'static> {
        let whole = format!("{START}{term}]").into_bytes();
        Query { parts: [Cow::Owned(whole), Cow::default(), Cow::default()] }
    }
}

/// Makes a database.
pub(super) fn create_database(database: &str) -> Query<'static> {
    Query::of(&json!([DB_CREATE, [database]]))
}

/// Makes a table whose primary key is `id`, the server's default.
pub(super) fn create_table(database: &str, table: &str) -> Query<'static> {
    Query::of(&json!([TABLE_CREATE, [[DB, [database]], table]]))
}

/// The names of the tables of a database.
pub(super) fn tables(database: &str) -> Query<'static> {
    Query::of(&json!([TABLE_LIST, [[DB, [database]]]]))
}

/// What is known of a table.
pub(super) fn info(database: &str, table: &str) -> Query<'static> {
    Query::of(&json!([INFO, [table_term(database, table)]]))
}

/// Deletes a document, if it is there.
pub(super) fn delete(database: &str, table: &str, id: &str) -> Query<'static> {
    Query::of(&json!([DELETE, [[GET, [table_term(database, table), id]]]]))
}

/// The term of a table.
pub(super) fn table_term(database: &str, table: &str) -> Value {
    json!([TABLE, [[DB, [database]], table]])
}

/// Appends `text` as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    Text::plain(text.as_bytes()).write_json(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(query: &Query<'_>) -> String {
        String::from_utf8(query.parts().collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn queries_are_terms_of_numbers() {
        assert_eq!(text(&create_database("k\"")), r#"[1,[57,["k\""]]]"#);
        assert_eq!(text(&create_table("k", "t")), r#"[1,[60,[[14,["k"]],"t"]]]"#);
        assert_eq!(text(&tables("k")), r#"[1,[62,[[14,["k"]]]]]"#);
        assert_eq!(text(&info("k", "t")), r#"[1,[79,[[15,[[14,["k"]],"t"]]]]]"#);
        assert_eq!(text(&delete("k", "t", "i")), r#"[1,[54,[[16,[[15,[[14,["k"]],"t"]],"i"]]]]]"#);
    }
}
