//! Addresses as ZeroMQ writes them: `tcp://host:port` and `ipc://path`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;

use crate::source::address::{self, BACKLOG};
use crate::source::socket_file::{Mode, SocketFile};

/// A connection that says nothing for so long is probed, and ends when nobody is there any more: the machine of an
/// application may go down without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);
const PROBES: u32 = 4;
/// An attempt to connect ends after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What `connection_url` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    /// A host, without the brackets of IPv6, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket; one of Linux's abstract namespace begins with 0.
    Ipc(PathBuf),
}

/// What is bound.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    /// The file goes with it.
    Ipc(UnixListener, #[expect(dead_code, reason = "held for its drop")] SocketFile),
}

/// A connection.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Ipc(UnixStream),
}

impl Url {
    /// Reads an address that is to be bound, or to be connected to. The error begins with the key.
    pub(super) fn read(text: &str, is_bound: bool) -> Result<Url, String> {
        let wrong = |how: &str| Err(format!("connection_url = {text:?}: {how}"));
        if let Some(path) = text.strip_prefix("ipc://") {
            return match path {
                "" | "@" | "*" => wrong("a path is missing, as in \"ipc:///run/app/kaneda.ipc\""),
                path if path.starts_with('@') && is_bound => {
                    wrong("a socket without a file cannot be bound: write a path")
                }
                path => Ok(Url::Ipc(match path.strip_prefix('@') {
                    // As the kernel and tokio write it.
                    Some(name) => format!("\0{name}").into(),
                    None => path.into(),
                })),
            };
        }
        let place = text.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':'));
        let Some((host, Ok(port))) = place.map(|(host, port)| (host, port.parse::<u16>())) else {
            return wrong("write it as \"tcp://127.0.0.1:5555\" or \"ipc:///run/app/kaneda.ipc\"");
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare {
            "" => wrong("its host is missing"),
            "*" if is_bound => Ok(Url::Tcp("0.0.0.0".to_owned(), port)),
            "*" => wrong("`*` is every address of a machine, for one that binds; write the application's"),
            bare => Ok(Url::Tcp(bare.to_owned(), port)),
        }
    }

    /// Connects to it.
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        match self {
            Url::Tcp(host, port) => {
                // A look-up that is given up goes on in its thread: so there is never more than one.
                let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
                let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&addresses[..])).await;
                Ok(Wire::tcp(connected.map_err(|_| io::ErrorKind::TimedOut)??))
            }
            Url::Ipc(path) => Ok(Wire::Ipc(UnixStream::connect(path).await?)),
        }
    }

    /// Binds it. Must be called in a runtime.
    pub(super) fn bind(&self, mode: Mode) -> io::Result<Bound> {
        match self {
            Url::Tcp(host, port) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                Ok(Bound::Tcp(address::listen(&format!("{host}:{port}"))?))
            }
            Url::Ipc(path) => {
                let (socket, file) = SocketFile::bind(path, Type::STREAM, mode)?;
                socket.listen(BACKLOG)?;
                Ok(Bound::Ipc(UnixListener::from_std(socket.into())?, file))
            }
        }
    }
}

impl Bound {
    /// The next connection. May be dropped while it waits.
    pub(super) async fn accept(&self) -> io::Result<Wire> {
        Ok(match self {
            Bound::Tcp(listener) => Wire::tcp(listener.accept().await?.0),
            Bound::Ipc(listener, _) => Wire::Ipc(listener.accept().await?.0),
        })
    }

    /// Where it is bound, if that is not as it was written.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().map(Some),
            Bound::Ipc(..) => Ok(None),
        }
    }
}

impl Wire {
    fn tcp(stream: TcpStream) -> Wire {
        let keepalive =
            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / PROBES).with_retries(PROBES);
        // Without it the connection works as well.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Wire::Tcp(stream)
    }

    /// Waits until there is something to read, or the end of it.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.readable().await,
            Wire::Ipc(stream) => stream.readable().await,
        }
    }

    /// Reads what is there; 0 is the end.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.try_read(into),
            Wire::Ipc(stream) => stream.try_read(into),
        }
    }

    /// Reads so much, however long it takes.
    pub(super) async fn read_exact(&self, into: &mut [u8]) -> io::Result<()> {
        let mut has = 0;
        while has < into.len() {
            self.readable().await?;
            match self.try_read(&mut into[has..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => has += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of it, however long it takes.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self {
                Wire::Tcp(stream) => stream.writable().await?,
                Wire::Ipc(stream) => stream.writable().await?,
            }
            match self.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes as much as there is room for.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.try_write(bytes),
            Wire::Ipc(stream) => stream.try_write(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Url, String> {
        Ok(Url::Tcp(host.to_owned(), port))
    }

    #[test]
    fn tcp_and_ipc_are_read() {
        assert_eq!(Url::read("tcp://app:5555", false), tcp("app", 5555));
        assert_eq!(Url::read("tcp://[::1]:2", false), tcp("::1", 2));
        assert_eq!(Url::read("tcp://*:0", true), tcp("0.0.0.0", 0));
        assert_eq!(Url::read("ipc:///run/a", true), Ok(Url::Ipc("/run/a".into())));
        assert_eq!(Url::read("ipc://@a", false), Ok(Url::Ipc("\0a".into())));
    }

    #[test]
    fn an_address_that_is_none_is_refused_by_its_key() {
        for (text, is_bound) in [
            ("", true),
            ("127.0.0.1:5555", false),
            ("tcp://a", false),
            ("tcp://:1", false),
            ("tcp://a:65536", false),
            ("tcp://*:1", false),
            ("ipc://", true),
            ("ipc://@a", true),
            ("inproc://a", false),
        ] {
            let error = Url::read(text, is_bound).unwrap_err();
            assert!(error.starts_with(&format!("connection_url = {text:?}")), "{error}");
        }
    }
}
