//! What a `[[sink]]` of type `influxdb` may say, and what comes of it.

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use crate::secret::Secret;
use crate::unit::Duration;

/// What a `[[sink]]` of type `influxdb` may say. Where Kaneda has a setting, the key has its name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `http://host:port`, or Kaneda's `influxdb://user:password@host:port/database`; several are doors to one
    /// store, in order of preference: one that fails is left out for a while.
    pub connection_url: Option<Urls>,
    /// The server, in place of `connection_url`.
    pub host: Option<String>,
    /// Its port.
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
}

/// One URL or a list of them. They may hold a password.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Urls {
    /// A text.
    One(Secret),
    /// A list of texts.
    Many(Vec<Secret>),
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
        }
    }
}

/// A configuration that no sink can be made of. No text of it holds a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two ways to say where the server is.
    #[error("`connection_url` and `host` are both set: keep one of them")]
    TwoAddresses,
    /// An empty list.
    #[error("`connection_url` is an empty list: name at least one server")]
    NoAddress,
    /// Something that is no URL; the text is not repeated, it may hold a password.
    #[error("`connection_url`, number {number}: {why}; write http://host:port")]
    Url {
        /// From 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// URLs with different logins or databases, or a key that says otherwise.
    #[error("`connection_url` names more than one {what}, or another than `{what}` does: keep one of them")]
    Differs {
        /// The key.
        what: &'static str,
    },
    /// Two passwords.
    #[error("`password` and `password_file` are both set: keep one of them")]
    TwoPasswords,
    /// A password for nobody.
    #[error("`password` is set without `user`")]
    NoUser,
    /// The file of the password cannot be read.
    #[error("`password_file` {}: {error}", path.display())]
    PasswordFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// No database.
    #[error("`database` is empty")]
    NoDatabase,
    /// An attempt without time.
    #[error("`timeout` is 0: an attempt needs some time")]
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
    pub(super) database: String,
    pub(super) login: Option<Login>,
}

/// Who writes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
}

impl Config {
    /// Where the points go and who writes them.
    pub(super) fn target(&self) -> Result<Target, Error> {
        if self.timeout.get().is_zero() {
            return Err(Error::NoTimeout);
        }
        let mut target = Target { urls: Vec::new(), database: self.database.clone(), login: self.login()? };
        let urls: &[Secret] = match (&self.connection_url, &self.host) {
            (Some(_), Some(_)) => return Err(Error::TwoAddresses),
            (Some(Urls::One(url)), None) => std::slice::from_ref(url),
            (Some(Urls::Many(urls)), None) => urls,
            (None, host) => {
                let host = host.as_deref().unwrap_or("127.0.0.1");
                // An address of IPv6 stands in brackets in a URL.
                let host = if host.contains(':') && !host.starts_with('[') {
                    format!("[{host}]")
                } else {
                    host.to_owned()
                };
                &[Secret::from(&*format!("http://{host}:{}", self.port))]
            }
        };
        if urls.is_empty() {
            return Err(Error::NoAddress);
        }
        for (index, url) in urls.iter().enumerate() {
            let found = address(url).map_err(|why| Error::Url { number: index + 1, why })?;
            let is_first = index == 0;
            if let Some(login) = found.login {
                let free = is_first && target.login.is_none();
                settle(&mut target.login, Some(login), free, "user")?;
            }
            if let Some(database) = found.database {
                let free = is_first && self.database == Config::default().database;
                settle(&mut target.database, database, free, "database")?;
            }
            target.urls.push(found.url);
        }
        if target.database.is_empty() {
            return Err(Error::NoDatabase);
        }
        Ok(target)
    }

    fn login(&self) -> Result<Option<Login>, Error> {
        let password = match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => return Err(Error::TwoPasswords),
            (Some(password), None) => Some(password.clone()),
            (None, Some(path)) => {
                Some(Secret::read(path).map_err(|error| Error::PasswordFile { path: path.clone(), error })?)
            }
            (None, None) => None,
        };
        match (&self.user, password) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::NoUser),
            (Some(user), password) => {
                Ok(Some(Login { user: user.clone(), password: password.unwrap_or_else(|| "".into()) }))
            }
        }
    }
}

/// Puts `found` into a place that is free, or that says the same already.
fn settle<T: PartialEq>(place: &mut T, found: T, free: bool, what: &'static str) -> Result<(), Error> {
    if !free && *place != found {
        return Err(Error::Differs { what });
    }
    *place = found;
    Ok(())
}

/// What one URL says.
struct Address {
    url: String,
    database: Option<String>,
    login: Option<Login>,
}

fn address(text: &str) -> Result<Address, String> {
    let (is_kanedas, text) = match text.strip_prefix("influxdb://") {
        Some(rest) => (true, format!("http://{rest}")),
        None => (false, text.to_owned()),
    };
    let mut url = Url::parse(&text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" => {}
        "https" => return Err("this version speaks no TLS".to_owned()),
        scheme => return Err(format!("unknown scheme `{scheme}`")),
    }
    let plain = |text: &str| percent_decoded(text).ok_or("a login that is not UTF-8");
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => {
            Some(Login { user: plain(user)?, password: Secret::from(&*plain(password.unwrap_or_default())?) })
        }
    };
    // Setting these fails only on a URL without a host, and http has one.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    let mut database = None;
    if is_kanedas {
        database = Some(plain(url.path().trim_matches('/'))?).filter(|database| !database.is_empty());
        url.set_path("");
    }
    Ok(Address { url: url.as_str().trim_end_matches('/').to_owned(), database, login })
}

/// A part of a URL without its `%XX`.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        match code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
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
    fn several_urls_and_host_and_port_are_taken() {
        let several = config(r#"connection_url = ["http://a:1", "http://b:2/prefix/"]"#).target().unwrap();
        assert_eq!(several.urls, ["http://a:1", "http://b:2/prefix"]);
        assert_eq!(config("host = \"::1\"\nport = 1").target().unwrap().urls, ["http://[::1]:1"]);
    }

    #[test]
    fn mistakes_name_their_key_and_no_password() {
        for (text, part) in [
            (
                r#"connection_url = "http://a"
                host = "b""#,
                "`host`",
            ),
            ("connection_url = []", "empty list"),
            (r#"connection_url = ["http://a", "me:secret@b"]"#, "number 2"),
            (r#"connection_url = "https://me:secret@b""#, "TLS"),
            (r#"connection_url = ["http://a:secret@x", "http://b:secret@x"]"#, "`user`"),
            (
                r#"connection_url = "influxdb://a/x"
                database = "y""#,
                "`database`",
            ),
            (r#"password = "secret""#, "`user`"),
            (
                r#"user = "u"
                password = "secret"
                password_file = "f""#,
                "`password_file`",
            ),
            (
                r#"user = "u"
                password_file = "/nowhere/secret""#,
                "`password_file`",
            ),
            ("database = \"\"", "`database`"),
            ("timeout = \"0\"", "`timeout`"),
        ] {
            let error = error(text);
            assert!(error.contains(part), "{error}");
            assert!(!error.replace("/nowhere/secret", "").contains("secret"), "{error}");
            assert!(!format!("{:?}", config(text)).replace("/nowhere/secret", "").contains("secret"));
        }
    }

    #[test]
    fn a_password_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let config = Config {
            user: Some("u".into()),
            password_file: Some(file.path().to_owned()),
            ..Config::default()
        };
        assert_eq!(config.target().unwrap().login.unwrap().password, "secret".into());
    }
}
