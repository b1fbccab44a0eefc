//! What terms mean: those that the sink sends, and those that tests and the queries of `docs/rethinkdb.md` ask with.
//! After the documentation of ReQL; the texts of errors are those of 2.4.4.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::datum::double;
use super::insert::insert;
use super::query::{
    DATUM, Error, MAKE_OBJ, NON_EXISTENCE, OP_FAILED, PERMISSION_ERROR, RESOURCE_LIMIT, Term,
};
use super::store::{Asked, Store, Table};

/// All that is known here; the server knows more.
pub(super) const TERMS: &[u64] = &[
    1, 2, 3, 10, 13, 14, 15, 16, 17, 19, 21, 22, 24, 25, 31, 33, 38, 39, 41, 43, 51, 52, 54, 56, 57, 58, 59,
    60, 62, 67, 69, 79, 93, 103, 145, 170,
];

/// Elements of an array that a query makes.
const ARRAY_ELEMENTS: usize = 100_000;

/// What a term stands for.
#[derive(Debug)]
pub(super) enum Val {
    Datum(Value),
    Sequence(Vec<Value>),
    Db(String),
    /// Database, table, and which documents: all, or those with these primary keys.
    Table(String, String, Option<Vec<String>>),
}

type Result<T> = std::result::Result<T, Error>;

/// One query at work.
pub(super) struct Eval<'a> {
    store: &'a mut Store,
    user: &'a str,
    /// That of tables that are named without.
    database: Option<Term>,
    variables: BTreeMap<String, Value>,
}

impl<'a> Eval<'a> {
    pub(super) fn new(store: &'a mut Store, user: &'a str, database: Option<Term>) -> Self {
        Eval { store, user, database, variables: BTreeMap::new() }
    }

    /// What the query `term` is answered with.
    pub(super) fn answer(&mut self, term: &Term) -> Result<Val> {
        match self.eval(term)? {
            Val::Db(_) => Err(Error::logic(
                "Query result must be of type DATUM, GROUPED_DATA, or STREAM (got DATABASE).",
            )),
            Val::Table(..) if term.kind == 16 => {
                Ok(Val::Datum(self.sequence(term)?.pop().unwrap_or_default()))
            }
            Val::Table(..) => Ok(Val::Sequence(self.sequence(term)?)),
            value => Ok(value),
        }
    }

