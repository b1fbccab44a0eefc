//! One table of a configuration, taken apart struct by struct; every mistake in it is found, not only the first.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::field::fields_of;
use super::mistake::{Mistake, Place, Places, nearest};

/// The text of a file, with what is known of the environment's part in it.
pub(super) struct Origin<'t> {
    text: &'t str,
    /// The names of variables. Their values get spans behind the end of the text, one byte each, in this order.
    variables: Vec<String>,
}

/// A table whose keys are taken out of it until none is left.
pub(super) struct Table<'t> {
    title: String,
    span: Range<usize>,
    keys: DeTable<'t>,
    /// Where its keys stand, also those that were taken.
    places: Vec<(String, Range<usize>)>,
}

impl<'t> Origin<'t> {
    /// Of a file with this text.
    pub(super) fn new(text: &'t str) -> Self {
        Origin { text, variables: Vec::new() }
    }

    /// A span that stands for the value of a variable.
    fn variable(&mut self, name: &str) -> Range<usize> {
        self.variables.push(name.to_owned());
        let at = self.text.len() + self.variables.len();
        at..at
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        match span.start.checked_sub(self.text.len() + 1) {
            Some(at) if at < self.variables.len() => Place::Variable(self.variables[at].clone()),
            _ => {
                let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
                Place::Line(before.iter().filter(|byte| **byte == b'\n').count() + 1)
            }
        }
    }
}

impl<'t> Table<'t> {
    pub(super) fn new(title: impl Into<String>, span: Range<usize>, keys: DeTable<'t>) -> Self {
        let places = keys.keys().map(|key| (key.as_ref().to_string(), key.span())).collect();
        Table { title: title.into(), span, keys, places }
    }

