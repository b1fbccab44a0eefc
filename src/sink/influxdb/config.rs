//! What a `[[sink]]` of type `influxdb` may say, and what comes of it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::secret::Secret;
use crate::sink::address::{self, HTTP, Keys, List, Login, Scheme, settle};
use crate::sink::tls;
use crate::unit::Duration;

/// Beside `http`: those of Kaneda, whose path is the database.
const SCHEMES: [Scheme; 4] = [
    HTTP[0],
    HTTP[1],
    Scheme { name: "influxdb", means: "http", port: Some(8086) },
    Scheme { name: "https+influxdb", means: "https", port: Some(8086) },
];

/// What a `[[sink]]` of type `influxdb` may say. Where Kaneda has a setting, the key has its name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `http://host:port`, or Kaneda's `influxdb://user:password@host:port/database`; several are doors to one
    /// store, in order of preference: one that fails is left out for a while.
    pub connection_url: Option<List<Secret>>,
    /// The servers, in place of `connection_url`.
    pub host: Option<List<String>>,
    /// Their port.
    pub port: u16,
    /// Where the points go; it is created if it is missing, unless `create_database` is false.
    pub database: String,
    /// Whether a missing database is created. The user has to be an administrator for that.
    pub create_database: bool,
    /// Of the database; the default one if this is not set.
    pub retention_policy: Option<String>,
    /// The login. It goes into a header, never into a URL.
    #[serde(alias = "username")]
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Whether a value that is an integer of 64 bits is stored as one. Without, every number is a float.
    pub integers: bool,
    /// Whether bodies are compressed: less network for more work here and at the server.
    pub gzip: bool,
    /// How long one attempt may take, the server's answer included.
    pub timeout: Duration,
    /// Whom to trust and who we are, for servers that are reached by `https`.
    pub tls: Option<tls::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: None,
            host: None,
            port: 8086,
            database: "kaneda".to_owned(),
            create_database: true,
            retention_policy: None,
            user: None,
            password: None,
            password_file: None,
            integers: false,
            gzip: false,
            timeout: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// A configuration that no sink can be made of. No text of it holds a password; each begins with a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Server or login.
    #[error(transparent)]
    Address(#[from] address::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// No database.
    #[error("database is empty")]
    NoDatabase,
    /// An attempt without time.
    #[error("timeout is 0: an attempt needs some time")]
    NoTimeout,
    /// The HTTP client cannot be made.
    #[error("the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What the keys say, taken together.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    /// Without login, query and `/` at the end.
    pub(super) urls: Vec<String>,
    /// Whether they are reached with TLS.
    pub(super) is_secured: bool,
    pub(super) database: String,
    pub(super) login: Option<Login>,
}

impl Config {
    /// Where the points go and who writes them.
    pub(super) fn target(&self) -> Result<Target, Error> {
        if self.timeout.get().is_zero() {
            return Err(Error::NoTimeout);
        }
        let keys = Keys {
            connection_url: self.connection_url.as_ref(),
            host: self.host.as_ref(),
            port: self.port,
            user: self.user.as_deref(),
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
        };
        let host_scheme = if self.tls.is_some() { "https" } else { "http" };
        let found = keys.target(&SCHEMES, host_scheme)?;
        let is_secured = found.is_secured()?;
        let mut database = Some(self.database.clone()).filter(|name| *name != Config::default().database);
        let mut urls = Vec::new();
        for (index, mut place) in found.places.into_iter().enumerate() {
            if place.scheme.ends_with("influxdb") {
                settle(&mut database, place.take_path(), index == 0, "database")?;
            }
            urls.push(place.base());
        }
        let database = database.unwrap_or_else(|| Config::default().database);
        if database.is_empty() {
            return Err(Error::NoDatabase);
        }
        Ok(Target { urls, is_secured, database, login: found.login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        config(text).target().unwrap_err().to_string()
    }

    #[test]
    fn without_a_key_it_is_the_server_on_this_host() {
        let target = config("").target().unwrap();
        assert_eq!(target.urls, ["http://127.0.0.1:8086"]);
        assert_eq!((target.database.as_str(), target.login), ("kaneda", None));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("datebase = \"x\"").is_err());
    }

    #[test]
    fn kanedas_url_says_login_and_database() {
        let target = config(r#"connection_url = "influxdb://me:p%40ss@db:8086/metrics""#).target().unwrap();
        assert_eq!(target.urls, ["http://db:8086"]);
        assert_eq!(target.database, "metrics");
        assert_eq!(target.login, Some(Login { user: "me".into(), password: "p@ss".into() }));
    }

    #[test]
    fn with_tls_a_host_is_reached_by_https() {
        let target = config("host = \"db\"\ntls = { verify = false }").target().unwrap();
        assert_eq!((target.urls, target.is_secured), (vec!["https://db:8086".to_owned()], true));
        let kanedas = config(r#"connection_url = "https+influxdb://db/metrics""#).target().unwrap();
        assert_eq!((&*kanedas.urls[0], &*kanedas.database), ("https://db:8086", "metrics"));
    }

    #[test]
    fn mistakes_begin_with_their_key_and_show_no_password() {
        for (text, begin) in [
            ("connection_url = []", "connection_url is"),
            (r#"connection_url = ["http://me:secret@a", "https://me:secret@b"]"#, "connection_url has"),
            (r#"connection_url = ["influxdb://a/x", "influxdb://a/y"]"#, "connection_url names"),
            ("connection_url = \"influxdb://a/x\"\ndatabase = \"y\"", "connection_url names"),
            ("database = \"\"", "database"),
            ("timeout = \"0\"", "timeout"),
        ] {
            let error = error(text);
            assert!(error.starts_with(begin), "{error}");
            assert!(!format!("{error} {:?}", config(text)).contains("secret"), "{error}");
        }
    }
}
