//! Serves pages to clients that may be slow or hostile: every wait has an end and every buffer a bound.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::source::Context;
use crate::telemetry::Seldom;
use open::{Open, Socket};

mod open;

#[cfg(test)]
mod tests;

/// Bytes of a request's head at most, and of the buffer of a connection.
const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that a connection costs: its buffer, its task and the socket.
pub(super) const CONNECTION_BYTES: usize = BUFFER_BYTES + 16 * 1024;
/// Pause after `accept` failed, mostly for want of file descriptors: until one is closed it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests that are in work when the daemon stops have to be answered in.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time. For a further one the oldest is closed that has no request in work and no answer to
    /// be written; if none is, it is the further one.
    pub max_connections: usize,
    /// So long may a client take to send the head of a request, and so long to send the next one. If it takes longer to
    /// read an answer, its connection is closed when another one needs the room.
    pub receive_timeout: Duration,
}

/// Serves `router` until `context.stop`, and then for a moment the requests that are in work. The peer's address is in each request as `ConnectInfo`.
pub async fn serve(listener: TcpListener, router: Router, context: Context, limits: Limits) {
    let connections = TaskTracker::new();
    // The oldest first.
    let mut all: Vec<Weak<Open>> = Vec::new();
    let said = Seldom::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                all.retain(|open| open.upgrade().is_some_and(|open| !open.close.is_cancelled()));
                if all.len() >= limits.max_connections {
                    // Whoever only connects must not keep others out: the probes of the daemon among them.
                    let idle =
                        all.iter().filter_map(Weak::upgrade).find(|it| it.give_way(limits.receive_timeout));
                    if let Some(unsaid) = said.tick() {
                        let max_connections = limits.max_connections;
                        warn!(
                            %peer,
                            max_connections, unsaid, "too many connections: the oldest idle one is closed, or the new one"
                        );
                    }
                    if idle.is_none() {
                        context.counters.connections_refused.add(1);
                        continue;
                    }
                    context.counters.idle_closed.add(1);
                }
                let open = Arc::new(Open::default());
                all.push(Arc::downgrade(&open));
                let (router, context) = (router.clone(), context.clone());
                connections.spawn(async move {
                    context.counters.connections_total.add(1);
                    context.counters.connections.add(1);
                    connection(stream, peer, router, &context, limits, open).await;
                    context.counters.connections.sub(1);
                });
            }
            Err(error) => {
                if let Some(unsaid) = said.tick() {
                    warn!(%error, unsaid, "no connection can be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    context: &Context,
    limits: Limits,
    open: Arc<Open>,
) {
    // An answer is short and complete: it must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let of_requests = Arc::clone(&open);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, open) = (hyper::service::Service::call(&service, request), Arc::clone(&of_requests));
        async move {
            if !open.begin() {
                // It is being closed: nothing of the request is taken.
                std::future::pending::<()>().await;
            }
            answer.await.map(|answer| answer.map(|body| open.answer(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.receive_timeout)
        .max_buf_size(BUFFER_BYTES)
        .half_close(true)
        .serve_connection(Socket::new(stream, Arc::clone(&open)), service);
    let mut connection = pin!(connection);
    // What goes wrong with a connection is the client's: it has been answered, or is gone.
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = open.close.cancelled() => return,
        () = context.stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(STOP_GRACE, connection).await;
}
