//! What a `[[sink]]` of type `elasticsearch` may say, and what comes of it.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use elasticsearch::http::headers::HeaderValue;
use serde::Deserialize;

use super::index::{self, Index, Window};
use crate::secret::Secret;
use crate::sink::address::{self, HTTP, Keys, List, Target};
use crate::tls::{self, Tls};
use crate::unit::Duration;

/// What a `[[sink]]` of type `elasticsearch` may say. Where Kaneda has a setting, the key has its name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `http://host:port` or `https://user:password@host:port`; several are doors to one cluster, in order of
    /// preference: one that fails is left out for a while.
    pub connection_url: Option<List<Secret>>,
    /// The servers, in place of `connection_url`; reached with TLS if `tls` is set.
    pub host: Option<List<String>>,
    /// The port of each `host` without one.
    pub port: u16,
    /// The login.
    #[serde(alias = "username")]
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// An API key in place of a login: `id:key`, or both as the store encodes them.
    pub api_key: Option<Secret>,
    /// A file whose first line is the API key.
    pub api_key_file: Option<PathBuf>,
    /// A bearer token in place of a login.
    pub token: Option<Secret>,
    /// A file whose first line is the token.
    pub token_file: Option<PathBuf>,
    /// For servers with `https`.
    pub tls: Option<tls::Config>,
    /// Documents go to `{index_name}-YYYY.MM.DD`, or, with `data_stream`, to a data stream of this name.
    pub index_name: String,
    /// The `app_name` of each document; none if it is not set.
    pub app_name: Option<String>,
    /// How far the time of a report may be from when it was received; a report outside is refused.
    pub index_window: Window,
    /// Whether documents go to a data stream. It takes only new documents: a repeated id is ignored.
    pub data_stream: bool,
    /// Whether the index template of the documents is put into the store.
    pub template: bool,
    /// Whether bodies are compressed: less network for more work here and at the server.
    pub gzip: bool,
    /// How long one attempt may take, the server's answer included.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: None,
            host: None,
            port: 9200,
            user: None,
            password: None,
            password_file: None,
            api_key: None,
            api_key_file: None,
            token: None,
            token_file: None,
            tls: None,
            index_name: "kaneda".to_owned(),
            app_name: None,
            index_window: Window::default(),
            data_stream: false,
            template: true,
            gzip: false,
            timeout: Duration::from_secs(30),
        }
    }
}

