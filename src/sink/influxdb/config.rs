//! What a `[[sink]]` of type `influxdb` may say, and what comes of it.

use std::path::PathBuf;

use serde::Deserialize;

use super::store::{Bucket, Database, Store};
use crate::secret::Secret;
use crate::sink::address::{self, HTTP, Keys, List, ReadSecret, Scheme, settle};
use crate::tls;
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
    /// InfluxDB 1: where the points go; it is created if it is missing, unless `create_database` is false.
    pub database: String,
    /// Whether a missing database is created. The user has to be an administrator for that.
    pub create_database: bool,
    /// Of the database; the default one if this is not set.
    pub retention_policy: Option<String>,
    /// InfluxDB 2, and what speaks its protocol: where the points go, in place of `database`.
    pub bucket: Option<String>,
    /// Whose bucket it is. InfluxDB 2 asks for it.
    pub org: Option<String>,
    /// What lets us write to the bucket. It goes into a header, never into a URL.
    pub token: Option<Secret>,
    /// A file whose first line is the token.
    pub token_file: Option<PathBuf>,
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
            bucket: None,
            org: None,
            token: None,
            token_file: None,
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
    /// An empty name.
    #[error("{key} is empty: name one")]
    Empty {
        /// The key.
        key: &'static str,
    },
    /// A key of one version beside those of the other.
    #[error("{key} is for {version} and does not go with {with}: keep one of them")]
    Mixed {
        /// The key.
        key: &'static str,
        /// What knows it.
        version: &'static str,
        /// What does not.
        with: &'static str,
    },
    /// A key of version 2, and nothing that says where to write there.
    #[error(
        "{key} is set without bucket: InfluxDB 2 is written to by bucket; InfluxDB 1 by database, user and password"
    )]
    NoBucket {
        /// The key.
        key: &'static str,
    },
    /// Two logins.
    #[error("token and user are both set: keep one of them")]
    TwoLogins,
    /// Two tokens.
    #[error("token and token_file are both set: keep one of them")]
    TwoTokens,
    /// A token that no header can hold; it is not repeated.
    #[error("token holds what no header can: is it whole, and one line?")]
    OddToken,
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
    pub(super) store: Store,
    pub(super) login: Option<Login>,
}

/// Who writes.
#[derive(Debug, PartialEq)]
pub(super) enum Login {
    User(address::Login),
    Token(Secret),
}

