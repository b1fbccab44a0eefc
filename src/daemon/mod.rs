//! The daemon: builds all stages from the configuration, runs them, and drains them at the end.

mod check;
mod inherited;
mod journal;
mod listen_fds;
mod memory;
mod observe;
mod sinks;
mod sources;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin;
use crate::config::Config;
use crate::greeting::greeting;
use crate::pipeline::replay;
use crate::source::{Context, address, http};
use crate::status::Observed;
pub use check::{check, complete};
pub use inherited::{Inherited, Owner};
pub use listen_fds::{Passed, passed};
use observe::Running;
use sinks::Sinks;
pub use sinks::build;
use sources::Sources;

/// Probes, scrapers and people are few; lines come in by `/ingest` over this listener too.
const ADMIN_LIMITS: http::Limits =
    http::Limits { max_connections: 128, receive_timeout: Duration::from_secs(10) };

/// Letters are handed in again by so many bytes at once, or one by one if they are longer.
const REPLAY_BODY: usize = 512 << 10;

/// Bytes that `/replay` takes at once.
pub fn replay_body(config: &Config) -> usize {
    replay::longest(config.limits.protocol.max_line_bytes).max(REPLAY_BODY)
}

/// Runs until SIGTERM or SIGINT; where a listener inherits sockets it binds none. An error is one that kept it from
/// starting.
pub fn run(config: &Config, inherited: Inherited) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(serve(config, inherited));
    // Whatever still runs has had its time: a blocked file system must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

async fn serve(config: &Config, mut inherited: Inherited) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    memory::check(config).map_err(anyhow::Error::msg)?;
    let (finish, deadline) = watch::channel(None);
    let sinks = Sinks::start(config, &deadline)?;
    let stop = CancellationToken::new();
    for owner in inherited.owners() {
        info!("{owner}");
    }
    let listener = match inherited.take(&Owner::Admin).pop() {
        Some(socket) => address::inherit(socket),
        None => TcpListener::bind(config.admin.listen).await,
    }
    .with_context(|| format!("[admin] listen = \"{}\"", config.admin.listen))?;
    let address = listener.local_addr()?;
    let mut sources = Sources::start(config, inherited, &sinks.ingest, address, &stop).await?;
    let (ingest, counters) = sources.take_admin_router().unzip();
    let context = Context { stop: CancellationToken::new(), counters: counters.unwrap_or_default() };
    let running = Arc::new(Running::new(
        sources.observed(),
        Arc::clone(&sinks.ingest),
        sinks.built(),
        Arc::clone(&context.counters),
    ));
    let mut pages = admin::router(Arc::clone(&running) as Arc<dyn Observed>, &config.admin, address);
    let guard = config.admin.guard(address, config.admin.token()?);
    pages = pages.merge(admin::replay::router(Arc::clone(&sinks.ingest), guard, replay_body(config)));
    if let Some(ingest) = ingest {
        pages = pages.merge(ingest);
    }
    let last = context.stop.clone();
    let admin = tokio::spawn(http::serve(listener, pages, context, ADMIN_LIMITS));

    let greeting = greeting(&running.status(), address, config.file.is_none());
    // Whoever closed stderr does not want to be greeted; that is no reason to end.
    let _unread = std::io::stderr().write_all(greeting.as_bytes());
    notify(&[sd_notify::NotifyState::Ready]);
    while signals.next().await == Received::Reopen {
        info!("SIGHUP: files are opened again");
        sinks.reopen();
    }

    let timeout = config.general.shutdown_timeout.get();
    notify(&[sd_notify::NotifyState::Stopping]);
    info!(?timeout, "stopping: sources first, then what waits goes to the sinks");
    running.set_stopping();
    let end = Instant::now() + timeout;
    stop.cancel();
    sinks.ingest.dispatch.end();
    // What is late here is at the expense of the sinks.
    if tokio::time::timeout_at(end - timeout / 2, sources.ended()).await.is_err() {
        warn!("a source did not end in time");
    }
    sinks.ingest.dispatch.close();
    finish.send_replace(Some(end));
    let left = sinks.ended(end).await;
    last.cancel();
    let _aborted = tokio::time::timeout(Duration::from_millis(200), admin).await;
    if left.kept > 0 {
        info!(
            records = left.kept,
            "stopped at the deadline: these records are in the journal, for the next start"
        );
    }
    match left.dropped {
        0 if config.journal.enabled => info!(
            "stopped: every record that was taken was delivered, rejected or counted as dropped before, or is in the journal"
        ),
        0 => {
            info!("stopped: every record that was taken was delivered, rejected or counted as dropped before")
        }
        dropped => warn!(
            records = dropped,
            "stopped at the deadline: these records were left, and are counted as dropped"
        ),
    }
    Ok(())
}

/// Tells systemd, where it started us with `Type=notify`.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd could not be notified");
    }
}

/// The signals that it listens to. Made first, so that an early one is not deadly.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

#[derive(PartialEq)]
enum Received {
    Stop,
    Reopen,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received::Stop,
            _ = self.interrupt.recv() => Received::Stop,
            _ = self.hangup.recv() => Received::Reopen,
        }
    }
}
