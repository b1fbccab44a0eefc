//! A query and its answer: the parts that every one has. After `client_protocol/json.cc`, `rdb_protocol/term_walker.cc`,
//! and `ql2.proto` for the numbers.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Store;
use super::datum::{self, Json};
use super::eval::{Eval, Val};

/// Why a query fails: `Response.ErrorType`, and a text.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) kind: u32,
    pub(super) text: String,
}

pub(super) const QUERY_LOGIC: u32 = 3_000_000;
pub(super) const NON_EXISTENCE: u32 = 3_100_000;
pub(super) const RESOURCE_LIMIT: u32 = 2_000_000;
pub(super) const OP_FAILED: u32 = 4_100_000;
pub(super) const PERMISSION_ERROR: u32 = 6_000_000;

impl Error {
    pub(super) fn new(kind: u32, text: impl Into<String>) -> Self {
        Error { kind, text: text.into() }
    }

    pub(super) fn logic(text: impl Into<String>) -> Self {
        Error::new(QUERY_LOGIC, text)
    }
}

/// A term: a number, arguments, options.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) kind: u64,
    pub(super) args: Vec<Term>,
    pub(super) options: Vec<(String, Term)>,
    /// Of a datum.
    pub(super) datum: Value,
}

pub(super) const DATUM: u64 = 1;
pub(super) const MAKE_OBJ: u64 = 3;

/// What a client is told who does not speak the protocol.
pub(super) fn client_error(text: &str) -> Value {
    json!({ "t": 16, "r": [text], "b": [] })
}

/// The answer to a query.
pub(super) fn answer(bytes: &[u8], user: &str, store: &Arc<Mutex<Store>>) -> Value {
    let Some(query) = datum::parse(bytes) else {
        return client_error("Client is buggy (failed to deserialize query).");
    };
    let Json::Array(parts) = query else {
        return client_error("Server could not parse query: Expected a query to be an array.");
    };
    let Some(Json::Scalar(Value::Number(kind))) = parts.first() else {
        return client_error("Server could not parse query: Expected a query type as a number.");
    };
    let term = match (kind.as_u64(), parts.get(1)) {
        (Some(1), Some(term)) => term,
        // NOREPLY_WAIT: nothing is under way.
        (Some(4), None) => return json!({ "t": 4, "r": [] }),
        _ => return client_error("Server could not parse query: Unrecognized QueryType."),
    };
    let term = match walk(term) {
        Ok(term) => term,
        Err(text) => return json!({ "t": 17, "r": [text], "b": [] }),
    };
    // What drivers call global arguments: the one that is known here is the database of tables that are named without.
    let database = match parts.get(2) {
        Some(Json::Object(options)) => options.iter().find(|(name, _)| name == "db"),
        _ => None,
    };
    let database = match database.map(|(_, term)| walk(term)).transpose() {
        Ok(database) => database,
        Err(text) => return json!({ "t": 17, "r": [text], "b": [] }),
    };
    let mut store = store.lock().expect("no test has failed in it");
    match Eval::new(&mut store, user, database).answer(&term) {
        Ok(Val::Datum(datum)) => json!({ "t": 1, "r": [datum], "n": [] }),
        Ok(Val::Sequence(data)) => json!({ "t": 2, "r": data, "n": [] }),
        Ok(Val::Db(_) | Val::Table(..)) => client_error("the stand-in has no answer"),
        Err(error) => json!({ "t": 18, "e": error.kind, "r": [error.text], "b": [] }),
    }
}

/// Makes terms of JSON. What stands in `[1, {..}]` is a datum as it is; but the server walks into `[1, [..]]` as into
/// arguments, which is of no use.
fn walk(json: &Json) -> Result<Term, String> {
    let of_datum = |json: &Json| {
        Ok(Term { kind: DATUM, args: Vec::new(), options: Vec::new(), datum: datum::datum(json)? })
    };
    let parts = match json {
        Json::Scalar(_) => return of_datum(json),
        Json::Object(members) => {
            return Ok(Term {
                kind: MAKE_OBJ,
                args: Vec::new(),
                options: options(members)?,
                datum: Value::Null,
            });
        }
        Json::Array(parts) => parts,
    };
    if !(1..=3).contains(&parts.len()) {
        return Err(format!("Expected between 1 and 3 elements in a raw term, but found {}.", parts.len()));
    }
    let Json::Scalar(Value::Number(kind)) = &parts[0] else {
        return Err("Expected a TermType as a NUMBER but found another.".to_owned());
    };
    let kind = kind.as_u64().filter(|kind| super::eval::TERMS.contains(kind));
    let kind = kind.ok_or_else(|| format!("Unrecognized TermType: {:?}.", parts[0]))?;
    if kind == DATUM
        && let [_, object @ (Json::Object(_) | Json::Scalar(_))] = &parts[..]
    {
        return of_datum(object);
    }
    let (args, rest) = match parts.get(1) {
        Some(Json::Array(args)) => (args.iter().map(walk).collect::<Result<_, _>>()?, &parts[2..]),
        _ => (Vec::new(), &parts[1..]),
    };
    let options = match rest {
        [] => Vec::new(),
        [Json::Object(members)] => options(members)?,
        _ => return Err("Second element in a Term is neither arguments nor optional arguments.".to_owned()),
    };
    Ok(Term { kind, args, options, datum: Value::Null })
}

fn options(members: &[(String, Json)]) -> Result<Vec<(String, Term)>, String> {
    members.iter().map(|(name, value)| Ok((name.clone(), walk(value)?))).collect()
}