    /// Where it begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn rename(&mut self, title: String) {
        self.title = title;
    }

    /// Sets a key to what a variable holds.
    pub(super) fn set(&mut self, origin: &mut Origin<'t>, key: &str, variable: &str, value: &'t str) {
        let span = origin.variable(variable);
        let value = Spanned::new(span.clone(), DeValue::String(value.into()));
        self.keys.remove(key);
        self.places.insert(0, (key.to_owned(), span.clone()));
        self.keys.insert(Spanned::new(span, DeString::from(key.to_owned())), value);
    }

    /// The text of a key, which is taken out; a mistake if it is there and no text.
    pub(super) fn take_text(
        &mut self,
        key: &str,
        origin: &Origin<'t>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Spanned<String>> {
        let value = self.keys.remove(key)?;
        match value.as_ref().as_str() {
            Some(text) => Some(Spanned::new(value.span(), text.to_owned())),
            None => {
                let problem = format!("a text is expected, not {}", value.as_ref().type_str());
                mistakes.push(self.mistake(origin.place(&value.span()), key, problem));
                None
            }
        }
    }

    /// Takes a table's worth of tables out: `[key]` or `[[key]]`.
    pub(super) fn take_tables(
        &mut self,
        key: &str,
        origin: &Origin<'t>,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<Table<'t>> {
        let Some(value) = self.keys.remove(key) else { return Vec::new() };
        let span = value.span();
        let values = match value.into_inner() {
            DeValue::Array(values) => values.into_iter().collect(),
            other => vec![Spanned::new(span, other)],
        };
        let mut tables = Vec::new();
        for value in values {
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(keys) => tables.push(Table::new(format!("[[{key}]]"), span, keys)),
                _ => mistakes.push(self.mistake(origin.place(&span), key, "a table is expected".to_owned())),
            }
        }
        tables
    }

    /// Takes those keys out that are `T`'s and reads them. None: there were mistakes.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        origin: &Origin<'t>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let before = mistakes.len();
        let mut part = DeTable::new();
        for field in fields_of::<T>() {
            if let Some((key, value)) = self.keys.remove_entry(*field) {
                part.insert(key, value);
            }
        }
        let mut removed = Vec::new();
        loop {
            let input = toml::Deserializer::from(Spanned::new(self.span.clone(), part.clone()));
            let error = match T::deserialize(input) {
                Ok(read) => return (mistakes.len() == before).then_some(read),
                Err(error) => error,
            };
            let Some(key) = error.span().and_then(|span| holder(&part, &span)) else {
                if !missing(error.message()).is_some_and(|field| removed.iter().any(|key| key == field)) {
                    mistakes.push(self.rephrase(origin.place(&self.span), "", error.message()));
                }
                return None;
            };
            if let Some(value) = unquoted(&part, &key) {
                part.insert(Spanned::new(value.span(), DeString::from(key)), value);
                continue;
            }
            let place = error.span().map_or(Place::File, |span| origin.place(&span));
            mistakes.push(self.rephrase(place, &key, error.message()));
            part.remove(key.as_str());
            removed.push(key);
        }
    }

    /// Where it and its keys stand. One that only the environment made stands where its first variable does.
    pub(super) fn places(&self, origin: &Origin<'t>) -> Places {
        let keys: Vec<_> = self.places.iter().map(|(key, span)| (key.clone(), origin.place(span))).collect();
        let place = match (self.span.is_empty(), keys.first()) {
            (true, Some((_, place))) => place.clone(),
            (true, None) => Place::File,
            (false, _) => origin.place(&self.span),
        };
        Places { table: self.title.clone(), place, keys }
    }

    /// What is left when all was taken is unknown. `valid` are the keys that could have stood here.
    pub(super) fn finish(self, valid: &[&str], origin: &Origin<'t>, mistakes: &mut Vec<Mistake>) {
        for key in self.keys.keys() {
            let name = key.as_ref();
            mistakes.push(Mistake {
                nearest: nearest(name, valid.iter().copied()),
                ..self.mistake(origin.place(&key.span()), name, "no such key".to_owned())
            });
        }
    }

    /// Keeps what a `Config` says of its own values: lines that each begin with the key.
    pub(super) fn accept(
        &self,
        checked: Result<(), String>,
        origin: &Origin<'t>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<()> {
        let Err(problems) = checked else { return Some(()) };
        for problem in problems.lines() {
            let end = problem.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
            let key = &problem[..end.unwrap_or(problem.len())];
            mistakes.push(self.mistake_at(key, origin, problem.to_owned()));
        }
        None
    }

    /// A name that is no text at all would be stored as one.
    pub(super) fn refuse_empty(&self, key: &str, origin: &Origin<'t>, mistakes: &mut Vec<Mistake>) {
        if self.keys.get(key).is_some_and(|value| value.as_ref().as_str() == Some("")) {
            let problem = "must not be empty; leave it out for the default".to_owned();
            mistakes.push(self.mistake_at(key, origin, problem));
        }
    }

    /// A mistake at the place of a key, or of the table if it has no such key.
    pub(super) fn mistake_at(&self, key: &str, origin: &Origin<'t>, problem: String) -> Mistake {
        let span = self.places.iter().find(|(other, _)| other == key).map_or(&self.span, |(_, span)| span);
        self.mistake(origin.place(span), key, problem)
    }

    pub(super) fn mistake(&self, place: Place, key: &str, problem: String) -> Mistake {
        Mistake { place, table: self.title.clone(), key: key.to_owned(), problem, nearest: None }
    }

    /// A mistake in the words of whoever writes the file, not of the one who wrote the struct.
    fn rephrase(&self, place: Place, key: &str, message: &str) -> Mistake {
        if let Some(field) = missing(message) {
            return self.mistake(place, field, "this key is required".to_owned());
        }
        let mut mistake = self.mistake(place, key, plain(message.trim_end()).replace('\n', "; "));
        let what = if message.starts_with("unknown field") { "key" } else { "word" };
        if message.starts_with("unknown field") || message.starts_with("unknown variant") {
            let mut quoted = message.split('`').skip(1).step_by(2);
            if let Some(unknown) = quoted.next() {
                mistake.problem = format!("no such {what}: `{unknown}`");
                mistake.nearest = nearest(unknown, quoted);
            }
        }
        mistake
    }
}

/// The key whose name or value holds `span`.
fn holder(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let (key, _) = table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()))?;
    Some(key.as_ref().to_string())
}

/// The value of `key` as TOML, if it came as a text from a variable (which has no width) and is more than a text:
/// `5000`, `true`, `["a", "b"]`.
fn unquoted<'t>(table: &DeTable<'t>, key: &str) -> Option<Spanned<DeValue<'t>>> {
    let value = table.get(key).filter(|value| value.span().is_empty())?;
    let DeValue::String(Cow::Borrowed(text)) = *value.as_ref() else { return None };
    let place = |inner| Spanned::new(value.span(), inner);
    match DeValue::parse(text).ok()?.into_inner() {
        DeValue::String(_) => None,
        // What is wrong with one of them is wrong with the variable.
        DeValue::Array(values) => {
            let values = values.into_iter().map(|value| place(value.into_inner()));
            Some(place(DeValue::Array(values.collect())))
        }
        read => Some(place(read)),
    }
}

/// What serde says was expected, for somebody who does not know Rust.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("expected a nonzero usize", "expected a whole number of 1 or more"),
        ("expected usize", "expected a whole number of 0 or more"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected a nonzero u16", "expected a whole number from 1 to 65535"),
        ("expected socket address", "expected an address and a port, as \"127.0.0.1:8126\""),
        ("invalid socket address syntax", "expected an address and a port, as \"127.0.0.1:8126\""),
    ];
    let found = WORDS.iter().find_map(|(rust, words)| Some(message.strip_suffix(rust)?.to_owned() + words));
    found.unwrap_or_else(|| message.to_owned())
}

/// The field that serde says is missing.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}
