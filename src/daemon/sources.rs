//! The ingest side of the daemon: every source with its socket, its intake and its counters.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use socket2::Socket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::inherited::{Inherited, Owner};
use crate::config::{self, Config, SourceKind};
use crate::pipeline::Ingest;
use crate::pipeline::body::Body;
use crate::pipeline::datagram::Datagram;
#[cfg(feature = "queue")]
use crate::pipeline::letter;
#[cfg(feature = "queue")]
use crate::pipeline::queue::{Letters, Queue};
use crate::pipeline::stream::Stream;
use crate::record::{Dialect, Origin};
#[cfg(feature = "celery")]
use crate::source::celery;
#[cfg(feature = "rq")]
use crate::source::rq;
#[cfg(feature = "zmq")]
use crate::source::zmq;
use crate::source::{Context, Counters, http, stream, tcp, udp, unix, unixgram};
#[cfg(feature = "queue")]
use crate::unit::Size;

/// In `hostname`: the sender's address.
const PEER: &str = "peer";

/// The running sources.
pub(super) struct Sources {
    running: Vec<Source>,
    tasks: Vec<JoinHandle<()>>,
    /// With the counters of their source.
    admin_router: Option<(axum::Router, Arc<Counters>)>,
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
    /// Binds and starts every source, with the sockets that it inherits if there are any; an `http` one without an address of its own belongs to `admin`. They end at
    /// `stop`.
    pub(super) async fn start(
        config: &Config,
        mut inherited: Inherited,
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
            let sockets = inherited.take(&Owner::Source(source.name.clone()));
            sources.add(start, sockets).await.with_context(|| format!("source {}", source.name))?;
        }
        Ok(sources)
    }

    async fn add(&mut self, start: Start<'_>, mut inherited: Vec<Socket>) -> anyhow::Result<()> {
        let counters = Arc::new(Counters::default());
        let context = Context { stop: start.stop.clone(), counters: Arc::clone(&counters) };
        let listen = match &start.source.kind {
            SourceKind::Udp(config) => {
                let (origin, _) = start.origin(config.dialect, config.hostname.as_deref());
                let mut listen = String::new();
                let sockets = match inherited.is_empty() {
                    true => udp::bind(config)?,
                    false => udp::inherit(config, inherited)?,
                };
                for socket in sockets {
                    counters.kernel_drops_inherited.add(socket.dropped_before());
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
                let listener = match inherited.pop() {
                    Some(socket) => tcp::inherit(config, socket)?,
                    None => tcp::bind(config)?,
                };
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
                let bound = match inherited.pop() {
                    Some(socket) => unix::inherit(config, socket)?,
                    None => unix::bind(config)?,
                };
                let listen = bound.listen()?;
                let intake = start.streams(config.dialect, config.hostname.as_deref());
                self.tasks.push(tokio::spawn(stream::run(
                    bound,
                    intake,
                    context,
                    config.limits(start.max_line),
                )));
                listen
            }
            SourceKind::Unixgram(config) => {
                let bound = match inherited.pop() {
                    Some(socket) => unixgram::inherit(config, socket)?,
                    None => unixgram::bind(config)?,
                };
                let listen = bound.listen()?;
                let (origin, _) = start.origin(config.dialect, config.hostname.as_deref());
                let intake = Datagram::new(Arc::clone(start.ingest), origin);
                self.tasks.push(tokio::spawn(unixgram::run(bound, intake, context, config.clone())));
                listen
            }
            SourceKind::Http(config) => {
                let (origin, has_peers) = start.origin(config.dialect, config.hostname.as_deref());
                let intake = Body::new(Arc::clone(start.ingest), origin, has_peers);
                let own = match inherited.pop() {
                    Some(socket) => Some(http::inherit(config, socket)?),
                    None => http::bind(config)?,
                };
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
                    None => self.admin_router = Some((router, Arc::clone(&counters))),
                }
                address.to_string()
            }
            #[cfg(feature = "zmq")]
            SourceKind::Zmq(config) => {
                let sockets = zmq::bind(config)?;
                let urls: Vec<_> = sockets.iter().map(|socket| socket.url().to_owned()).collect();
                for socket in sockets {
                    let intake =
                        start.queue(config.hostname.as_deref(), config.dead_letters_max_size, &counters);
                    self.tasks.push(tokio::spawn(zmq::run(socket, intake, context.clone(), config.clone())));
                }
                urls.join(", ")
            }
            #[cfg(feature = "celery")]
            SourceKind::Celery(config) => {
                let worker = celery::worker(config, &start.source.name)?;
                let place = worker.place();
                let intake = start.queue(config.hostname.as_deref(), config.dead_letters_max_size, &counters);
                self.tasks.push(tokio::spawn(celery::run(worker, intake, context, config.clone())));
                place
            }
            #[cfg(feature = "rq")]
            SourceKind::Rq(config) => {
                let worker = rq::worker(config, &start.source.name)?;
                let place = worker.place();
                let intake = start.queue(config.hostname.as_deref(), config.dead_letters_max_size, &counters);
                self.tasks.push(tokio::spawn(rq::run(worker, intake, context, config.clone())));
                place
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

    /// The page of the `http` source without an address of its own, and what counts its connections.
    pub(super) fn take_admin_router(&mut self) -> Option<(axum::Router, Arc<Counters>)> {
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

    /// The intake of a queue.
    #[cfg(feature = "queue")]
    fn queue(self, hostname: Option<&str>, letters_max_size: Size, counters: &Arc<Counters>) -> Queue {
        let (origin, _) = self.origin(Dialect::Kaneda, hostname);
        let letters = Letters::new(letters(self.source), letters_max_size.bytes());
        Queue::new(Arc::clone(self.ingest), origin, Arc::clone(counters), letters)
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

/// Whether a source has all that it needs of this machine, as files of TLS. What is not there is said by its key.
pub(super) fn check(source: &config::Source) -> std::io::Result<()> {
    match &source.kind {
        #[cfg(feature = "celery")]
        SourceKind::Celery(config) => celery::worker(config, &source.name).map(drop),
        #[cfg(feature = "rq")]
        SourceKind::Rq(config) => rq::worker(config, &source.name).map(drop),
        // What it binds is bound at the start.
        _ => Ok(()),
    }
}

/// The file of a queue's dead letters.
#[cfg(feature = "queue")]
pub(super) fn letters(source: &config::Source) -> Option<std::path::PathBuf> {
    let dead_letters = match &source.kind {
        #[cfg(feature = "zmq")]
        SourceKind::Zmq(config) => config.dead_letters.as_deref(),
        #[cfg(feature = "celery")]
        SourceKind::Celery(config) => config.dead_letters.as_deref(),
        #[cfg(feature = "rq")]
        SourceKind::Rq(config) => config.dead_letters.as_deref(),
        _ => return None,
    };
    letter::Config::path(dead_letters, &format!("source-{}", source.name))
}
