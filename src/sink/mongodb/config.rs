//! What a `[[sink]]` of type `mongodb` may say, and what comes of it.

use std::path::PathBuf;

use mongodb::error::ErrorKind;
use mongodb::options::{Acknowledgment, ConnectionString, HostInfo, Tls, TlsOptions, WriteConcern};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tracing::warn;

use super::bson::Open;
use super::command::Target;
use crate::record::{Number, Text};
use crate::secret::Secret;
use crate::sink::address::{self, Keys, List, Login, Place};
use crate::tls;
use crate::unit::Duration;

/// What a `[[sink]]` of type `mongodb` may say. Where Kaneda has a setting, the key has its name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `mongodb://[user:password@]host[:port][,host..][/][?options]`, or `mongodb+srv://`, with the options of
    /// MongoDB's drivers.
    pub connection_url: Option<Secret>,
    /// The server, or members of one replica set, in place of `connection_url`.
    pub host: Option<List<String>>,
    /// Their port.
    pub port: u16,
    /// The login, in place of one in `connection_url`.
    #[serde(alias = "username")]
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The database that is written to.
    pub db_name: String,
    /// The collection in it.
    pub collection_name: String,
    /// How many members of a replica set must have a report before it counts as delivered: "majority", a number of at
    /// least 1, or a tag set's name.
    pub w: Option<W>,
    /// Whether they must have it in their journals, on disk.
    pub journal: Option<bool>,
    /// Whether an index on name and timestamp is made.
    pub indexes: bool,
    /// A report is deleted by the server when its timestamp is so old; "0": never.
    pub retention: Duration,
    /// Whether the collection is made as a time series: smaller, but without ids that tell a report from its repeat.
    pub time_series: bool,
    /// How long one attempt may take, the server's answer included.
    pub timeout: Duration,
    /// Whom to trust and who we are; with it servers are reached by TLS.
    pub tls: Option<tls::Config>,
}

/// A write concern's `w`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum W {
    /// So many members.
    Members(u32),
    /// "majority", or a name that the replica set defines.
    Named(String),
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: None,
            host: None,
            port: 27017,
            user: None,
            password: None,
            password_file: None,
            db_name: "kaneda".to_owned(),
            collection_name: "reports".to_owned(),
            w: None,
            journal: None,
            indexes: false,
            retention: Duration::from_secs(0),
            time_series: false,
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
    /// Something that is no URL of MongoDB's.
    #[error(
        "connection_url: {0}; write mongodb://[user:password@]host[:port], with %XX for special characters of a user or \
         password"
    )]
    Url(String),
    /// A login in the URL and one beside it.
    #[error("user is set, and connection_url has a login: keep one of them")]
    TwoLogins,
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// With TLS and without.
    #[error("tls is set, and connection_url says tls=false: keep one of them")]
    TlsOff,
    /// The driver reads one file.
    #[error(
        "tls.certificate and tls.key are two files, and MongoDB's driver reads both from one: put the key behind the \
         certificate, and name that file twice"
    )]
    TwoTlsFiles,
    /// A name that MongoDB would not take.
    #[error("{key} = {name:?}: {why}")]
    Name {
        /// The key.
        key: &'static str,
        /// What it says.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody would say whether a report is stored.
    #[error("w is 0: no server would say whether a report is stored; set 1 or more")]
    Unacknowledged,
    /// More than MongoDB can count.
    #[error("retention is too long: at most 24855 days, or \"0\" for ever")]
    Retention,
    /// An attempt without time.
    #[error("timeout is 0: an attempt needs some time")]
    NoTimeout,
}

/// What the keys say, taken together.
#[derive(Debug, Clone)]
pub(super) struct Store {
    /// How to get there. It holds the login.
    pub(super) url: ConnectionString,
    pub(super) target: Target,
    /// The write concern, for people.
    pub(super) durability: String,
    /// Where the servers are, without the login.
    pub(super) servers: String,
    /// For the server's TTL; `None`: for ever.
    pub(super) retention_seconds: Option<i32>,
    pub(super) indexes: bool,
    pub(super) time_series: bool,
    pub(super) timeout: std::time::Duration,
}

