//! Connections that bring lines: what TCP and Unix stream sockets have in common.
//!
//! However many connections there are and however slow, each costs a small, fixed amount of memory, and what more
//! a busy one needs it borrows: see `share.rs`.

mod answer;
mod connection;
mod share;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{Context, Counters, Lines};
use crate::telemetry::Seldom;
use connection::Connection;
use share::Share;
pub use share::{Limits, TURNS};

/// Pause after `accept` failed, mostly for want of file descriptors: until one is closed it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket that connections come in at.
pub trait Listener: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// The next connection and who made it, if it has an address. May be dropped while it waits.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

/// Takes the lines of all connections until `context.stop`. `intake` makes the one of a new connection.
///
/// Done when every connection has ended: what it had read is taken then, but for a line without its end.
pub async fn run<L, I>(listener: L, intake: impl Fn(Option<IpAddr>) -> I, context: Context, limits: Limits)
where
    L: Listener,
    I: Lines,
{
    let share = Arc::new(Share::new(limits));
    let connections = TaskTracker::new();
    let said = Seldom::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < share.limits.max_connections => {
                let open = Open::new(&context);
                let (share, context, intake) = (share.clone(), context.clone(), intake(peer));
                connections.spawn(async move {
                    let _open = open;
                    Connection::new(stream, intake, &share, &context).run().await;
                });
            }
            Ok(_) => {
                context.counters.connections_refused.add(1);
                if let Some(unsaid) = said.tick() {
                    let max_connections = share.limits.max_connections;
                    warn!(
                        max_connections,
                        unsaid, "connections are refused: raise `max_connections` if they are wanted"
                    );
                }
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

/// Counts a connection as open while it lives.
struct Open(Arc<Counters>);

impl Open {
    fn new(context: &Context) -> Self {
        context.counters.connections.add(1);
        context.counters.connections_total.add(1);
        Open(context.counters.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.sub(1);
    }
}
