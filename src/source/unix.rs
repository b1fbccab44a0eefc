//! Lines over Unix stream sockets.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use socket2::{Socket, Type};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

use super::address::{self, BACKLOG};
use super::socket_file::{Mode, SocketFile};
use super::stream::{Limits, Listener};
use crate::problem;
use crate::record::Dialect;
use crate::unit::{Duration, Size};

/// The keys of a `unix` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The path of the socket. A file that a dead process left there is replaced.
    pub listen: PathBuf,
    /// The permissions of the socket's file.
    pub mode: Mode,
    /// Which reading of the lines.
    pub dialect: Dialect,
    /// The `host` of reports that send none. Not set: the machine's name.
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
            listen: PathBuf::from("/run/kaneda/kaneda.sock"),
            mode: Mode::default(),
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
        problem::all([no_peer(self.hostname.as_deref()), self.limits(0).check()])
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

/// A Unix socket that connections come in at. The file is removed when it is dropped, if it was made here.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    _file: Option<SocketFile>,
}

impl Bound {
    /// Where it listens.
    pub fn listen(&self) -> io::Result<String> {
        self.listener.local_addr().map(|address| listen(&address))
    }
}

/// An address as `listen` is written; one in the abstract namespace begins with `@`.
pub(super) fn listen(address: &SocketAddr) -> String {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path.display().to_string(),
        (None, name) => format!("@{}", name.unwrap_or_default().escape_ascii()),
    }
}

/// Binds `listen`. Must be called in a runtime. The error names the key to change.
pub fn bind(config: &Config) -> io::Result<Bound> {
    config.check().map_err(address::invalid)?;
    let bind = || {
        let (socket, file) = SocketFile::bind(&config.listen, Type::STREAM, config.mode)?;
        socket.listen(BACKLOG)?;
        Ok(Bound { listener: UnixListener::from_std(socket.into())?, _file: Some(file) })
    };
    bind().map_err(|error| address::refused(config.listen.display(), error))
}

/// Listens at a socket that was passed on, instead of `listen`: its file is neither made nor removed here. Must be
/// called in a runtime. The error names the key to change.
pub fn inherit(config: &Config, socket: Socket) -> io::Result<Bound> {
    config.check().map_err(address::invalid)?;
    socket.set_nonblocking(true)?;
    Ok(Bound { listener: UnixListener::from_std(socket.into())?, _file: None })
}

/// Refuses `hostname = "peer"`.
pub(super) fn no_peer(hostname: Option<&str>) -> Result<(), String> {
    match hostname {
        Some("peer") => Err("hostname = \"peer\": who sends to a unix socket has no address".to_owned()),
        _ => Ok(()),
    }
}

impl Listener for Bound {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        Ok((self.listener.accept().await?.0, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_an_unknown_one_refused() {
        let config: Config = toml::from_str(
            "listen = \"/tmp/s\"\nmode = \"0600\"\ndialect = \"statsd\"\nhostname = \"web\"\nmax_connections = 7\n\
             line_buffer = \"1MiB\"\nidle_timeout = \"1m\"\nstall_timeout = \"2s\"",
        )
        .unwrap();
        let expected = Config {
            listen: PathBuf::from("/tmp/s"),
            mode: Mode(0o600),
            dialect: Dialect::Statsd,
            hostname: Some("web".to_owned()),
            max_connections: 7,
            line_buffer: Size::from_mib(1),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(2),
        };
        assert_eq!(config, expected);
        assert!(toml::from_str::<Config>("modus = \"0600\"").is_err());
    }

    #[tokio::test]
    async fn a_source_is_refused_what_it_cannot_do() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { listen: folder.path().join("socket"), ..Config::default() };
        let peer = Config { hostname: Some("peer".to_owned()), ..config.clone() };
        assert!(bind(&peer).unwrap_err().to_string().starts_with("hostname"));
        let first = bind(&config).unwrap();
        let error = bind(&config).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("address in use"), "{error}");
        drop(first);
        assert!(!config.listen.exists());
    }
}
