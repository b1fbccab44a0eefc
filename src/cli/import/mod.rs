//! `kaneda import`: a configuration from the settings of Kaneda for Python, which are read and never run.

use std::collections::BTreeSet;
use std::io::{self, Write};

mod draft;
mod found;
mod python;
mod setting;
mod token;
mod value;

use draft::{Draft, Table};
use found::Found;
use python::Literal;
use setting::{BACKENDS, Class, LOGGER, QUEUES};

use crate::config::{Config, Environment};
use crate::daemon;

/// What the configuration is called in what is told of it.
const PRINTED: &str = "kaneda.toml";

/// Writes the configuration for the settings in `text`, which are those of `file`, to `out`, and what has to be done by
/// hand to `err`, with what `kaneda check` has to say in this environment. Says whether nothing has.
pub fn run(
    file: &str,
    text: &str,
    environment: &Environment,
    out: impl Write,
    mut err: impl Write,
) -> io::Result<bool> {
    let (all, printed) = write(file, text, out, &mut err)?;
    if printed.is_empty() {
        return Ok(false);
    }
    let checked = Config::of(PRINTED, &printed, environment).map_err(daemon::complete);
    let checked = checked.and_then(|config| daemon::check(&config));
    if let Err(mistakes) = &checked {
        writeln!(
            err,
            "kaneda: {file}: what is printed does not pass `kaneda check`, which says:\n{mistakes}"
        )?;
    }
    Ok(all && checked.is_ok())
}

/// Writes the configuration, and what cannot be taken over. Says whether all was, and what it wrote.
fn write(file: &str, text: &str, mut out: impl Write, mut err: impl Write) -> io::Result<(bool, String)> {
    let module = python::read(text);
    let stars = module.stars.clone();
    let found = Found::new(module);
    if !found.passed_over.is_empty() {
        let lines = ranges(&found.passed_over);
        let word = if lines.contains(['-', ',']) { "lines" } else { "line" };
        writeln!(err, "kaneda: {file}: passed over, no literals and no settings of Kaneda: {word} {lines}")?;
    }
    for line in stars {
        writeln!(
            err,
            "kaneda: {file}:{line}: takes the names of another module: import that too if it has settings"
        )?;
    }
    if found.settings.is_empty() {
        writeln!(err, "kaneda: {file}: no setting of Kaneda is in it")?;
        return Ok((false, String::new()));
    }
    let mut draft = Draft::new(&found);
    draft.comment(&format!(
        "From {}, by `kaneda import`. `kaneda check -c FILE` reads it, `kaneda check --connect -c FILE` asks the store too.",
        file.escape_debug()
    ));
    draft.text.push('\n');
    if let Some(dict) = found.settings.get("KANEDA") {
        draft.spoken("KANEDA");
        let why = dict.value.as_ref().err().copied().unwrap_or("it is no dict");
        draft.warn(format!("KANEDA (line {}): {why}: set by hand what is in it", dict.line));
    }
    write_sources(&mut draft);
    write_sink(&mut draft);
    draft.rest();
    out.write_all(draft.text.as_bytes())?;
    out.flush()?;
    for warning in &draft.warnings {
        writeln!(err, "kaneda: {file}: {warning}")?;
    }
    Ok((draft.warnings.is_empty(), draft.text))
}

/// The text in the bytes of a module; or the line of the first that is no UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, usize> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    })
}

/// A table for each queue: the one that is named, else those that have settings.
fn write_sources(draft: &mut Draft) {
    let found = draft.found;
    // Kaneda's own documentation has a queue as BACKEND, and that works.
    let named = found.text("QUEUE").or(found.text("BACKEND")).and_then(|path| class(path, &QUEUES));
    let classes: Vec<_> = match named {
        Some(class) => vec![class],
        None => QUEUES.iter().filter(|class| found.has_any(class)).collect(),
    };
    if named.is_none() {
        warn_of_class(draft, "QUEUE");
    }
    draft.spoken("QUEUE");
    for class in &classes {
        draft.comment(&format!("In place of {}'s workers (docs/queues.md).", class.name));
        draft.class(Table::Source, class);
    }
    if classes.is_empty() {
        draft.comment(
            "There is no queue: the applications write to the store themselves. Let them send lines to one of these \
             (protocol.md), or put a queue in between (docs/from-kaneda.md).",
        );
        for kind in ["udp", "tcp", "http"] {
            draft.begin(Table::Source, kind);
            draft.text.push('\n');
        }
    }
}

/// The store: the one that is named, else the one that has settings.
fn write_sink(draft: &mut Draft) {
    let found = draft.found;
    draft.spoken("BACKEND");
    if found.is_django {
        draft.spoken("DEBUG");
        match found.settings.get("DEBUG").map(|given| (&given.value, given.line)) {
            Some((Ok(value), line)) if is_true(value) => {
                draft.warn(format!(
                    "KANEDA_DEBUG (line {line}) is on: reports go to a log in place of the store, as in Kaneda; turn it off, \
                     and import again, for the store"
                ));
                return draft.class(Table::Sink, &LOGGER);
            }
            Some((Err(why), line)) => draft.warn(format!("KANEDA_DEBUG (line {line}): {why}; taken as off")),
            _ => {}
        }
    }
    let mut with_settings = BACKENDS.iter().filter(|class| found.has_any(class));
    let named = found.text("BACKEND").and_then(|path| class(path, &BACKENDS));
    if named.is_none() && found.text("BACKEND").is_none_or(|path| class(path, &QUEUES).is_none()) {
        warn_of_class(draft, "BACKEND");
    }
    match (named, with_settings.next(), with_settings.next()) {
        (Some(class), ..) => draft.class(Table::Sink, class),
        (None, Some(class), None) => {
            draft.comment(&format!("No class is named; {} is the only one that has settings.", class.name));
            draft.class(Table::Sink, class);
        }
        _ => {
            draft.warn(
                "the store is not known: BACKEND stands in the settings of the workers, import those too, or write the \
                 table of the store here; until then reports go to SQLite, into ./kaneda-data/reports.db"
                    .to_owned(),
            );
            draft.begin(Table::Sink, "sqlite");
            draft.text.push('\n');
        }
    }
}

/// Says so if `BACKEND` or `QUEUE` is set to what is no class of Kaneda.
fn warn_of_class(draft: &mut Draft, name: &str) {
    let found = draft.found;
    let Some(given) = found.settings.get(name).filter(|_| found.has(name)) else { return };
    let why = match &given.value {
        Err(why) => (*why).to_owned(),
        Ok(Literal::Text(path)) => {
            format!("{path:?} is no class of Kaneda: a class of your own has no equivalent")
        }
        Ok(_) => "it names no class".to_owned(),
    };
    draft.warn(format!("{} (line {}): {why}", found.shown(name), given.line));
}

/// The class that a path names; in which module of Kaneda is of no interest.
fn class<'a>(path: &str, classes: &'a [Class]) -> Option<&'a Class> {
    let (module, name) = path.rsplit_once('.')?;
    classes.iter().find(|class| class.name == name && module.split('.').next() == Some("kaneda"))
}

fn is_true(value: &Literal) -> bool {
    match value {
        Literal::None => false,
        Literal::Bool(is_true) => *is_true,
        Literal::Int(number) => *number != 0,
        Literal::Float(number) => *number != 0.0,
        Literal::Text(text) => !text.is_empty(),
        Literal::List(list) => !list.is_empty(),
        Literal::Dict(members) => !members.is_empty(),
    }
}

/// `1-3, 7`
fn ranges(lines: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let shown = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
