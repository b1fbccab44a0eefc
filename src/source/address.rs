//! The addresses that sources listen at, from their configuration.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel keeps until they are accepted; it lowers this to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// Listens for TCP connections at an address and port, or a name and port. Must be called in a runtime. The error
/// names the key.
pub fn listen(listen: &str) -> io::Result<TcpListener> {
    let address = resolve(listen)?;
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Else a restart would fail while connections of the last run are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| refused(listen, error))
}

/// Listens for TCP connections at a socket that another process made and passed on. Must be called in a runtime.
pub fn inherit(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Whether `listen` can be an address and a port; names are not looked up.
pub(super) fn check(listen: &str) -> Result<(), String> {
    let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "listen = {listen:?}: write an address and a port, as \"127.0.0.1:8125\" or \"[::]:8125\""
        )),
    }
}

/// What `listen` means; of a name the first address. The error names the key.
pub fn resolve(listen: &str) -> io::Result<SocketAddr> {
    let wrong = |why: String| {
        let text = format!(
            "listen = {listen:?}: {why}; write an address and a port, as \"127.0.0.1:8125\" or \"[::]:8125\""
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let mut addresses = listen.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

/// The error of a `listen` that was understood and cannot be had.
pub(super) fn refused(listen: impl Display, error: io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address in use: another process, maybe another kaneda, has it".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!("{error}: this user may not take it"),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("listen = \"{listen}\": {why}"))
}

/// A configuration that makes no sense; the text names the key.
pub(super) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_an_error_that_names_the_key() {
        let taken = listen("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listen(&address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("listen = \"{address}\": address in use")), "{error}");
        let error = listen("8125").unwrap_err();
        assert!(error.to_string().contains("as \"127.0.0.1:8125\""), "{error}");
    }
}