    fn eval(&mut self, term: &Term) -> Result<Val> {
        let datum = match term.kind {
            DATUM => term.datum.clone(),
            MAKE_OBJ => {
                let mut object = Map::new();
                for (name, value) in &term.options {
                    object.insert(name.clone(), self.datum(value)?);
                }
                object.into()
            }
            2 => {
                let elements = term.args.iter().map(|arg| self.datum(arg)).collect::<Result<Vec<_>>>()?;
                if elements.len() > ARRAY_ELEMENTS {
                    return Err(Error::new(
                        RESOURCE_LIMIT,
                        format!("Array over size limit `{ARRAY_ELEMENTS}`."),
                    ));
                }
                elements.into()
            }
            10 => {
                let name = self.datum(arg(term, 0)?)?.to_string();
                self.variables[&name].clone()
            }
            13 => self.variables["row"].clone(),
            14 => return Ok(Val::Db(self.name(arg(term, 0)?, "Database")?)),
            15 => return self.table(term),
            16 => return self.get(term),
            17 => (self.datum(arg(term, 0)?)? == self.datum(arg(term, 1)?)?).into(),
            19 => (self.compare(term)? == Ordering::Less).into(),
            21 => (self.compare(term)? == Ordering::Greater).into(),
            22 => (self.compare(term)? != Ordering::Less).into(),
            24 => self.arithmetic(term, |a, b| a + b)?,
            25 => self.arithmetic(term, |a, b| a - b)?,
            31 | 170 => {
                let (object, name) = (self.datum(arg(term, 0)?)?, self.datum(arg(term, 1)?)?);
                field(&object, name.as_str().unwrap_or_default())?
            }
            33 => return self.pluck(term),
            38 => {
                let elements = self.sequence(arg(term, 0)?)?;
                let mapped = elements.into_iter().map(|element| self.call(arg(term, 1)?, element));
                return Ok(Val::Sequence(mapped.collect::<Result<_>>()?));
            }
            39 => return self.filter(term),
            41 => {
                let name = self.datum(arg(term, 1)?)?;
                let mut elements = self.sequence(arg(term, 0)?)?;
                elements.sort_by(|a, b| {
                    let key = |object: &Value| number(&object[name.as_str().unwrap_or_default()]);
                    key(a).total_cmp(&key(b))
                });
                elements.into()
            }
            43 => self.sequence(arg(term, 0)?)?.len().into(),
            51 => self.sequence(arg(term, 0)?)?.into(),
            52 => match self.datum(arg(term, 0)?)? {
                Value::Array(_) => "ARRAY",
                Value::Object(_) => "OBJECT",
                Value::String(_) => "STRING",
                Value::Number(_) => "NUMBER",
                Value::Bool(_) => "BOOL",
                Value::Null => "NULL",
            }
            .into(),
            54 => self.delete(term)?,
            56 => self.insert(term)?,
            57 => self.create_database(term)?,
            58 => {
                self.require_config()?;
                let name = self.name(arg(term, 0)?, "Database")?;
                self.store.databases.remove(&name).ok_or_else(|| no_database(&name))?;
                json!({ "dbs_dropped": 1 })
            }
            59 => self.store.databases.keys().cloned().map(Value::from).collect(),
            60 => self.create_table(term)?,
            62 => {
                let database = self.database(arg(term, 0)?)?;
                self.store.tables(&database).into_iter().map(Value::from).collect()
            }
            67 => {
                for arg in &term.args {
                    if self.datum(arg)? != Value::Bool(true) {
                        return Ok(Val::Datum(false.into()));
                    }
                }
                true.into()
            }
            79 => {
                let Val::Table(database, table, _) = self.eval(arg(term, 0)?)? else {
                    return Err(Error::logic("Expected type TABLE."));
                };
                let found = self.find(&database, &table)?;
                json!({
                    "type": "TABLE", "name": table, "primary_key": found.primary_key, "indexes": [],
                    "doc_count_estimates": [found.documents.len()], "db": { "type": "DB", "name": database },
                })
            }
            93 => {
                let sought = self.datum(arg(term, 1)?)?;
                let sequence = self.datum(arg(term, 0)?)?;
                let elements = sequence
                    .as_array()
                    .ok_or_else(|| Error::logic("Cannot convert an object to a SEQUENCE."))?;
                elements.contains(&sought).into()
            }
            103 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                time(now.as_millis() as f64 / 1000.0)
            }
            145 => {
                let name = self.datum(arg(term, 1)?)?;
                let elements = self.sequence(arg(term, 0)?)?;
                // Elements without the field are passed over.
                let values = elements.iter().filter_map(|element| element[name.as_str()?].as_f64());
                double(values.sum())
            }
            other => return Err(Error::logic(format!("the stand-in has no term {other} here"))),
        };
        Ok(Val::Datum(datum))
    }

    fn datum(&mut self, term: &Term) -> Result<Value> {
        match self.eval(term)? {
            Val::Datum(datum) => Ok(datum),
            _ => Err(Error::logic("Expected type DATUM but found another.")),
        }
    }

    fn sequence(&mut self, term: &Term) -> Result<Vec<Value>> {
        match self.eval(term)? {
            Val::Sequence(elements) | Val::Datum(Value::Array(elements)) => Ok(elements),
            Val::Table(database, table, keys) => {
                let found = self.find(&database, &table)?;
                Ok(match keys {
                    None => found.documents.values().cloned().collect(),
                    Some(keys) => keys.iter().filter_map(|key| found.documents.get(key).cloned()).collect(),
                })
            }
            _ => Err(Error::logic("Cannot convert to SEQUENCE.")),
        }
    }

    fn table(&mut self, term: &Term) -> Result<Val> {
        let (database, table) = match (&term.args[..], self.database.clone()) {
            ([table], Some(database)) => (self.database(&database)?, table),
            ([table], None) => ("test".to_owned(), table),
            _ => (self.database(arg(term, 0)?)?, arg(term, 1)?),
        };
        let table = self.name(table, "Table")?;
        self.find(&database, &table)?;
        Ok(Val::Table(database, table, None))
    }

    fn get(&mut self, term: &Term) -> Result<Val> {
        let key = self.datum(arg(term, 1)?)?;
        match self.eval(arg(term, 0)?)? {
            Val::Table(database, table, None) => {
                Ok(Val::Table(database, table, Some(vec![format!("S{}", key.as_str().unwrap_or_default())])))
            }
            _ => Err(Error::logic("Expected type TABLE.")),
        }
    }

    fn pluck(&mut self, term: &Term) -> Result<Val> {
        let names = term.args[1..].iter().map(|arg| self.datum(arg)).collect::<Result<Vec<_>>>()?;
        let pluck = |object: Value| -> Value {
            let members = names.iter().filter_map(|name| {
                let name = name.as_str()?;
                Some((name.to_owned(), object.get(name)?.clone()))
            });
            members.collect::<Map<_, _>>().into()
        };
        Ok(Val::Sequence(self.sequence(arg(term, 0)?)?.into_iter().map(pluck).collect()))
    }

    fn filter(&mut self, term: &Term) -> Result<Val> {
        let source = self.eval(arg(term, 0)?)?;
        let elements = match &source {
            Val::Table(database, table, None) => {
                let found = self.find(database, table)?;
                found.documents.iter().map(|(key, document)| (key.clone(), document.clone())).collect()
            }
            _ => self
                .sequence(arg(term, 0)?)?
                .into_iter()
                .map(|element| (String::new(), element))
                .collect::<Vec<_>>(),
        };
        let mut keys = Vec::new();
        let mut found = Vec::new();
        for (key, element) in elements {
            let keeps = match self.call(arg(term, 1)?, element.clone()) {
                Ok(pattern @ Value::Object(_)) => matches(&element, &pattern),
                Ok(value) => value != Value::Bool(false) && !value.is_null(),
                Err(Error { kind: NON_EXISTENCE, .. }) => false,
                Err(error) => return Err(error),
            };
            if keeps {
                keys.push(key);
                found.push(element);
            }
        }
        match source {
            Val::Table(database, table, None) => Ok(Val::Table(database, table, Some(keys))),
            _ => Ok(Val::Sequence(found)),
        }
    }

    /// Calls a function with one argument; anything else stands for itself.
    fn call(&mut self, function: &Term, argument: Value) -> Result<Value> {
        self.variables.insert("row".to_owned(), argument.clone());
        if function.kind != 69 {
            return self.datum(function);
        }
        let parameters = self.datum(arg(function, 0)?)?;
        self.variables.insert(parameters[0].to_string(), argument);
        self.datum(arg(function, 1)?)
    }

    fn compare(&mut self, term: &Term) -> Result<Ordering> {
        let (a, b) = (self.datum(arg(term, 0)?)?, self.datum(arg(term, 1)?)?);
        Ok(number(&a).total_cmp(&number(&b)))
    }

    fn arithmetic(&mut self, term: &Term, apply: impl Fn(f64, f64) -> f64) -> Result<Value> {
        let first = self.datum(arg(term, 0)?)?;
        let mut sum = number(&first);
        for arg in &term.args[1..] {
            sum = apply(sum, number(&self.datum(arg)?));
        }
        Ok(if first.is_object() { time(sum) } else { double(sum) })
    }

    fn insert(&mut self, term: &Term) -> Result<Value> {
        let Val::Table(database, table, None) = self.eval(arg(term, 0)?)? else {
            return Err(Error::logic("Expected type TABLE."));
        };
        let documents = match self.datum(arg(term, 1)?)? {
            Value::Array(documents) => documents,
            document => vec![document],
        };
        let mut asked = Asked {
            table: table.clone(),
            documents: documents.len(),
            conflict: None,
            durability: None,
            tells_each: false,
        };
        for (name, value) in &term.options {
            let value = self.datum(value)?;
            let text = value.as_str().map(str::to_owned);
            match name.as_str() {
                "conflict" => asked.conflict = text,
                "durability" => asked.durability = text,
                "return_changes" if value == "always" => asked.tells_each = true,
                "return_changes" => {
                    return Err(Error::logic(format!(
                        "Invalid return_changes value `{value}` (options are `true`, `false`, and `'always'`.)"
                    )));
                }
                _ => return Err(Error::logic(format!("Unrecognized optional argument `{name}`."))),
            }
        }
        self.require_write()?;
        if let Some((kind, text)) = &self.store.failure {
            return Err(Error::new(*kind, text.clone()));
        }
        let tables = self.store.databases.get_mut(&database).ok_or_else(|| no_database(&database))?;
        let found = tables.get_mut(&table).ok_or_else(|| no_table(&database, &table))?;
        let done = insert(found, documents, &asked)?;
        self.store.inserts.push(asked);
        Ok(done)
    }

    fn delete(&mut self, term: &Term) -> Result<Value> {
        let Val::Table(database, table, keys) = self.eval(arg(term, 0)?)? else {
            return Err(Error::logic("Expected type SELECTION."));
        };
        self.require_write()?;
        let tables = self.store.databases.get_mut(&database).ok_or_else(|| no_database(&database))?;
        let found = tables.get_mut(&table).ok_or_else(|| no_table(&database, &table))?;
        let is_one = arg(term, 0)?.kind == 16;
        let keys = keys.unwrap_or_else(|| found.documents.keys().cloned().collect());
        let deleted = keys.iter().filter(|key| found.documents.remove(*key).is_some()).count();
        let skipped = if is_one { 1 - deleted } else { 0 };
        Ok(json!({
            "deleted": deleted, "errors": 0, "inserted": 0, "replaced": 0, "skipped": skipped, "unchanged": 0,
        }))
    }

    fn create_database(&mut self, term: &Term) -> Result<Value> {
        let name = self.name(arg(term, 0)?, "Database")?;
        self.require_config()?;
        if self.store.databases.contains_key(&name) {
            return Err(Error::new(OP_FAILED, format!("Database `{name}` already exists.")));
        }
        self.store.databases.insert(name, BTreeMap::new());
        Ok(json!({ "dbs_created": 1, "config_changes": [] }))
    }

    fn create_table(&mut self, term: &Term) -> Result<Value> {
        let database = self.database(arg(term, 0)?)?;
        let name = self.name(arg(term, 1)?, "Table")?;
        self.require_config()?;
        let tables = self.store.databases.get_mut(&database).ok_or_else(|| no_database(&database))?;
        if tables.contains_key(&name) {
            return Err(Error::new(OP_FAILED, format!("Table `{database}.{name}` already exists.")));
        }
        tables.insert(name, Table { primary_key: "id".to_owned(), ..Table::default() });
        Ok(json!({ "tables_created": 1, "config_changes": [] }))
    }

    fn database(&mut self, term: &Term) -> Result<String> {
        let Val::Db(name) = self.eval(term)? else { return Err(Error::logic("Expected type DATABASE.")) };
        if self.store.databases.contains_key(&name) { Ok(name) } else { Err(no_database(&name)) }
    }

    fn find(&self, database: &str, table: &str) -> Result<&Table> {
        let tables = self.store.databases.get(database).ok_or_else(|| no_database(database))?;
        tables.get(table).ok_or_else(|| no_table(database, table))
    }

    /// A name that is allowed.
    fn name(&mut self, term: &Term, what: &str) -> Result<String> {
        let name = self.datum(term)?;
        let name = name.as_str().unwrap_or_default();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(is_allowed) {
            let text = format!("{what} name `{name}` invalid (Use A-Z, a-z, 0-9, _ and - only).");
            return Err(Error::logic(text));
        }
        Ok(name.to_owned())
    }

    fn require_write(&self) -> Result<()> {
        self.require(self.store.may_write(self.user), "write")
    }

    fn require_config(&self) -> Result<()> {
        self.require(self.store.may_configure(self.user), "config")
    }

    fn require(&self, may: bool, what: &str) -> Result<()> {
        let user = self.user;
        let text = || format!("User `{user}` does not have the required `{what}` permission.");
        if may { Ok(()) } else { Err(Error::new(PERMISSION_ERROR, text())) }
    }
}

