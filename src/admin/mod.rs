//! The daemon's own pages: whether it is alive and ready, and all it counts. HTTP, for probes, scrapers and people.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use crate::secret::Secret;
use crate::source::http::{Guard, check_token, token};
use crate::status::{self, Observed};

mod metrics;
pub mod replay;

use metrics::Metrics;

/// The keys of `[admin]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `/health`, `/ready`, `/metrics` and `/status` are served, and `/ingest` of an `http` source that has
    /// no address of its own.
    pub listen: SocketAddr,
    /// Names that `Host` may have beside localhost and loopback addresses, where the address is a loopback one.
    pub allowed_hosts: Vec<String>,
    /// Pages that may ask: an `Origin` as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// What `/replay` asks for as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// A file whose first line is `token`.
    pub token_file: Option<PathBuf>,
    /// What beside the daemon itself must be well for `/ready` to answer 200.
    pub ready_requires: Vec<Requirement>,
}

/// What `ready_requires` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// No sink may be in trouble.
    Sinks,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8126)),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            token: None,
            token_file: None,
            ready_requires: Vec::new(),
        }
    }
}

impl Config {
    /// Whether the values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        check_token(self.token.as_ref(), self.token_file.as_deref())
    }

    /// Who may ask for pages at `bound`; those that say `token`, if there is one.
    pub fn guard(&self, bound: SocketAddr, token: Option<Secret>) -> Guard {
        Guard::new(bound, &self.allowed_hosts, &self.allowed_origins, token)
    }

    /// The token, if there is one. The error names the key.
    pub fn token(&self) -> std::io::Result<Option<Secret>> {
        token(self.token.as_ref(), self.token_file.as_deref())
    }
}

/// The pages, to be served at `bound`. Another router, that of HTTP ingest, may be merged with it.
pub fn router(observed: Arc<dyn Observed>, config: &Config, bound: SocketAddr) -> Router {
    let sinks_are_required = config.ready_requires.contains(&Requirement::Sinks);
    let page = Page { observed, metrics: Arc::new(Metrics::new()), sinks_are_required };
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/status", get(|State(page): State<Page>| async move { Json(page.observed.status()) }))
        .with_state(page)
        .route_layer(from_fn_with_state(Arc::new(config.guard(bound, None)), guarded))
        // It says nothing, and probes ask for it by any name.
        .route("/health", get(|| async { "alive\n" }))
}

/// What the daemon says of itself names files, hosts and errors: pages of other sites that a browser shows may not read it.
async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

const INDEX: &str = "\
kaneda, the metrics daemon

/status   all it counts, as JSON
/metrics  the same for Prometheus
/ready    200 while reports can be taken; sinks and queues in trouble are named
/health   200 while the process is alive
/ingest   POST lines here, where an http source is configured without an address of its own
/replay   POST dead letters here, to be sent again: kaneda replay
";

/// What the pages need.
#[derive(Clone)]
struct Page {
    observed: Arc<dyn Observed>,
    metrics: Arc<Metrics>,
    sinks_are_required: bool,
}

async fn metrics_text(State(page): State<Page>) -> Response {
    let text = page.metrics.render(&page.observed.status());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// A store that is away is named, but it is no reason to take traffic from the service beside this daemon: what
/// is reported meanwhile is kept and sent later. So it is 503 for it only where that was asked for.
async fn ready(State(page): State<Page>) -> Response {
    let status = page.observed.status();
    let sinks = status.sinks.iter().map(|sink| (&sink.name, sink.state, &sink.last_error));
    let sinks_in_trouble = Trouble::of(sinks);
    let queues =
        status.sources.iter().filter_map(|source| Some((&source.name, source.state?, &source.last_error)));
    let queues_in_trouble = Trouble::of(queues);
    let journal = status.journal.filter(|journal| journal.state != status::JournalState::Ok);
    let journal =
        journal.map(|journal| JournalTrouble { state: journal.state, last_error: journal.last_error });
    let refusal = page.observed.taking().err();
    let is_ready = refusal.is_none() && (sinks_in_trouble.is_empty() || !page.sinks_are_required);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Readiness { ready: is_ready, reason: refusal, sinks_in_trouble, queues_in_trouble, journal };
    (code, Json(body)).into_response()
}

/// The body of `/ready`.
#[derive(serde::Serialize)]
struct Readiness {
    ready: bool,
    /// Why no reports are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    sinks_in_trouble: Vec<Trouble>,
    /// Sources whose broker is away: what is there waits there, and nobody else is kept from reporting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queues_in_trouble: Vec<Trouble>,
    /// There only if it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalTrouble>,
}

/// A journal that is full, or whose disk fails.
#[derive(serde::Serialize)]
struct JournalTrouble {
    state: status::JournalState,
    last_error: Option<String>,
}

/// A sink, or the source of a queue, that is not `ok`.
#[derive(serde::Serialize)]
struct Trouble {
    name: String,
    state: status::State,
    last_error: Option<String>,
}

impl Trouble {
    /// Those that are not `ok`, of parts with their names and last errors.
    fn of<'a>(parts: impl Iterator<Item = (&'a String, status::State, &'a Option<String>)>) -> Vec<Trouble> {
        parts
            .filter(|(_, state, _)| *state != status::State::Ok)
            .map(|(name, state, last_error)| Trouble {
                name: name.clone(),
                state,
                last_error: last_error.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
