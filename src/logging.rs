//! The log: lines on stderr.

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// The keys of `[logging]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug` or `trace`; or several, as `info,kaneda::sink=debug`.
    pub level: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { level: "info".to_owned() }
    }
}

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        check(&self.level).map_err(|error| format!("level: {error}"))
    }
}

/// Whether a level is one, as it may stand in the configuration and in [`VARIABLE`].
pub fn check(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

/// Sets the level in place of `level`, for one run.
pub const VARIABLE: &str = "KANEDA_LOG";

fn filter(level: &str) -> Result<EnvFilter, String> {
    // A word alone that is no level would be taken for a part of the daemon, and silence all others.
    if let Some(word) =
        level.split(',').find(|word| !word.contains('=') && word.parse::<LevelFilter>().is_err())
    {
        return Err(format!("`{word}` is no level: write error, warn, info, debug or trace"));
    }
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| format!("`{level}` is no level: {error}; write \"info\""))
}

/// Begins to log to stderr, at the level of `$KANEDA_LOG` or of the configuration. A second call changes nothing.
/// The error names what to change.
pub fn start(config: &Config) -> Result<(), String> {
    use std::io::IsTerminal;
    let filter = match std::env::var(VARIABLE) {
        Ok(level) if !level.is_empty() => filter(&level).map_err(|error| format!("{VARIABLE}: {error}"))?,
        _ => filter(&config.level).map_err(|error| format!("[logging] level: {error}"))?,
    };
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = log.with_ansi(is_terminal).with_target(false).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(Config { level: "info,kaneda::sink=debug".into() }.check(), Ok(()));
        let error = Config { level: "kaneda=loud".into() }.check().unwrap_err();
        assert!(error.starts_with("level: `kaneda=loud` is no level"), "{error}");
        let error = Config { level: "loud".into() }.check().unwrap_err();
        assert!(error.starts_with("level: `loud` is no level: write error"), "{error}");
    }
}
