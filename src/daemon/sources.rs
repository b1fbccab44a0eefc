//! The ingest side of the daemon: every source with its socket, its intake and its counters.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::{self, Config, SourceKind};
use crate::pipeline::Ingest;
use crate::pipeline::body::Body;
use crate::pipeline::datagram::Datagram;
use crate::pipeline::stream::Stream;
use crate::record::{Dialect, Origin};
use crate::source::{Context, Counters, http, stream, tcp, udp, unix, unixgram};

/// In `hostname`: the sender's address.
const PEER: &str = "peer";

/// The running sources.
pub(super) struct Sources {
    running: Vec<Source>,
    tasks: Vec<JoinHandle<()>>,
    admin_router: Option<axum::Router>,
}

/// What is known of a running source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) listen: String,
    pub(super) counters: Arc<Counters>,
}

impl Sources {
    /// Binds and starts every source; an `http` one without an address of its own belongs to `admin`. They end at
    /// `stop`.
    pub(super) fn start(
        config: &Config,
        ingest: &Arc<Ingest>,
        admin: SocketAddr,
        stop: &CancellationToken,
    ) -> anyhow::Result<Sources> {
        let machine = match &config.general.hostname {
            Some(name) => name.clone(),
            None => gethostname::gethostname().to_string_lossy().into_owned(),
        };
        let max_line = config.limits.protocol.max_line_bytes;
        let mut sources = Sources { running: Vec::new(), tasks: Vec::new(), admin_router: None };
        for source in &config.sources {
            let start = Start { source, machine: &machine, ingest, admin, max_line, stop };
            sources.add(start).with_context(|| format!("source {}", source.name))?;
        }
        Ok(sources)
    }

    fn add(&mut self, start: Start<'_>) -> anyhow::Result<()> {
        let counters = Arc::new(Counters::default());
        let context = Context { stop: start.stop.clone(), counters: Arc::clone(&counters) };
        let listen = match &start.source.kind {
            SourceKind::Udp(config) => {
                let (origin, _) = start.origin(config.dialect, config.hostname.as_deref());
                let mut listen = String::new();
                for socket in udp::bind(config)? {
                    listen = socket.local_addr()?.to_string();
                    let intake = Datagram::new(Arc::clone(start.ingest), origin.clone());
                    let worker = udp::spawn(socket, intake, context.clone(), config)?;
                    let name = start.source.name.clone();
                    self.tasks.push(tokio::task::spawn_blocking(move || {
                        if worker.join().is_err() {
                            error!(
                                source = name,
                                "the source's thread panicked: it receives nothing any more"
                            );
                        }
                    }));
                }
                listen
            }
            SourceKind::Tcp(config) => {
                let listener = tcp::bind(config)?;
                let listen = listener.local_addr()?.to_string();
                let intake = start.streams(config.dialect, config.hostname.as_deref());
                self.tasks.push(tokio::spawn(stream::run(
                    listener,
                    intake,
                    context,
                    config.limits(start.max_line),
                )));
                listen
            }
            SourceKind::Unix(config) => {
                let bound = unix::bind(config)?;
                let intake = start.streams(config.dialect, config.hostname.as_deref());
                self.tasks.push(tokio::spawn(stream::run(
                    bound,
                    intake,
                    context,
                    config.limits(start.max_line),
                )));
                config.listen.display().to_string()
            }
            SourceKind::Unixgram(config) => {
                let bound = unixgram::bind(config)?;
                let (origin, _) = start.origin(config.dialect, config.hostname.as_deref());
                let intake = Datagram::new(Arc::clone(start.ingest), origin);
                self.tasks.push(tokio::spawn(unixgram::run(bound, intake, context, config.clone())));
                config.listen.display().to_string()
            }
            SourceKind::Http(config) => {
                let (origin, has_peers) = start.origin(config.dialect, config.hostname.as_deref());
                let intake = Body::new(Arc::clone(start.ingest), origin, has_peers);
                let own = http::bind(config)?;
                let address = own.as_ref().map_or(Ok(start.admin), |listener| listener.local_addr())?;
                let router = http::router(config, address, intake, context.clone())?;
                match own {
                    Some(listener) => {
                        self.tasks.push(tokio::spawn(http::serve(
                            listener,
                            router,
                            context,
                            config.limits(),
                        )));
                    }
                    None if self.admin_router.is_some() => {
                        bail!("a second http source without `listen`: only one can be on the admin address")
                    }
                    None => self.admin_router = Some(router),
                }
                address.to_string()
            }
        };
        self.running.push(Source {
            name: start.source.name.clone(),
            kind: start.source.kind.word(),
            listen,
            counters,
        });
        Ok(())
    }

    /// The pages of `http` sources without an address of their own.
    pub(super) fn take_admin_router(&mut self) -> Option<axum::Router> {
        self.admin_router.take()
    }

    /// What is known of each, in the order of the configuration.
    pub(super) fn observed(&self) -> Vec<Source> {
        self.running.clone()
    }

    /// Waits for the end of all.
    pub(super) async fn ended(self) {
        for task in self.tasks {
            // A source that panicked has ended too; the panic was told.
            let _ended = task.await;
        }
    }
}

/// What it takes to start a source.
#[derive(Clone, Copy)]
struct Start<'a> {
    source: &'a config::Source,
    machine: &'a str,
    ingest: &'a Arc<Ingest>,
    admin: SocketAddr,
    max_line: usize,
    stop: &'a CancellationToken,
}

impl Start<'_> {
    /// What its lines have in common, and whether their host is the sender's address.
    fn origin(self, dialect: Dialect, hostname: Option<&str>) -> (Origin, bool) {
        let host = hostname.filter(|name| *name != PEER).unwrap_or(self.machine);
        let origin = Origin { source: self.source.name.as_str().into(), dialect, host: host.into() };
        (origin, hostname == Some(PEER))
    }

    /// Makes the intakes of connections.
    fn streams(
        self,
        dialect: Dialect,
        hostname: Option<&str>,
    ) -> impl Fn(Option<std::net::IpAddr>) -> Stream + use<> {
        let (origin, has_peers) = self.origin(dialect, hostname);
        let ingest = Arc::clone(self.ingest);
        move |peer| Stream::new(Arc::clone(&ingest), origin.clone(), peer.filter(|_| has_peers))
    }
}
