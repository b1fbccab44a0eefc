//! The configuration: one TOML file, overridden by the environment. Reading it has no side effects.
//!
//! Every stage owns the struct of its keys; here they are only nested. All mistakes of a file are reported at
//! once, each with its line and the nearest valid key.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::pipeline::drain;
use crate::problem::unless;
use crate::unit::{Duration, Size};
use crate::{admin, journal, logging, protocol};

mod environment;
mod field;
mod kind;
mod mistake;
mod read;
mod table;

pub use environment::Environment;
pub use kind::{SinkKind, SourceKind};
pub use mistake::{Mistake, Mistakes, Place, Places};

/// What runs when there is no file.
pub const DEFAULT: &str = include_str!("../../config/default.toml");
/// The file that is taken when none is named.
pub const FILE: &str = "kaneda.toml";
/// Names the file in the environment.
pub const SETTINGS: &str = "KANEDA_SETTINGS";

/// Everything the daemon can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; none: the built-in defaults.
    pub file: Option<PathBuf>,
    /// What stands outside of all tables.
    pub general: General,
    /// `[admin]`.
    pub admin: admin::Config,
    /// `[limits]`.
    pub limits: Limits,
    /// `[journal]`.
    pub journal: journal::Config,
    /// `[logging]`.
    pub logging: logging::Config,
    /// `[[source]]`, in the order of the file; at least one.
    pub sources: Vec<Source>,
    /// `[[sink]]`, in the order of the file; at least one.
    pub sinks: Vec<Sink>,
}

/// The keys outside of all tables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct General {
    /// The `host` of reports that sent none, for all sources that do not say otherwise. None: the machine's name.
    pub hostname: Option<String>,
    /// How long sinks may take to store what is waiting when the daemon ends.
    pub shutdown_timeout: Duration,
    /// How long `!sync` and an HTTP request wait for their reports to be stored.
    pub sync_timeout: Duration,
}

impl Default for General {
    fn default() -> Self {
        General {
            hostname: None,
            // Less than the 10 seconds after which `docker stop` kills.
            shutdown_timeout: Duration::from_secs(8),
            sync_timeout: Duration::from_secs(10),
        }
    }
}

/// The keys of `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What all buffers together may hold; the daemon does not start when they could hold more.
    pub memory_limit: Size,
    /// What a line may be.
    pub protocol: protocol::Limits,
    /// Where its keys stand.
    pub places: Places,
}

/// The keys of `[limits]` that are not the protocol's.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Memory {
    memory_limit: Size,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { memory_limit: Size::from_mib(256) }
    }
}

/// A `[[source]]`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Unique among sources; letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Its type with the keys of that.
    pub kind: SourceKind,
    /// Where its keys stand.
    pub places: Places,
}

/// A `[[sink]]`.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Unique among sinks; letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// The keys that all sinks have.
    pub drain: drain::Config,
    /// Its type with the keys of that.
    pub kind: SinkKind,
    /// Where its keys stand.
    pub places: Places,
}

impl General {
    /// Whether the values make sense. The error names the key.
    fn check(&self) -> Result<(), String> {
        unless(!self.sync_timeout.get().is_zero(), || {
            "sync_timeout = 0: must be more, or nothing is ever stored in time".to_owned()
        })
    }
}

impl Config {
    /// Reads `text`, which is the content of `file`, and what `environment` overrides.
    pub fn of(file: &str, text: &str, environment: &Environment) -> Result<Config, Mistakes> {
        let config = read::read(file, text, environment)?;
        Ok(Config { file: Some(PathBuf::from(file)), ..config })
    }

    /// Reads the file that `--config` names, else `$KANEDA_SETTINGS`, else `./kaneda.toml` if it is there, else
    /// the defaults; and what `environment` overrides.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Config, Mistakes> {
        let named = path.map(Path::to_owned).or_else(|| environment.get(SETTINGS).map(PathBuf::from));
        let file = named.or_else(|| Path::new(FILE).exists().then(|| PathBuf::from(FILE)));
        let Some(file) = file else {
            return read::read("the built-in defaults", DEFAULT, environment);
        };
        let name = file.display().to_string();
        match std::fs::read_to_string(&file) {
            Ok(text) => Config::of(&name, &text, environment),
            Err(error) => Err(Mistakes {
                file: name,
                rest: None,
                list: vec![Mistake {
                    place: Place::File,
                    table: String::new(),
                    key: String::new(),
                    problem: format!("cannot be read: {error}"),
                    nearest: None,
                }],
            }),
        }
    }
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
