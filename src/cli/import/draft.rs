//! The configuration that comes of Kaneda's settings, with its comments, and what is to be told beside it.

use std::collections::BTreeSet;

use toml::Value;

use super::found::{Found, Given};
use super::python::Literal;
use super::setting::{Class, Default, Setting, Unless};
use super::value::{Taken, has_login, has_path};

/// Where comments are broken.
const WIDTH: usize = 110;

/// A configuration in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) found: &'a Found,
    pub(super) text: String,
    /// What is to be done by hand.
    pub(super) warnings: Vec<String>,
    /// Settings that the text speaks of.
    used: BTreeSet<String>,
}

/// A table of the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Table {
    Source,
    Sink,
}

impl Table {
    fn word(self) -> &'static str {
        if self == Table::Source { "source" } else { "sink" }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(found: &'a Found) -> Self {
        Draft { found, text: String::new(), warnings: Vec::new(), used: BTreeSet::new() }
    }

    /// Writes a comment, in lines of words.
    pub(super) fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        for word in text.split_whitespace() {
            if line.len() + word.len() >= WIDTH {
                self.text.push_str(&line);
                self.text.push('\n');
                line.truncate(1);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }

    /// Writes a comment, and tells it.
    pub(super) fn warn(&mut self, text: String) {
        self.comment(&text);
        self.warnings.push(text);
    }

    /// Begins a table.
    pub(super) fn begin(&mut self, table: Table, kind: &str) {
        self.text.push_str(&format!("[[{}]]\ntype = \"{kind}\"\n", table.word()));
    }

    /// Writes the table that takes the place of a class.
    pub(super) fn class(&mut self, table: Table, class: &Class) {
        self.begin(table, class.kind);
        let mut name = class.kind;
        for (key, value, why) in class.fixed {
            if *key == "name" {
                name = value;
            }
            self.comment(why);
            self.key(key, &Value::from(*value));
        }
        for setting in class.settings {
            self.setting(table, class, name, setting);
        }
        self.text.push('\n');
    }

    fn setting(&mut self, table: Table, class: &Class, sink: &str, setting: &Setting) {
        let name = self.found.name(class, setting);
        let shown = self.found.shown(&name);
        let variable =
            format!("KANEDA_{}_{sink}_{}", table.word(), setting.key).to_uppercase().replace(['-', '.'], "_");
        let default = match setting.default {
            Default::Kanedas(text) => Some(text),
            Default::Django(text) if self.found.is_django => Some(text),
            _ => None,
        };
        let default = || default.map(|text| (setting.take)(&Literal::Text(text.to_owned())));
        let (taken, place) = match self.found.settings.get(&name) {
            Some(Given { line, value: Err(why) }) => {
                let how = match setting.key {
                    "" => String::new(),
                    key => format!(": set {key} here, or {variable} in the environment"),
                };
                self.used.insert(name);
                self.warn(format!("{shown} (line {line}): {why}{how}"));
                if let Some(Taken::As(value) | Taken::Instead(value, _)) = default() {
                    self.key(setting.key, &value);
                }
                return;
            }
            Some(Given { line, value: Ok(value) }) => {
                self.used.insert(name);
                ((setting.take)(value), format!("{shown} (line {line})"))
            }
            None => (Taken::Nothing, shown.clone()),
        };
        let (taken, place) = match (taken, default()) {
            (Taken::Nothing, None) => return,
            (Taken::Nothing, Some(default)) => {
                (default, format!("{shown} is not set, and this is what holds then"))
            }
            (taken, _) => (taken, place),
        };
        if let Some(why) = self.unused(class, setting) {
            return self.comment(&format!("{place}: {why}"));
        }
        let (key, value) = match taken {
            Taken::Nothing => return,
            Taken::Left(why) => return self.comment(&format!("{place}: {why}")),
            Taken::Wrong(why) => return self.warn(format!("{place}: {why}")),
            Taken::As(value) => {
                self.comment(&place);
                (setting.key, value)
            }
            Taken::Url(value) => {
                self.comment(&format!("{place}, which is a URL"));
                ("connection_url", value)
            }
            Taken::Changed(value, why) => {
                self.comment(&format!("{place}: {why}"));
                (setting.key, value)
            }
            Taken::Instead(value, why) => {
                self.warn(format!("{place}: {why}"));
                (setting.key, value)
            }
        };
        if key == "password" {
            self.comment(&format!(
                "A secret: better put it into {variable} in the environment, or into a file that password_file names, and \
                 remove it here."
            ));
        } else if has_login(&value) {
            self.comment(&format!(
                "It may hold a password: better put it into {variable} in the environment, and remove it here."
            ));
        }
        self.key(key, &value);
    }

    /// Why Kaneda does not look at the setting, if it does not.
    fn unused(&self, class: &Class, setting: &Setting) -> Option<String> {
        let url = format!("{}_CONNECTION_URL", class.namespace);
        let goes_before = |what| Some(format!("not used, {} {what}", self.found.shown(&url)));
        match setting.unless {
            Unless::Url if self.found.has(&url) => return goes_before("goes before it"),
            Unless::Path if self.found.text(&url).is_some_and(|url| has_path(&Value::from(url))) => {
                return goes_before("names the database that is written to");
            }
            _ => {}
        }
        let names = |need: &&&str| self.found.text(&format!("{}_{need}", class.namespace)).is_none();
        let missing = setting.needs.iter().find(names)?;
        Some(format!("not used without {}_{missing}", self.found.shown(class.namespace)))
    }

    /// Notes that a setting was spoken of.
    pub(super) fn spoken(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// Names what was given and is not used.
    pub(super) fn rest(&mut self) {
        let found = self.found;
        let unused: Vec<_> = found.settings.iter().filter(|(name, _)| !self.used.contains(*name)).collect();
        if unused.is_empty() {
            return;
        }
        self.comment("Settings that the classes above do not use:");
        for (name, given) in unused {
            let text = format!("{} (line {})", found.shown(name), given.line);
            self.comment(&text);
        }
    }

    fn key(&mut self, key: &str, value: &Value) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }
}
