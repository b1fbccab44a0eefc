//! Serves pages to clients that may be slow or hostile: every wait has an end and every buffer a bound.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::source::Context;
use crate::telemetry::Seldom;

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
    /// Connections at the same time. For a further one the oldest that has no request in work is closed; if all have,
    /// it is the further one. A request is in work until its answer is made, not until the client has read it.
    pub max_connections: usize,
    /// So long may a client take to send the head of a request, and so long to send the next one.
    pub receive_timeout: Duration,
}

/// A connection, as the server sees it.
#[derive(Debug, Default)]
struct Open {
    /// By a request that is in work, or by the server, which closes it.
    taken: AtomicBool,
    close: CancellationToken,
}

impl Open {
    fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }
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
                    let idle = all.iter().filter_map(Weak::upgrade).find(|open| open.take());
                    if let Some(unsaid) = said.tick() {
                        let max_connections = limits.max_connections;
                        warn!(
                            %peer,
                            max_connections, unsaid, "too many connections: the oldest idle one is closed, or the new one"
                        );
                    }
                    let Some(idle) = idle else {
                        context.counters.connections_refused.add(1);
                        continue;
                    };
                    context.counters.idle_closed.add(1);
                    idle.close.cancel();
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
            if !open.take() {
                // It is being closed: nothing of the request is taken.
                std::future::pending::<()>().await;
            }
            let answer = answer.await;
            open.taken.store(false, Ordering::Release);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.receive_timeout)
        .max_buf_size(BUFFER_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
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
