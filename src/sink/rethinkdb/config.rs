//! What a `[[sink]]` of type `rethinkdb` may say, and what comes of it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

use super::insert::Durability;
use super::table;
use crate::secret::Secret;
use crate::sink::address::{self, Keys, List, Login, Place, Scheme, settle};
use crate::tls;
use crate::unit::Duration;

/// The port of drivers.
const PORT: u16 = 28015;
/// What a `connection_url` may begin with.
const SCHEMES: [Scheme; 2] = [
    Scheme { name: "rethinkdb", means: "http", port: Some(PORT) },
    Scheme { name: "rethinkdbs", means: "https", port: Some(PORT) },
];

/// What a `[[sink]]` of type `rethinkdb` may say. Where Kaneda has a setting, the key has its name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `rethinkdb://user:password@host:28015/db`, or `rethinkdbs://` with TLS; several are servers of one cluster, in
    /// order of preference: one that fails is left out for a while.
    pub connection_url: Option<List<Secret>>,
    /// The servers, in place of `connection_url`.
    pub host: Option<List<String>>,
    /// Their port.
    pub port: u16,
    /// The database; it is made if it is missing.
    pub db_name: String,
    /// The table of all reports. Without, each metric has one, named after it.
    pub table_name: Option<String>,
    /// Without `table_name`: a database that has so many tables gets no more; the reports of further metrics go
    /// into the table `custom`.
    pub max_tables: NonZeroUsize,
    /// When a report counts as stored.
    pub durability: Durability,
    /// The login; by default RethinkDB's own, `admin` without a password.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// How long one attempt may take, connecting and the server's answers included.
    pub timeout: Duration,
    /// Whom to trust and who we are, for servers that are reached with TLS.
    pub tls: Option<tls::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: None,
            host: None,
            port: PORT,
            db_name: "kaneda".to_owned(),
            table_name: None,
            max_tables: const { NonZeroUsize::new(64).unwrap() },
            durability: Durability::default(),
            user: None,
            password: None,
            password_file: None,
            timeout: Duration::from_secs(10),
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
    /// A name that the store does not take.
    #[error("{key} = {name:?}: use letters, digits, _ and -, at most {} of them", table::NAME_BYTES)]
    Name {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// The server's own database.
    #[error("db_name = \"rethinkdb\": it is the server's own; name another")]
    SystemDatabase,
    /// An attempt without time.
    #[error("timeout is 0: an attempt needs some time")]
    NoTimeout,
}

/// What the keys say, taken together.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    pub(super) places: Vec<Place>,
    pub(super) is_secured: bool,
    pub(super) database: String,
    pub(super) login: Login,
}

impl Config {
    /// Where the documents go and who writes them.
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
        let mut found = keys.target(&SCHEMES, host_scheme)?;
        let mut database = Some(self.db_name.clone()).filter(|name| *name != Config::default().db_name);
        for (index, place) in found.places.iter_mut().enumerate() {
            settle(&mut database, place.take_path(), index == 0, "db_name")?;
        }
        let database = database.unwrap_or_else(|| Config::default().db_name);
        check_name("db_name", &database)?;
        if database == "rethinkdb" {
            return Err(Error::SystemDatabase);
        }
        if let Some(table) = &self.table_name {
            check_name("table_name", table)?;
        }
        Ok(Target {
            is_secured: found.is_secured()?,
            places: found.places,
            database,
            login: found.login.unwrap_or_else(|| Login { user: "admin".to_owned(), password: "".into() }),
        })
    }
}

fn check_name(key: &'static str, name: &str) -> Result<(), Error> {
    if table::is_name(name) { Ok(()) } else { Err(Error::Name { key, name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn bases(target: &Target) -> Vec<String> {
        target.places.iter().map(Place::base).collect()
    }

    #[test]
    fn without_a_key_it_is_the_server_on_this_host_as_it_comes() {
        let target = config("").target().unwrap();
        assert_eq!((bases(&target), target.is_secured), (vec!["http://127.0.0.1:28015".to_owned()], false));
        assert_eq!(target.database, "kaneda");
        assert_eq!(target.login, Login { user: "admin".into(), password: "".into() });
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("db = \"x\"").is_err());
        assert!(toml::from_str::<Config>("durability = \"none\"").is_err());
        assert!(toml::from_str::<Config>("max_tables = 0").is_err());
    }

    #[test]
    fn a_url_says_login_and_database_and_tls() {
        let target = config(r#"connection_url = "rethinkdb://me:p%40ss@db/metrics""#).target().unwrap();
        assert_eq!(bases(&target), ["http://db:28015"]);
        assert_eq!((target.database.as_str(), target.is_secured), ("metrics", false));
        assert_eq!(target.login, Login { user: "me".into(), password: "p@ss".into() });
        assert!(config(r#"connection_url = "rethinkdbs://db""#).target().unwrap().is_secured);
        assert!(config("host = [\"a\", \"b:1\"]\ntls = {}").target().unwrap().is_secured);
    }

    #[test]
    fn mistakes_begin_with_their_key_and_show_no_password() {
        for (text, key) in [
            ("timeout = \"0\"", "timeout"),
            ("db_name = \"a b\"", "db_name"),
            ("db_name = \"\"", "db_name"),
            ("db_name = \"rethinkdb\"", "db_name"),
            ("table_name = \"a.b\"", "table_name"),
            ("password = \"hush\"", "password"),
            ("host = []", "host"),
            (r#"connection_url = "http://me:hush@db""#, "connection_url"),
            ("connection_url = \"rethinkdb://me:hush@a/x\"\ndb_name = \"y\"", "connection_url"),
            (r#"connection_url = ["rethinkdb://a", "rethinkdbs://b"]"#, "connection_url"),
        ] {
            let error = config(text).target().unwrap_err().to_string();
            assert!(error.starts_with(key) && !error.contains("hush"), "{text}: {error}");
            assert!(!format!("{:?}", config(text)).contains("hush"), "{text}");
        }
    }

    #[test]
    fn tls_for_servers_that_are_reached_without_it_names_the_scheme_to_write() {
        let error = config("connection_url = \"rethinkdb://db\"\ntls = {}").build("r").err().unwrap();
        assert_eq!(error.to_string(), "tls is set, but no server is reached with it: write rethinkdbs://");
    }
}
