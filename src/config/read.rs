//! From a text to a configuration, or to all its mistakes.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use super::environment::{Environment, Overrides, variable};
use super::field::fields_of;
use super::kind::Kind;
use super::mistake::{Mistake, Mistakes, Place, Places, nearest};
use super::table::{Origin, Table};
use super::{Config, General, Limits, Memory, Sink, SinkKind, Source};
use crate::pipeline::drain;
use crate::{admin, journal, logging, protocol};

const TABLES: [&str; 6] = ["admin", "journal", "limits", "logging", "source", "sink"];
/// A name is a label of metrics, part of a variable's name and of file names.
const NAME_MAX: usize = 64;

/// Reads `text`, which is the content of `file`.
pub(super) fn read<'t>(file: &str, text: &'t str, environment: &'t Environment) -> Result<Config, Mistakes> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader =
        Reader { origin: Origin::new(text), mistakes: Vec::new(), overrides: Overrides::new(environment) };
    for error in errors {
        let place = error.span().map_or(Place::File, |span| reader.origin.place(&span));
        let problem = format!("this is not TOML: {}", error.message().replace('\n', "; "));
        let (table, key) = (String::new(), String::new());
        reader.mistakes.push(Mistake { place, table, key, problem, nearest: None });
    }
    let is_toml = reader.mistakes.is_empty();
    let config = reader.config(document, environment);
    let list = reader.mistakes;
    if list.is_empty() {
        return Ok(config);
    }
    let mut mistakes = Mistakes { file: file.to_owned(), list, rest: Some(Box::new(config)) };
    mistakes.sort();
    if !is_toml {
        // What follows from a line that is not TOML is no mistake of its own; nor is what may stand there in truth.
        let mut broken = None;
        mistakes.list.retain(|mistake| {
            let again = broken.as_ref() == Some(&mistake.place) || mistake.problem.starts_with("no [[");
            if mistake.problem.starts_with("this is not TOML") {
                broken = Some(mistake.place.clone());
            }
            !again
        });
        mistakes.rest = None;
    }
    Err(mistakes)
}

struct Reader<'t> {
    origin: Origin<'t>,
    mistakes: Vec<Mistake>,
    overrides: Overrides<'t>,
}

impl<'t> Reader<'t> {
    /// With the default for each table that cannot be read, and without such sources and sinks.
    fn config(&mut self, document: Spanned<DeTable<'t>>, environment: &'t Environment) -> Config {
        let mut top = Table::new("", document.span(), document.into_inner());
        let general = fields_of::<General>();
        self.overrides.apply(&mut top, &[], general.iter().copied(), &mut self.origin);
        top.refuse_empty("hostname", &self.origin, &mut self.mistakes);
        let general_read = self.take::<General>(&mut top).unwrap_or_default();
        top.accept(general_read.check(), &self.origin, &mut self.mistakes);

        let admin = self.single::<admin::Config>(&mut top, "admin", admin::Config::check);
        let journal = self.single::<journal::Config>(&mut top, "journal", journal::Config::check);
        let logging = self.single::<logging::Config>(&mut top, "logging", logging::Config::check);
        if let Some(Err(error)) = environment.get(logging::VARIABLE).map(logging::check) {
            let (table, key) = (String::new(), String::new());
            let place = Place::Variable(logging::VARIABLE.to_owned());
            self.mistakes.push(Mistake { place, table, key, problem: error, nearest: None });
        }
        let limits = self.limits(&mut top);
        let sources = self.entries(&mut top, "source", environment, |name, kind, Nothing {}, places| {
            Source { name, kind, places }
        });
        let sinks = self.entries(
            &mut top,
            "sink",
            environment,
            |name, kind: SinkKind, mut drain: drain::Config, places| {
                if !places.hold("concurrency") {
                    drain.concurrency = kind.concurrency();
                }
                Sink { name, drain, kind, places }
            },
        );
        let valid: Vec<&str> = general.iter().copied().chain(TABLES).collect();
        top.finish(&valid, &self.origin, &mut self.mistakes);
        for (name, nearest) in self.overrides.unknown() {
            let place = Place::Variable(name.to_owned());
            let problem = "no key of the configuration has this name".to_owned();
            self.mistakes.push(Mistake { place, table: String::new(), key: String::new(), problem, nearest });
        }
        Config { file: None, general: general_read, admin, limits, journal, logging, sources, sinks }
    }

    fn take<T: DeserializeOwned>(&mut self, table: &mut Table<'t>) -> Option<T> {
        table.take(&self.origin, &mut self.mistakes)
    }