fn arg(term: &Term, index: usize) -> Result<&Term> {
    let found = term.args.len();
    term.args.get(index).ok_or_else(|| Error::logic(format!("Expected more arguments but found {found}.")))
}

fn field(object: &Value, name: &str) -> Result<Value> {
    let text = || format!("No attribute `{name}` in object:\n{object}");
    object.get(name).cloned().ok_or_else(|| Error::new(NON_EXISTENCE, text()))
}

/// Whether an object has all members of a pattern, objects in it likewise.
fn matches(element: &Value, pattern: &Value) -> bool {
    match pattern {
        Value::Object(pattern) => pattern
            .iter()
            .all(|(name, value)| element.get(name).is_some_and(|element| matches(element, value))),
        _ => element == pattern,
    }
}

/// A number, or the seconds of a time.
fn number(datum: &Value) -> f64 {
    datum.as_f64().or_else(|| datum["epoch_time"].as_f64()).unwrap_or(f64::NAN)
}

fn time(seconds: f64) -> Value {
    json!({ "$reql_type$": "TIME", "epoch_time": double(seconds), "timezone": "+00:00" })
}

fn no_database(name: &str) -> Error {
    Error::new(OP_FAILED, format!("Database `{name}` does not exist."))
}

fn no_table(database: &str, table: &str) -> Error {
    Error::new(OP_FAILED, format!("Table `{database}.{table}` does not exist."))
}