impl Config {
    /// Where the documents go, who writes them, and how safe they have to be there.
    pub(super) fn store(&self, sink: &str) -> Result<Store, Error> {
        let timeout = self.timeout.get();
        if timeout.is_zero() {
            return Err(Error::NoTimeout);
        }
        check_name("db_name", &self.db_name, &['/', '\\', '.', ' ', '"', '$', '\0'])?;
        check_name("collection_name", &self.collection_name, &['$', '\0'])?;
        let retention_seconds = match self.retention.get().as_secs() {
            0 if self.retention.get().is_zero() => None,
            seconds => Some(i32::try_from(seconds.max(1)).map_err(|_| Error::Retention)?),
        };
        let url = self.url(sink)?;
        let (write_concern, durability) = self.write_concern(&url, timeout)?;
        let servers = match &url.host_info {
            HostInfo::HostIdentifiers(hosts) => {
                hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            HostInfo::DnsRecord(host) => host.clone(),
            _ => String::new(),
        };
        let target = Target {
            database: self.db_name.clone(),
            collection: self.collection_name.clone(),
            write_concern,
            upserts: !self.time_series,
        };
        Ok(Store {
            url,
            target,
            durability,
            servers,
            retention_seconds,
            indexes: self.indexes,
            time_series: self.time_series,
            timeout,
        })
    }

    /// The servers, the login and TLS, as the driver has them.
    fn url(&self, sink: &str) -> Result<ConnectionString, Error> {
        if self.connection_url.is_some() && self.host.is_some() {
            return Err(address::Error::TwoAddresses.into());
        }
        // A URL of MongoDB's may name several hosts, and is read by the driver.
        let keys = Keys {
            connection_url: None,
            host: self.host.as_ref(),
            port: self.port,
            user: self.user.as_deref(),
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
        };
        let found = keys.target(&[], "mongodb")?;
        let text = match &self.connection_url {
            Some(url) => url.clone(),
            None => {
                let hosts: Vec<String> = found.places.iter().map(Place::base).collect();
                let hosts = hosts.join(",").replace(",mongodb://", ",");
                Secret::from(&*hosts)
            }
        };
        let text = match &found.login {
            None => text,
            Some(_) if text.contains('@') => return Err(Error::TwoLogins),
            Some(Login { user, password }) => {
                let (scheme, rest) = text.split_once("://").unwrap_or(("mongodb", &text));
                let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
                Secret::from(&*format!("{scheme}://{}:{}@{rest}", encoded(user), encoded(password)))
            }
        };
        let mut url = ConnectionString::parse(&*text).map_err(|error| match &*error.kind {
            // The driver quotes what it does not understand, and that may be a part of a password.
            ErrorKind::InvalidArgument { message, .. } if !text.contains('@') => Error::Url(message.clone()),
            _ => Error::Url("not understood".to_owned()),
        })?;
        self.add_tls(&mut url, sink)?;
        Ok(url)
    }

    fn add_tls(&self, url: &mut ConnectionString, sink: &str) -> Result<(), Error> {
        match (&self.tls, &url.tls) {
            (Some(_), Some(Tls::Disabled)) => return Err(Error::TlsOff),
            (Some(config), _) => {
                let read = config.read(sink)?;
                let both = match read.identity {
                    Some((certificate, key)) if certificate.path == key.path => Some(key.path),
                    Some(_) => return Err(Error::TwoTlsFiles),
                    None => None,
                };
                let mut options = TlsOptions::default();
                options.ca_file_path = read.ca.map(|ca| ca.path);
                options.cert_key_file_path = both;
                options.allow_invalid_certificates = Some(read.is_unverified);
                url.tls = Some(Tls::Enabled(options));
            }
            (None, Some(Tls::Enabled(options))) if options.allow_invalid_certificates == Some(true) => {
                warn!(
                    sink,
                    "connection_url turns the verification of the server off: whoever is on the way to it can read and \
                     change all that is sent, the login too"
                );
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// The document `writeConcern`, and what it says: a key, else `connection_url`, else the durable default.
    fn write_concern(
        &self,
        url: &ConnectionString,
        timeout: std::time::Duration,
    ) -> Result<(Vec<u8>, String), Error> {
        let asked = url.write_concern.clone().unwrap_or_default();
        let WriteConcern { w, w_timeout, journal, .. } = asked;
        let w = match (&self.w, w) {
            (Some(w), _) => w.clone(),
            (None, Some(Acknowledgment::Nodes(members))) => W::Members(members),
            (None, Some(Acknowledgment::Custom(name))) => W::Named(name),
            (None, _) => W::Named("majority".to_owned()),
        };
        let journal = self.journal.or(journal).unwrap_or(true);
        // The server's word on members that lag says more than our own patience, so it has to come before its end.
        let patience = w_timeout.unwrap_or(timeout * 3 / 4).as_millis();
        let mut out = Vec::new();
        let mut concern = Open::document(&mut out);
        let who = match &w {
            W::Members(0) => return Err(Error::Unacknowledged),
            W::Members(members) => {
                concern.number("w", Number::Int(i64::from(*members)));
                format!("{members} of the servers")
            }
            W::Named(name) => {
                concern.text("w", Text::plain(name.as_bytes()));
                match name.as_str() {
                    "majority" => "a majority of the servers".to_owned(),
                    name => format!("the servers that {name:?} stands for"),
                }
            }
        };
        concern.bool("j", journal);
        concern.number("wtimeout", Number::Int(i64::try_from(patience).unwrap_or(i64::MAX)));
        concern.close();
        let place = if journal { "in their journals on disk" } else { "in memory, and soon on disk" };
        Ok((out, format!("acknowledged by {who}: {place}")))
    }
}

fn check_name(key: &'static str, name: &str, refused: &'static [char]) -> Result<(), Error> {
    let why = match name {
        "" => "it is empty",
        _ if name.contains(refused) => "MongoDB does not take one of its characters",
        _ if key == "collection_name" && name.starts_with("system.") => "MongoDB keeps it for itself",
        _ => return Ok(()),
    };
    Err(Error::Name { key, name: name.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn store(text: &str) -> Store {
        config(text).store("s").unwrap()
    }

    fn write_concern(text: &str) -> Document {
        Document::from_reader(&store(text).target.write_concern[..]).unwrap()
    }

    #[test]
    fn without_a_key_it_is_the_server_on_this_host_and_durable() {
        let store = store("");
        assert_eq!(store.servers, "127.0.0.1:27017");
        assert_eq!(store.target.namespace(), "kaneda.reports");
        assert!(store.url.credential.is_none() && store.target.upserts);
        assert_eq!((store.indexes, store.retention_seconds), (false, None));
        assert_eq!(store.durability, "acknowledged by a majority of the servers: in their journals on disk");
        assert_eq!(write_concern(""), doc! {"w": "majority", "j": true, "wtimeout": 7500});
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("colection_name = \"x\"").is_err());
    }

    #[test]
    fn a_key_goes_before_the_url_and_the_url_before_the_default() {
        let url = "connection_url = \"mongodb://a,b:1/?w=2&journal=false&wTimeoutMS=5&replicaSet=r\"\n";
        assert_eq!(store(url).servers, "a:27017,b:1");
        assert_eq!(write_concern(url), doc! {"w": 2, "j": false, "wtimeout": 5});
        let keys = format!("{url}w = \"safe\"\njournal = true\ntimeout = \"1s\"");
        assert_eq!(write_concern(&keys), doc! {"w": "safe", "j": true, "wtimeout": 5});
        assert_eq!(
            store("w = 1\njournal = false").durability,
            "acknowledged by 1 of the servers: in memory, and soon on disk"
        );
    }

    #[test]
    fn a_login_stands_in_the_url_or_beside_it() {
        let login = |text: &str| {
            let credential = store(text).url.credential.unwrap();
            (credential.username.unwrap(), credential.password.unwrap(), credential.source)
        };
        let both = ("me".to_owned(), "p@ss/é%".to_owned());
        let in_url = login("connection_url = \"mongodb://me:p%40ss%2F%C3%A9%25@db/?authSource=x\"");
        assert_eq!(in_url, (both.0.clone(), both.1.clone(), Some("x".to_owned())));
        let keys = "user = \"me\"\npassword = \"p@ss/é%\"";
        assert_eq!(login(&format!("host = \"::1\"\n{keys}")).1, both.1);
        let beside = login(&format!("connection_url = \"mongodb://db/?authSource=x\"\n{keys}"));
        assert_eq!(beside, in_url);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p@ss/é%\n").unwrap();
        let from_file = format!("user = \"me\"\npassword_file = {:?}", file.path());
        assert_eq!((login(&from_file).0, login(&from_file).1), both);
    }

    #[test]
    fn a_name_that_is_looked_up_needs_no_network_to_be_understood() {
        assert_eq!(
            store("connection_url = \"mongodb+srv://cluster.example.org\"").servers,
            "cluster.example.org"
        );
        assert_eq!(store("host = \"::1\"\nport = 1").servers, "::1:1");
    }

    #[test]
    fn retention_is_in_whole_seconds() {
        assert_eq!(store("retention = \"30d\"").retention_seconds, Some(30 * 24 * 3600));
        assert_eq!(store("retention = \"1ms\"").retention_seconds, Some(1));
    }

    #[test]
    fn mistakes_name_their_key_and_no_password() {
        for (text, part) in [
            ("connection_url = \"mongodb://a\"\nhost = \"b\"", "host"),
            ("connection_url = \"http://me:secret@b\"", "connection_url"),
            ("connection_url = \"mongodb://me:sec/secret@b\"", "%XX"),
            ("connection_url = \"mongodb://me:secret:secret@b:x\"", "connection_url"),
            ("connection_url = \"mongodb://me:secret@b\"\nuser = \"u\"", "user"),
            ("connection_url = \"mongodb://b:x\"", "the port"),
            ("connection_url = \"mongodb://b/?tls=false\"\ntls = {}", "tls is set"),
            ("tls = { ca = \"/nowhere\" }", "tls.ca"),
            ("password = \"secret\"", "user"),
            ("user = \"u\"\npassword = \"secret\"\npassword_file = \"f\"", "password_file"),
            ("user = \"u\"\npassword_file = \"/nowhere\"", "password_file"),
            ("db_name = \"\"", "db_name"),
            ("db_name = \"a.b\"", "db_name"),
            ("collection_name = \"a$\"", "collection_name"),
            ("collection_name = \"system.x\"", "collection_name"),
            ("w = 0", "w"),
            ("connection_url = \"mongodb://a/?w=0\"", "w"),
            ("retention = \"30000d\"", "retention"),
            ("timeout = \"0\"", "timeout"),
        ] {
            let error = config(text).store("s").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(!format!("{:?}", config(text)).contains("secret"));
        }
    }
}