    /// The table `[key]`, empty if it is not there.
    fn table(&mut self, top: &mut Table<'t>, key: &str) -> Table<'t> {
        let mut tables = top.take_tables(key, &self.origin, &mut self.mistakes);
        if let Some(second) = tables.get(1) {
            let problem = format!("only one is possible: write [{key}]");
            let place = self.origin.place(&second.span());
            self.mistakes.push(second.mistake(place, "", problem));
        }
        let mut table = tables.pop().unwrap_or_else(|| Table::new("", 0..0, DeTable::new()));
        table.rename(format!("[{key}]"));
        table
    }

    fn single<T: DeserializeOwned + Default>(
        &mut self,
        top: &mut Table<'t>,
        key: &str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> T {
        let mut table = self.table(top, key);
        let fields = fields_of::<T>();
        self.overrides.apply(&mut table, &[key], fields.iter().copied(), &mut self.origin);
        let read = self.take::<T>(&mut table).unwrap_or_default();
        table.accept(check(&read), &self.origin, &mut self.mistakes);
        table.finish(fields, &self.origin, &mut self.mistakes);
        read
    }

    fn limits(&mut self, top: &mut Table<'t>) -> Limits {
        let mut table = self.table(top, "limits");
        let fields = [fields_of::<Memory>(), fields_of::<protocol::Limits>()].concat();
        self.overrides.apply(&mut table, &["limits"], fields.iter().copied(), &mut self.origin);
        let memory = self.take::<Memory>(&mut table).unwrap_or_default();
        let protocol = self.take::<protocol::Limits>(&mut table).unwrap_or_default();
        table.accept(protocol.check(), &self.origin, &mut self.mistakes);
        let places = table.places(&self.origin);
        table.finish(&fields, &self.origin, &mut self.mistakes);
        Limits { memory_limit: memory.memory_limit, protocol, places }
    }

    /// The tables `[[key]]`; those that the environment makes stand behind those of the file.
    fn entries<K: Kind, C: Common, E>(
        &mut self,
        top: &mut Table<'t>,
        key: &'static str,
        environment: &'t Environment,
        entry: impl Fn(String, K, C, Places) -> E,
    ) -> Vec<E> {
        let before = self.mistakes.len();
        let mut heads: Vec<Head<'t>> = Vec::new();
        for table in top.take_tables(key, &self.origin, &mut self.mistakes) {
            heads.extend(self.head(table, key));
        }
        self.check_names(&heads);
        for name in environment.names(key) {
            if !heads.iter().any(|head| variable(&[&head.name], "") == variable(&[&name], "")) {
                let table = Table::new(format!("[[{key}]] {name}"), 0..0, DeTable::new());
                heads.push(Head { table, name, is_named: true, word: String::new() });
            }
        }
        if heads.is_empty() && self.mistakes.len() == before {
            let problem = format!("no [[{key}]]: at least one is needed");
            self.mistakes.push(top.mistake(Place::File, "", problem));
        }
        heads.into_iter().filter_map(|head| self.entry::<K, C, E>(head, key, &entry)).collect()
    }

    /// Takes what names a table out of it. None: it cannot be named.
    fn head(&mut self, mut table: Table<'t>, key: &str) -> Option<Head<'t>> {
        let word = table.take_text("type", &self.origin, &mut self.mistakes);
        let name = table.take_text("name", &self.origin, &mut self.mistakes);
        let Some(word) = word.map(Spanned::into_inner) else {
            let place = self.origin.place(&table.span());
            self.mistakes.push(table.mistake(place, "type", "this key is required".to_owned()));
            return None;
        };
        let is_named = name.is_some();
        let name = name.map_or_else(|| word.clone(), Spanned::into_inner);
        table.rename(format!("[[{key}]] {name}"));
        Some(Head { table, name, is_named, word })
    }

    /// Names are unique, and given wherever two tables share a type.
    fn check_names(&mut self, heads: &[Head<'t>]) {
        for (at, head) in heads.iter().enumerate() {
            let others = || heads.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, head)| head);
            let problem = if !head.is_named && others().any(|other| other.word == head.word) {
                format!("this key is required where two tables have the type `{}`", head.word)
            } else if heads[..at].iter().any(|other| other.name == head.name) {
                format!("`{}` is the name of another table", head.name)
            } else if !is_name(&head.name) {
                format!("1 to {NAME_MAX} letters, digits, `_`, `.` and `-` are expected")
            } else {
                continue;
            };
            self.mistakes.push(head.table.mistake_at("name", &self.origin, problem));
        }
    }

    fn entry<K: Kind, C: Common, E>(
        &mut self,
        head: Head<'t>,
        key: &str,
        entry: impl Fn(String, K, C, Places) -> E,
    ) -> Option<E> {
        let Head { mut table, name, mut word, .. } = head;
        let path = [key, name.as_str()];
        self.overrides.apply(&mut table, &path, ["type"], &mut self.origin);
        if let Some(other) = table.take_text("type", &self.origin, &mut self.mistakes) {
            word = other.into_inner();
        }
        if !K::WORDS.contains(&word.as_str()) {
            let mistake =
                table.mistake_at("type", &self.origin, format!("no such type in this build: `{word}`"));
            self.mistakes.push(Mistake { nearest: nearest(&word, K::WORDS.iter().copied()), ..mistake });
            return None;
        }
        let fields = [fields_of::<C>(), K::keys(&word)].concat();
        self.overrides.apply(&mut table, &path, fields.iter().copied(), &mut self.origin);
        table.refuse_empty("hostname", &self.origin, &mut self.mistakes);
        let common = self.take::<C>(&mut table);
        let common = common.and_then(|common| {
            table.accept(common.check(), &self.origin, &mut self.mistakes)?;
            Some(common)
        });
        let kind = K::take(&word, &mut table, &self.origin, &mut self.mistakes);
        let valid = [&["type", "name"], fields.as_slice()].concat();
        let places = table.places(&self.origin);
        table.finish(&valid, &self.origin, &mut self.mistakes);
        Some(entry(name, kind?, common?, places))
    }
}

/// A table and what names it.
struct Head<'t> {
    table: Table<'t>,
    name: String,
    is_named: bool,
    /// Its type; empty if only the environment says it.
    word: String,
}

/// The keys that all entries have, whatever their type.
trait Common: DeserializeOwned {
    /// Whether the values make sense. The error names the key.
    fn check(&self) -> Result<(), String>;
}

impl Common for drain::Config {
    fn check(&self) -> Result<(), String> {
        self.check()
    }
}

/// What sources have in common that is no key of their type: nothing.
#[derive(serde::Deserialize)]
struct Nothing {}

impl Common for Nothing {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_valid)
}
