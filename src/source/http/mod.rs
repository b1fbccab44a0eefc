//! Lines as bodies of HTTP requests: `POST /ingest`, answered when they are stored.

use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Bodies, BodyRefused, Context, address};
use crate::problem::{self, unless};
use crate::record::Dialect;
use crate::secret::Secret;
use crate::unit::{Duration, Size};

mod answer;
mod body;
mod guard;
mod server;

#[cfg(test)]
mod tests;

pub use answer::Refusal;
pub use body::{check_body, receive};
pub use guard::{Guard, check_token, token};
pub use server::{Limits, serve};

/// The keys of an `http` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// An address of its own. Not set: it is on the admin address.
    pub listen: Option<String>,
    /// Which reading of the lines.
    pub dialect: Dialect,
    /// The `host` of reports that send none: a text, or `peer` for the sender's address. Not set: the machine's name.
    pub hostname: Option<String>,
    /// The longest body, as sent and inflated.
    pub max_body: Size,
    /// Requests in work at the same time; further ones are answered 429.
    pub max_requests: usize,
    /// Connections at the same time, on an address of its own; for a further one the oldest idle one is closed.
    pub max_connections: usize,
    /// So long may a client take to send the head of a request, and so long its body.
    pub receive_timeout: Duration,
    /// Names that `Host` may have beside localhost and loopback addresses, where the address is a loopback one.
    pub allowed_hosts: Vec<String>,
    /// Pages that may send: an `Origin` as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// What a client must send as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// A file whose first line is `token`.
    pub token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: None,
            dialect: Dialect::default(),
            hostname: None,
            max_body: Size::from_kib(512),
            max_requests: 8,
            max_connections: 128,
            receive_timeout: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            token: None,
            token_file: None,
        }
    }
}

/// The longest `max_body`: the intake copies a body into chunks, whose offsets must not overflow.
const LONGEST_MAX_BODY: u64 = 64 << 20;

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let max = self.max_body.bytes();
        problem::all([
            self.listen.as_deref().map_or(Ok(()), address::check),
            unless((1..=LONGEST_MAX_BODY).contains(&max), || {
                format!("max_body = {max}B: must be from 1B to {LONGEST_MAX_BODY}B")
            }),
            unless((1..=Semaphore::MAX_PERMITS).contains(&self.max_requests), || {
                "max_requests: must be at least 1".to_owned()
            }),
            unless(self.max_connections > 0, || "max_connections = 0: must be at least 1".to_owned()),
            unless(self.receive_timeout != Duration::default(), || {
                "receive_timeout = 0: must be more, or nothing can be received".to_owned()
            }),
            check_token(self.token.as_ref(), self.token_file.as_deref()),
        ])
    }

    /// Bytes that the source holds at most: each request its body as sent and inflated, chunks apart; and its
    /// connections, of which it has none without an address of its own.
    pub fn memory(&self) -> usize {
        let connections = self.listen.as_ref().map_or(0, |_| memory(self.max_connections));
        let bodies = self.max_requests.saturating_mul(2 * self.max_body.bytes() as usize);
        bodies.saturating_add(connections)
    }

    /// What [`serve`] keeps to.
    pub fn limits(&self) -> Limits {
        Limits { max_connections: self.max_connections, receive_timeout: self.receive_timeout.get() }
    }

    /// The token, if clients must send one.
    fn token(&self) -> io::Result<Option<Secret>> {
        token(self.token.as_ref(), self.token_file.as_deref())
    }
}

/// Bytes that so many connections hold at most.
pub fn memory(connections: usize) -> usize {
    connections.saturating_mul(server::CONNECTION_BYTES)
}

/// Binds `listen`, if there is one. Must be called in a runtime. The error names the key to change.
pub fn bind(config: &Config) -> io::Result<Option<TcpListener>> {
    config.check().map_err(address::invalid)?;
    config.listen.as_deref().map(address::listen).transpose()
}

/// Listens at a socket that was passed on, instead of `listen` or the admin address. Must be called in a runtime. The
/// error names the key to change.
pub fn inherit(config: &Config, socket: Socket) -> io::Result<TcpListener> {
    config.check().map_err(address::invalid)?;
    address::inherit(socket)
}

/// The page `/ingest`, to be served at `bound`: by [`serve`], or merged with other pages. The server must give it
/// the peer as `ConnectInfo<SocketAddr>`. The error names the key to change.
pub fn router<B: Bodies>(
    config: &Config,
    bound: SocketAddr,
    intake: B,
    context: Context,
) -> io::Result<Router> {
    config.check().map_err(address::invalid)?;
    let guard = Guard::new(bound, &config.allowed_hosts, &config.allowed_origins, config.token()?);
    let page = Page {
        guard,
        intake,
        context,
        requests: Arc::new(Semaphore::new(config.max_requests)),
        max_body: config.max_body.bytes() as usize,
        receive_timeout: config.receive_timeout.get(),
    };
    let ingest = post(ingest::<B>).fallback(|| ready(Refusal::method_not_allowed()));
    Ok(Router::new().route("/ingest", ingest).with_state(Arc::new(page)))
}

/// What `/ingest` needs.
struct Page<B> {
    guard: Guard,
    intake: B,
    context: Context,
    requests: Arc<Semaphore>,
    max_body: usize,
    receive_timeout: std::time::Duration,
}

async fn ingest<B: Bodies>(State(page): State<Arc<Page<B>>>, request: Request) -> Result<Response, Refusal> {
    let counters = &page.context.counters;
    counters.datagrams.add(1);
    // Who may not send learns nothing else.
    page.guard.check(request.headers())?;
    if page.context.stop.is_cancelled() {
        return Err(BodyRefused::Stopping.into());
    }
    let permit = page.requests.clone().try_acquire_owned().map_err(|_| Refusal::too_many_requests())?;
    let key = idempotency_key(request.headers())?;
    let encoding = body::Encoding::of(request.headers())?;
    let peer = peer(&request);
    let received = tokio::select! {
        received = body::receive(request.into_body(), page.max_body) => received?,
        () = tokio::time::sleep(page.receive_timeout) => return Err(Refusal::too_slow()),
        () = page.context.stop.cancelled() => return Err(BodyRefused::Stopping.into()),
    };
    counters.bytes.add(received.len() as u64);
    let body = encoding.decode(received, page.max_body)?;
    let intake = page.intake.clone();
    // A task of its own: when the client goes away the request is dropped, but a body is taken whole.
    let taken = tokio::spawn(async move {
        let taken = intake.body(body, key, peer).await;
        drop(permit);
        taken
    });
    match taken.await {
        Ok(Ok(taken)) => Ok(answer::taken(&taken)),
        Ok(Err(refused)) => Err(refused.into()),
        Err(_) => {
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error: see the daemon's log"))
        }
    }
}

/// Who sends.
fn peer(request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

/// The longest `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.as_bytes().to_vec())),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the header Idempotency-Key must be sent once at most and have 1 to 255 bytes",
        )),
    }
}