impl Config {
    /// What can be said of the keys where the files that they name are not. The text begins with a key.
    pub fn check(&self) -> Result<(), String> {
        let target = self.target_with(address::assume_secret).map_err(|error| error.to_string())?;
        match &self.tls {
            Some(_) if !target.is_secured => Err(tls::Error::Unused("https").to_string()),
            Some(tls) => tls.check().map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Where the points go and who writes them.
    pub(super) fn target(&self) -> Result<Target, Error> {
        self.target_with(address::read_secret)
    }

    fn target_with(&self, read: ReadSecret) -> Result<Target, Error> {
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
        let found = keys.target_with(&SCHEMES, host_scheme, read)?;
        let is_secured = found.is_secured()?;
        let mut database = Some(self.database.clone()).filter(|name| *name != Config::default().database);
        let mut urls = Vec::new();
        for (index, mut place) in found.places.into_iter().enumerate() {
            if place.scheme.ends_with("influxdb") {
                settle(&mut database, place.take_path(), index == 0, "database")?;
            }
            urls.push(place.base());
        }
        let login = match (found.login, self.token(read)?) {
            (Some(_), Some(_)) => return Err(Error::TwoLogins),
            (Some(login), None) => Some(Login::User(login)),
            (None, token) => token.map(Login::Token),
        };
        let store = match &self.bucket {
            Some(bucket) => Store::Bucket(self.bucket(bucket, database)?),
            None => Store::Database(self.database(database)?),
        };
        Ok(Target { urls, is_secured, store, login })
    }

    fn token(&self, read: ReadSecret) -> Result<Option<Secret>, Error> {
        match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => Err(Error::TwoTokens),
            (Some(token), None) => Ok(Some(token.clone())),
            (None, file) => Ok(file.as_deref().map(|file| read("token_file", file)).transpose()?),
        }
    }

    fn database(&self, named: Option<String>) -> Result<Database, Error> {
        let of_version_2 =
            [("org", self.org.is_some()), ("token", self.token.is_some() || self.token_file.is_some())];
        if let Some((key, _)) = of_version_2.into_iter().find(|(_, is_set)| *is_set) {
            return Err(Error::NoBucket { key });
        }
        let name = named.unwrap_or_else(|| Config::default().database);
        if name.is_empty() {
            return Err(Error::Empty { key: "database" });
        }
        let retention_policy = self.retention_policy.clone();
        Ok(Database { name, retention_policy, create: self.create_database })
    }

    fn bucket(&self, name: &str, database: Option<String>) -> Result<Bucket, Error> {
        let of_version_1 = [
            ("database", database.is_some()),
            ("retention_policy", self.retention_policy.is_some()),
            ("create_database", !self.create_database),
        ];
        if let Some((key, _)) = of_version_1.into_iter().find(|(_, is_set)| *is_set) {
            return Err(Error::Mixed { key, version: "InfluxDB 1", with: "bucket" });
        }
        if name.is_empty() {
            return Err(Error::Empty { key: "bucket" });
        }
        Ok(Bucket { name: name.to_owned(), org: self.org.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        config(text).check().unwrap_err()
    }

    #[test]
    fn without_a_key_it_is_the_server_on_this_host() {
        let target = config("").target().unwrap();
        assert_eq!(target.urls, ["http://127.0.0.1:8086"]);
        let database = Database { name: "kaneda".into(), retention_policy: None, create: true };
        assert_eq!((target.store, target.login), (Store::Database(database), None));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("datebase = \"x\"").is_err());
    }

    #[test]
    fn kanedas_url_says_login_and_database() {
        let target = config(r#"connection_url = "influxdb://me:p%40ss@db:8086/metrics""#).target().unwrap();
        assert_eq!(target.urls, ["http://db:8086"]);
        assert_eq!(target.store.to_string(), "database metrics");
        let login = address::Login { user: "me".into(), password: "p@ss".into() };
        assert_eq!(target.login, Some(Login::User(login)));
    }

    #[test]
    fn a_bucket_is_version_2() {
        let target = config("bucket = \"b\"\norg = \"o\"\ntoken = \"secret\"").target().unwrap();
        assert_eq!(target.store, Store::Bucket(Bucket { name: "b".into(), org: Some("o".into()) }));
        assert_eq!(target.login, Some(Login::Token("secret".into())));
        assert_eq!(target.store.path(), "/api/v2/write");
        assert_eq!(target.store.query(), [("precision", "ns"), ("bucket", "b"), ("org", "o")]);
    }

    #[test]
    fn a_token_may_come_from_a_file_which_a_check_does_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let config =
            Config { bucket: Some("b".into()), token_file: Some(file.path().into()), ..Config::default() };
        assert_eq!(config.target().unwrap().login, Some(Login::Token("secret".into())));
        drop(file);
        config.check().unwrap();
        assert!(config.target().unwrap_err().to_string().starts_with("token_file /"));
    }

    #[test]
    fn with_tls_a_host_is_reached_by_https() {
        let target = config("host = \"db\"\ntls = { verify = false }").target().unwrap();
        assert_eq!((target.urls, target.is_secured), (vec!["https://db:8086".to_owned()], true));
        let kanedas = config(r#"connection_url = "https+influxdb://db/metrics""#).target().unwrap();
        assert_eq!((&*kanedas.urls[0], &*kanedas.store.to_string()), ("https://db:8086", "database metrics"));
    }

    #[test]
    fn mistakes_begin_with_their_key_and_show_no_password() {
        for (text, begin) in [
            ("connection_url = []", "connection_url is"),
            (r#"connection_url = ["http://me:secret@a", "https://me:secret@b"]"#, "connection_url has"),
            (r#"connection_url = ["influxdb://a/x", "influxdb://a/y"]"#, "connection_url names"),
            ("connection_url = \"influxdb://a/x\"\ndatabase = \"y\"", "connection_url names"),
            ("database = \"\"", "database is empty"),
            ("bucket = \"\"", "bucket is empty"),
            ("bucket = \"b\"\ndatabase = \"d\"", "database is for InfluxDB 1 and does not go with bucket"),
            ("bucket = \"b\"\nconnection_url = \"influxdb://a/d\"", "database is for InfluxDB 1"),
            ("bucket = \"b\"\nretention_policy = \"r\"", "retention_policy is for InfluxDB 1"),
            ("bucket = \"b\"\ncreate_database = false", "create_database is for InfluxDB 1"),
            ("org = \"o\"", "org is set without bucket"),
            ("token = \"secret\"", "token is set without bucket"),
            ("bucket = \"b\"\ntoken = \"secret\"\nuser = \"u\"", "token and user"),
            ("bucket = \"b\"\ntoken = \"secret\"\ntoken_file = \"f\"", "token and token_file"),
            ("tls = { verify = false }\nconnection_url = \"http://a\"", "tls is set"),
            ("tls = { certificate = \"c\" }", "tls.certificate is set without"),
            ("timeout = \"0\"", "timeout"),
        ] {
            let error = error(text);
            assert!(error.starts_with(begin), "{error}");
            assert!(!format!("{error} {:?}", config(text)).contains("secret"), "{error}");
        }
    }
}
