//! Lines over TCP.

use std::io;
use std::net::IpAddr;

use serde::Deserialize;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};

use super::address;
use super::stream::{Limits, Listener};
use crate::problem;
use crate::record::Dialect;
use crate::unit::{Duration, Size};

/// The keys of a `tcp` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address to listen at; `[::]:8125` takes IPv4 too.
    pub listen: String,
    /// Which reading of the lines.
    pub dialect: Dialect,
    /// The `host` of reports that send none: a text, or `peer` for the sender's address. Not set: the machine's name.
    pub hostname: Option<String>,
    /// Connections at the same time; a further one is closed at once.
    pub max_connections: usize,
    /// Memory for lines longer than 2 KiB that have not come whole, of all connections together.
    pub line_buffer: Size,
    /// A connection on which nothing comes for so long is closed.
    pub idle_timeout: Duration,
    /// So long may a client take to send the rest of a long line, or to read an answer.
    pub stall_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1:8125".to_owned(),
            dialect: Dialect::default(),
            hostname: None,
            max_connections: 4096,
            line_buffer: Size::from_mib(4),
            idle_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        problem::all([address::check(&self.listen), self.limits(0).check()])
    }

    /// What [`run`](super::stream::run) keeps to, with lines of at most `max_line` bytes.
    pub fn limits(&self, max_line: usize) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_line,
            line_buffer: self.line_buffer.bytes() as usize,
            idle_timeout: self.idle_timeout.get(),
            stall_timeout: self.stall_timeout.get(),
        }
    }

    /// Bytes that the source holds at most, chunks apart, with lines of at most `max_line` bytes.
    pub fn memory(&self, max_line: usize) -> usize {
        self.limits(max_line).memory()
    }
}

/// Binds `listen`. Must be called in a runtime. The error names the key to change.
pub fn bind(config: &Config) -> io::Result<TcpListener> {
    config.check().map_err(address::invalid)?;
    address::listen(&config.listen)
}

/// Listens at a socket that was passed on, instead of `listen`. Must be called in a runtime. The error names the key
/// to change.
pub fn inherit(config: &Config, socket: Socket) -> io::Result<TcpListener> {
    config.check().map_err(address::invalid)?;
    address::inherit(socket)
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // An answer is short and complete: it must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(peer.ip().to_canonical())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_an_unknown_one_refused() {
        let config: Config = toml::from_str(
            "listen = \"[::1]:1\"\ndialect = \"statsd\"\nhostname = \"peer\"\nmax_connections = 7\n\
             line_buffer = \"1MiB\"\nidle_timeout = \"1m\"\nstall_timeout = \"2s\"",
        )
        .unwrap();
        let expected = Config {
            listen: "[::1]:1".to_owned(),
            dialect: Dialect::Statsd,
            hostname: Some("peer".to_owned()),
            max_connections: 7,
            line_buffer: Size::from_mib(1),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(2),
        };
        assert_eq!(config, expected);
        assert!(toml::from_str::<Config>("max_conections = 1").is_err());
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_by_their_key() {
        for text in ["max_connections = 0", "idle_timeout = \"0s\""] {
            let config: Config = toml::from_str(text).unwrap();
            let error = bind(&config).unwrap_err().to_string();
            assert!(error.starts_with(text.split(' ').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn the_defaults_hold_24_mib() {
        assert!(Config::default().memory(65_536) <= 24 << 20);
    }
}
