//! A way to a real server that fails as it is told: for every store, over whatever protocol it is spoken to.
//!
//! Used as `#[path = "../proxy/mod.rs"] mod proxy;`. The fault can be changed at any time. It holds for connections
//! that are open too: what is on its way then fails as what comes later.

#![allow(dead_code, reason = "each store's tests use some of it")]

mod http;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// So long nobody waits for anything; only to fail instead of to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens on the way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Nothing: all bytes pass.
    None,
    /// Nobody is there: connections are refused, and those that were open are closed.
    Away,
    /// Connections are accepted and nothing passes. What hung is closed when this ends.
    Hang,
    /// All bytes pass, in pieces of so many bytes with a pause before each.
    Slow {
        /// Bytes.
        piece: usize,
        /// Before each piece.
        pause: Duration,
    },
    /// HTTP only: requests are answered with this, and do not reach the server.
    Answer {
        /// Only requests with this in them; empty: all.
        to: &'static str,
        /// As 503.
        status: u16,
        /// Of the answer.
        body: &'static str,
    },
    /// Of an answer the client gets half of what arrives first; then the connection is closed.
    HalfReply,
    /// The server answers, so it has done its work; the client gets nothing, and the connection is closed.
    LoseReply,
}

/// Stands before a server, until it is dropped.
pub(crate) struct Proxy {
    /// Where it listens, the same for all its life.
    pub(crate) address: SocketAddr,
    /// The same as `http://address`.
    pub(crate) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    upstream: String,
    fault: watch::Sender<Fault>,
    /// Whether it listens: tells when a change to or from `Away` is done.
    listens: watch::Sender<bool>,
    /// How often a fault has struck.
    strikes: watch::Sender<usize>,
}

impl Proxy {
    /// One before the server at `upstream`: an address and port, or a URL that begins with `http://`.
    pub(crate) async fn before(upstream: &str) -> Proxy {
        let holder = hold(None).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        let state = Arc::new(State {
            upstream: upstream.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            fault: watch::Sender::new(Fault::None),
            listens: watch::Sender::new(false),
            strikes: watch::Sender::new(0),
        });
        let task = tokio::spawn(serve(Arc::clone(&state), holder));
        state.listens.subscribe().wait_for(|listens| *listens).await.unwrap();
        Proxy { address, url: format!("http://{address}"), state, task }
    }

    /// From now on this happens. When it returns, nothing of what was before is left.
    pub(crate) async fn set(&self, fault: Fault) {
        let listens = fault != Fault::Away;
        self.state.strikes.send_replace(0);
        self.state.fault.send_replace(fault);
        let mut now = self.state.listens.subscribe();
        let is_done = now.wait_for(|now| *now == listens);
        tokio::time::timeout(PATIENCE, is_done).await.expect("the proxy has ended").unwrap();
    }

    /// Waits until the fault that was set last has struck: something was refused by it, held, answered or lost.
    /// `Away` cannot know.
    pub(crate) async fn struck(&self) {
        let mut strikes = self.state.strikes.subscribe();
        let struck = strikes.wait_for(|strikes| *strikes > 0);
        tokio::time::timeout(PATIENCE, struck).await.expect("nobody met the fault").unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket that has a port and does not listen: as long as it is there, nobody else gets the port, and whoever
/// connects is refused unless another socket listens.
fn hold(address: Option<SocketAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()).into())?;
    Ok(socket)
}

/// Listens where the holder is. A connection of somebody else may have got the port as its own meanwhile: until that ends
/// nobody can listen there.
async fn listen(address: Option<SocketAddr>) -> Socket {
    let start = Instant::now();
    loop {
        match hold(address).and_then(|socket| socket.listen(1024).map(|()| socket)) {
            Ok(socket) => return socket,
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < PATIENCE;
                assert!(is_taken, "the proxy cannot listen: {error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn serve(state: Arc<State>, holder: Socket) {
    let address = holder.local_addr().unwrap().as_socket();
    let mut fault = state.fault.subscribe();
    loop {
        let socket = listen(address).await;
        let listener = TcpListener::from_std(socket.into()).unwrap();
        state.listens.send_replace(true);
        // Dropped with all that is open.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = fault.wait_for(|fault| *fault == Fault::Away) => break,
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    // An end in the middle is what this is for.
                    let state = Arc::clone(&state);
                    connections.spawn(async move { carry(client, &state).await.ok() });
                }
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
        state.listens.send_replace(false);
        if fault.wait_for(|fault| *fault != Fault::Away).await.is_err() {
            return;
        }
    }
}

/// What passes from the client to the server, and back, until one of them or a fault ends it.
async fn carry(mut client: TcpStream, state: &State) -> io::Result<()> {
    let mut fault = state.fault.subscribe();
    let strike = || state.strikes.send_modify(|strikes| *strikes += 1);
    let mut server = None;
    let (mut sent, mut answered) = (Vec::new(), Vec::new());
    loop {
        let now = fault.borrow_and_update().clone();
        if now == Fault::Hang {
            strike();
            let _ = fault.wait_for(|fault| *fault != Fault::Hang).await;
            return Ok(());
        }
        // Not before it is needed: what only meets a fault never reaches the server.
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(TcpStream::connect(&state.upstream).await?),
        };
        tokio::select! {
            _ = fault.changed() => continue,
            read = client.read_buf(&mut sent) => if read? == 0 { return Ok(()) },
            read = server.read_buf(&mut answered) => if read? == 0 { return Ok(()) },
        }
        // The fault may have changed while this waited for bytes.
        let now = fault.borrow().clone();
        match now {
            Fault::Hang => continue,
            Fault::HalfReply | Fault::LoseReply if !answered.is_empty() => {
                let half = if now == Fault::HalfReply { answered.len() / 2 } else { 0 };
                strike();
                return client.write_all(&answered[..half]).await;
            }
            Fault::Answer { to, status, body } if !sent.is_empty() => match http::request(&sent) {
                http::Request::Partial => continue,
                http::Request::Whole if !http::contains(&sent, to) => {}
                _ => {
                    strike();
                    return client.write_all(&http::answer(status, body)).await;
                }
            },
            _ => {}
        }
        let (piece, pause) = match now {
            Fault::Slow { piece, pause } => (piece, Some(pause)),
            _ => (usize::MAX, None),
        };
        for (bytes, to) in [(&mut sent, &mut *server), (&mut answered, &mut client)] {
            for piece in bytes.chunks(piece) {
                if let Some(pause) = pause {
                    strike();
                    tokio::time::sleep(pause).await;
                }
                to.write_all(piece).await?;
            }
            bytes.clear();
        }
    }
}
