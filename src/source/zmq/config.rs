//! The keys of a `zmq` source.

use std::path::PathBuf;

use serde::Deserialize;

use super::connection::READ_BYTES;
use super::url::Url;
use super::zmtp::MAX_COMMAND;
use crate::problem::{self, unless};
use crate::source::socket_file::Mode;
use crate::unit::{Duration, Size};

/// The keys of a `zmq` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where applications bind their PUSH sockets: one address, or a list of them.
    pub connection_url: OneOrMore,
    /// Binds these addresses in place of connecting to them.
    pub bind: bool,
    /// Of `ipc://` that is bound: the permissions of the socket's file.
    pub mode: Mode,
    /// If it binds: connections at the same time; a further one is closed at once.
    pub max_connections: usize,
    /// The `host` of reports. Not set: the machine's name, as in Kaneda.
    pub hostname: Option<String>,
    /// Messages of one address that were taken and not handed on: when they are so many nothing is read until they are.
    pub high_water_mark: usize,
    /// The longest message.
    pub max_message: Size,
    /// How long a message may wait for others before it goes on.
    pub max_latency: Duration,
    /// The file of messages that are no reports; empty: they are only logged.
    pub dead_letters: Option<PathBuf>,
    /// Bytes of that file. A full one is kept until the next is full.
    pub dead_letters_max_size: Size,
}

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// Not in brackets.
    One(String),
    /// In brackets.
    More(Vec<String>),
}

impl OneOrMore {
    /// What is in it.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMore::One(one) => std::slice::from_ref(one),
            OneOrMore::More(more) => more,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: OneOrMore::More(Vec::new()),
            bind: false,
            mode: Mode::default(),
            max_connections: 256,
            hostname: None,
            high_water_mark: 1000,
            max_message: Size::from_kib(256),
            max_latency: Duration::from_millis(2),
            dead_letters: None,
            dead_letters_max_size: Size::from_mib(64),
        }
    }
}

/// Addresses of one source: each has an open chunk of its own.
const MOST_ADDRESSES: usize = 64;
/// Bytes of a connection beside the message that it holds.
const CONNECTION_BYTES: usize = (2 << 10) + MAX_COMMAND;

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let urls = self.connection_url.as_slice();
        let number = unless((1..=MOST_ADDRESSES).contains(&urls.len()), || {
            format!(
                "connection_url: 1 to {MOST_ADDRESSES} addresses are needed, as \"tcp://127.0.0.1:5555\", where \
                 applications bind (Kaneda's ZMQ_CONNECTION_URL)"
            )
        });
        let at_least_1 =
            |key: &str, value: u64| unless(value > 0, || format!("{key} = 0: must be at least 1"));
        problem::all(
            [
                number,
                at_least_1("max_message", self.max_message.bytes()),
                at_least_1("high_water_mark", self.high_water_mark as u64),
                at_least_1("max_connections", self.max_connections as u64),
            ]
            .into_iter()
            .chain(urls.iter().map(|url| Url::read(url, self.bind).map(drop))),
        )
    }

    /// Bytes that the source holds at most, chunks and dead letters apart.
    pub fn memory(&self) -> usize {
        let max_message = self.max_message.bytes() as usize;
        let connections = if self.bind { self.max_connections } else { 1 };
        let connections = connections.saturating_mul(CONNECTION_BYTES.saturating_add(max_message));
        // And one message of each address as a line of the protocol.
        self.addresses().saturating_mul(READ_BYTES.saturating_add(max_message).saturating_add(connections))
    }

    /// How many addresses there are, each with an open chunk.
    pub fn addresses(&self) -> usize {
        self.connection_url.as_slice().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_an_unknown_one_refused() {
        let config: Config = toml::from_str(
            "connection_url = ['tcp://a:1', 'tcp://[::1]:2']\nbind = true\nmode = '0600'\nmax_connections = 7\n\
             hostname = 'web'\nhigh_water_mark = 9\nmax_message = '1KiB'\nmax_latency = '3ms'\n\
             dead_letters = '/tmp/letters'\ndead_letters_max_size = '1MiB'",
        )
        .unwrap();
        let urls = ["tcp://a:1", "tcp://[::1]:2"];
        let expected = Config {
            connection_url: OneOrMore::More(urls.map(str::to_owned).to_vec()),
            bind: true,
            mode: Mode(0o600),
            max_connections: 7,
            hostname: Some("web".to_owned()),
            high_water_mark: 9,
            max_message: Size::from_kib(1),
            max_latency: Duration::from_millis(3),
            dead_letters: Some("/tmp/letters".into()),
            dead_letters_max_size: Size::from_mib(1),
        };
        assert_eq!(config, expected);
        assert_eq!((config.addresses(), config.check()), (2, Ok(())));
        assert!(toml::from_str::<Config>("hwm = 1").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let url = "connection_url = 'tcp://a:1'\n";
        for text in [
            "",
            "connection_url = []",
            "connection_url = 'tcp://*:1'",
            &format!("{url}max_message = '0B'"),
            &format!("{url}high_water_mark = 0"),
            &format!("{url}max_connections = 0"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let key = text.rsplit('\n').next().unwrap().split(' ').next().unwrap();
            let key = if key.is_empty() { "connection_url" } else { key };
            assert!(config.check().unwrap_err().starts_with(key), "{text}");
        }
    }
}