/// A configuration that no sink can be made of. No text of it holds a secret; each begins with a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Servers or login.
    #[error(transparent)]
    Address(#[from] address::Error),
    /// Their certificates.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A name that the store would refuse.
    #[error("index_name cannot be {name:?}: {why}")]
    IndexName {
        /// As written.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than one way to log in.
    #[error("{first} and {second} are both set: keep one of them")]
    TwoLogins {
        /// A key.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// A secret that no header can hold.
    #[error("{key} has a character that no header can hold: check for a line break")]
    NoHeader {
        /// The key.
        key: &'static str,
    },
    /// An attempt without time.
    #[error("timeout is 0: an attempt needs some time")]
    NoTimeout,
    /// The HTTP client cannot be made.
    #[error("connection_url: the HTTP client cannot be made: {0}")]
    Client(String),
}

/// The servers, and what to tell them of who we are.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) target: Target,
    /// The header that says who we are; never shown.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) tls: Option<Tls>,
}

impl Config {
    /// What can be said without a look at files. The error begins with a key.
    pub fn check(&self) -> Result<(), String> {
        if let Some(tls) = &self.tls {
            tls.check().map_err(|error| error.to_string())?;
        }
        if self.timeout.get().is_zero() {
            return Err(Error::NoTimeout.to_string());
        }
        self.index().map(drop).map_err(|error| error.to_string())
    }

    /// Where documents go.
    pub(super) fn index(&self) -> Result<Index, Error> {
        let name = self.index_name.clone();
        match index::mistake(&name) {
            Some(why) => Err(Error::IndexName { name, why }),
            None if self.data_stream => Ok(Index::Stream(name)),
            None => Ok(Index::Dated(name, self.index_window)),
        }
    }

    /// Which servers, and how to get in; `sink` is the name of the sink.
    pub(super) fn access(&self, sink: &str) -> Result<Access, Error> {
        let keys = Keys {
            connection_url: self.connection_url.as_ref(),
            host: self.host.as_ref(),
            port: self.port,
            user: self.user.as_deref(),
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
        };
        let target = keys.target(&HTTP, if self.tls.is_some() { "https" } else { "http" })?;
        let authorization = self.authorization(&target)?;
        let tls = tls::read_for(self.tls.as_ref(), target.is_secured()?, "https", sink)?;
        Ok(Access { target, authorization, tls })
    }

    fn authorization(&self, target: &Target) -> Result<Option<HeaderValue>, Error> {
        let login = target.login.as_ref().map(|login| {
            let pair = BASE64_STANDARD.encode(format!("{}:{}", login.user, &*login.password));
            ("user", format!("Basic {pair}"))
        });
        let api_key = secret(("api_key", &self.api_key), ("api_key_file", &self.api_key_file))?;
        let api_key = api_key.map(|(key, text)| match text.contains(':') {
            true => (key, format!("ApiKey {}", BASE64_STANDARD.encode(&*text))),
            false => (key, format!("ApiKey {}", &*text)),
        });
        let token = secret(("token", &self.token), ("token_file", &self.token_file))?;
        let token = token.map(|(key, text)| (key, format!("Bearer {}", &*text)));
        let mut ways = [login, api_key, token].into_iter().flatten();
        let Some((key, text)) = ways.next() else { return Ok(None) };
        if let Some((second, _)) = ways.next() {
            return Err(Error::TwoLogins { first: key, second });
        }
        let mut header = HeaderValue::try_from(text).map_err(|_| Error::NoHeader { key })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// A secret that is written, or stands in a file; and which of the two keys says it.
fn secret(
    written: (&'static str, &Option<Secret>),
    file: (&'static str, &Option<PathBuf>),
) -> Result<Option<(&'static str, Secret)>, Error> {
    match (written.1, file.1) {
        (Some(_), Some(_)) => Err(Error::TwoLogins { first: written.0, second: file.0 }),
        (Some(secret), None) => Ok(Some((written.0, secret.clone()))),
        (None, Some(path)) => Ok(Some((file.0, address::read_secret(file.0, path)?))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn header(text: &str) -> String {
        let header = config(text).access("s").unwrap().authorization.unwrap();
        assert!(header.is_sensitive() && !format!("{header:?}").contains("Zml"), "shown");
        header.to_str().unwrap().to_owned()
    }

    #[test]
    fn without_a_key_it_is_the_server_on_this_host() {
        let access = config("").access("s").unwrap();
        assert_eq!(access.target.places[0].base(), "http://127.0.0.1:9200");
        assert!(access.authorization.is_none() && access.tls.is_none());
        assert_eq!(config("").index().unwrap(), Index::Dated("kaneda".into(), Window::default()));
    }

    #[test]
    fn hosts_are_reached_with_tls_where_tls_is_set() {
        let access = config("host = [\"a\", \"b:1\"]\ntls = {}").access("s").unwrap();
        let urls: Vec<_> = access.target.places.iter().map(|place| place.base()).collect();
        assert_eq!(urls, ["https://a:9200", "https://b:1"]);
        assert!(access.tls.is_some());
    }

    #[test]
    fn every_way_to_log_in_is_a_header() {
        assert_eq!(header("user = \"u\"\npassword = \"p\""), "Basic dTpw");
        assert_eq!(header(r#"connection_url = "http://u:p@a""#), "Basic dTpw");
        assert_eq!(header(r#"api_key = "id:key""#), "ApiKey aWQ6a2V5");
        assert_eq!(header(r#"api_key = "aWQ6a2V5""#), "ApiKey aWQ6a2V5");
        assert_eq!(header(r#"token = "t""#), "Bearer t");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "t\n").unwrap();
        assert_eq!(header(&format!("token_file = {:?}", file.path())), "Bearer t");
    }

    #[test]
    fn mistakes_name_their_key_and_no_secret() {
        for (text, part) in [
            ("user = \"u\"\npassword = \"hush\"\ntoken = \"hush\"", "user and token"),
            ("api_key = \"hush\"\ntoken = \"hush\"", "api_key and token"),
            ("api_key = \"hush\"\napi_key_file = \"f\"", "api_key and api_key_file"),
            ("token_file = \"/nowhere/f\"", "token_file /nowhere/f"),
            ("token = \"hu\\nsh\"", "token has a character"),
            ("password = \"hush\"", "password is set without user"),
            ("tls = {}\nconnection_url = \"http://a\"", "tls is set"),
        ] {
            let error = config(text).access("s").unwrap_err().to_string();
            assert!(error.starts_with(part) && !error.contains("hush"), "{error}");
            assert!(!format!("{:?}", config(text)).contains("hush"));
        }
        for (text, part) in [
            ("index_name = \"Kaneda\"", "index_name"),
            ("timeout = \"0\"", "timeout is 0"),
            ("tls = { key = \"k\" }", "tls.key is set"),
        ] {
            let error = config(text).check().unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
        assert!(toml::from_str::<Config>("index_nmae = \"x\"").is_err());
    }
}
