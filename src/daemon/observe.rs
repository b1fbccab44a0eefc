//! The running daemon, seen from outside: `/status`, `/ready` and `/metrics` come from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::sources::Source;
use crate::journal::{Journal, Room};
use crate::pipeline::ledger::{Drop, LineTerms};
use crate::pipeline::{Ingest, Lane};
use crate::protocol::Reason;
use crate::sink::Sink;
use crate::source::Counters;
use crate::status::{self, JournalState, Observed, Reasons, State, Status, counts};

/// All that can be asked while it runs.
pub(super) struct Running {
    started: Instant,
    sources: Vec<Source>,
    ingest: Arc<Ingest>,
    sinks: Vec<Arc<dyn Sink>>,
    /// Of the admin pages.
    admin: Arc<Counters>,
    stopping: AtomicBool,
}

impl Running {
    pub(super) fn new(
        sources: Vec<Source>,
        ingest: Arc<Ingest>,
        sinks: Vec<Arc<dyn Sink>>,
        admin: Arc<Counters>,
    ) -> Self {
        Running { started: Instant::now(), sources, ingest, sinks, admin, stopping: AtomicBool::new(false) }
    }

    /// From now on it takes no reports.
    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Observed for Running {
    fn status(&self) -> Status {
        let terms = self.ingest.lines.terms();
        let lanes = self.ingest.dispatch.lanes();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            sources: self.sources.iter().map(source).collect(),
            lines: lines(&terms),
            records: terms.records,
            sinks: lanes.iter().zip(&self.sinks).map(|(lane, built)| sink(lane, built.as_ref())).collect(),
            counters: counts([
                ("lines_not_utf8", terms.not_utf8),
                ("fields_ignored", terms.ignored),
                ("letters_replayed", self.ingest.replayed.get()),
                ("admin_connections_refused", self.admin.connections_refused.get()),
                ("admin_connections_idle_closed", self.admin.idle_closed.get()),
            ]),
            gauges: Reasons::new(),
            journal: self.ingest.dispatch.journal().map(|journal| self::journal(journal)),
        }
    }

    fn taking(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Acquire) {
            return Err("stopping".to_owned());
        }
        match self.ingest.dispatch.journal().map(|journal| journal.view().room) {
            Some(Room::Full) => {
                Err("the journal is full: a sink is behind, see /status; raise [journal] max_size, or set on_full".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn source(source: &Source) -> status::Source {
    let counters = &source.counters;
    let own = counts([
        ("connections_opened", counters.connections_total.get()),
        ("connections_refused", counters.connections_refused.get()),
        ("connections_idle_closed", counters.idle_closed.get()),
        ("lines_cut", counters.lines_cut.get()),
        ("kernel_drops_inherited", counters.kernel_drops_inherited.get()),
    ]);
    let (state, last_error) = condition(source).unzip();
    status::Source {
        name: source.name.clone(),
        kind: source.kind,
        listen: source.listen.clone(),
        datagrams: counters.datagrams.get(),
        bytes: counters.bytes.get(),
        kernel_drops: counters.kernel_drops.get(),
        truncated: counters.truncated.get(),
        connections: counters.connections.get(),
        state,
        last_error: last_error.flatten(),
        counters: own.into_iter().chain(queue(source)).collect(),
    }
}

fn journal(journal: &Journal) -> status::Journal {
    let view = journal.view();
    let counters = journal.counters();
    status::Journal {
        state: match view.room {
            Room::Yes => JournalState::Ok,
            Room::Full => JournalState::Full,
            Room::Away => JournalState::Memory,
        },
        path: journal.path().to_owned(),
        last_error: view.last_error,
        bytes: view.size,
        segments: if view.is_open { view.closed.len() as u64 + 1 } else { 0 },
        durable: view.durable,
        counters: counts([
            ("entries", counters.entries.get()),
            ("entry_bytes", counters.bytes.get()),
            ("syncs", counters.syncs.get()),
            ("failures", counters.failures.get()),
            ("entries_not_written", counters.not_written.get()),
            ("entries_carried", counters.carried.get()),
            ("corrupt_stretches", counters.corrupt_entries.get()),
            ("corrupt_bytes", counters.corrupt_bytes.get()),
            ("entries_miscounted", counters.miscounted.get()),
            ("unread_segments", counters.unread_segments.get()),
            ("torn_bytes", counters.torn_bytes.get()),
            ("segments_removed_early", counters.removed_segments.get()),
            ("records_removed_of_orphans", counters.removed_of_orphans.get()),
        ]),
    }
}

/// Whether its messages come from a queue.
#[cfg(feature = "queue")]
fn is_queue(source: &Source) -> bool {
    ["celery", "rq", "zmq"].contains(&source.kind)
}

/// How the source of a queue fares; others need nobody.
#[cfg(feature = "queue")]
fn condition(source: &Source) -> Option<(State, Option<String>)> {
    is_queue(source).then(|| source.counters.queue.condition.get())
}

#[cfg(not(feature = "queue"))]
fn condition(_: &Source) -> Option<(State, Option<String>)> {
    None
}

/// What the source of a queue counts; others nothing.
#[cfg(feature = "queue")]
fn queue(source: &Source) -> Reasons {
    if !is_queue(source) {
        return Reasons::new();
    }
    let queue = &source.counters.queue;
    counts([
        ("messages", queue.messages.get()),
        ("messages_taken", queue.taken.get()),
        ("messages_known", queue.known.get()),
        ("messages_unread", queue.unread.get()),
        ("messages_returned", queue.returned.get()),
        ("messages_expired", queue.expired.get()),
        ("messages_restored", queue.restored.get()),
        ("messages_acknowledged", queue.acknowledged.get()),
        ("results", queue.results.get()),
        ("results_failed", queue.results_failed.get()),
        ("letters_failed", queue.letters_failed.get()),
    ])
}

#[cfg(not(feature = "queue"))]
fn queue(_: &Source) -> Reasons {
    Reasons::new()
}

fn lines(terms: &LineTerms) -> status::Lines {
    status::Lines {
        received: terms.received,
        accepted: terms.accepted,
        skipped: terms.skipped,
        rejected: counts(Reason::ALL.map(|reason| (reason.code(), terms.rejected[reason as usize]))),
    }
}

fn sink(lane: &Lane, built: &dyn Sink) -> status::Sink {
    let terms = lane.ledger.terms();
    let (state, last_error) = lane.health.condition.get();
    let health = &lane.health;
    let mut counters = counts([
        ("batches", health.batches.load(Ordering::Relaxed)),
        ("retries", health.retries.load(Ordering::Relaxed)),
        ("splits", health.splits.load(Ordering::Relaxed)),
        ("miscounts", health.miscounts.load(Ordering::Relaxed)),
    ]);
    let letters = &lane.letters;
    counters.extend(counts([
        ("letters_written", letters.written.get()),
        ("letters_bytes", letters.bytes.get()),
        ("letters_repeated", letters.repeated.get()),
        ("letters_deleted", letters.deleted.get()),
        ("letters_failed", letters.failed.get()),
        ("letters_lost", letters.lost.get()),
    ]));
    counters.extend(counts(built.counters()));
    status::Sink {
        name: lane.name.to_string(),
        kind: lane.kind,
        place: built.place(),
        durability: built.durability(),
        state,
        last_error,
        accepted: terms.accepted,
        delivered: terms.delivered,
        waiting: terms.waiting,
        rejected: terms.rejected,
        dropped: counts(Drop::ALL.map(|why| (why.code(), terms.dropped[why as usize]))),
        counters,
        gauges: counts([
            ("held_bytes", health.held_bytes.load(Ordering::Relaxed)),
            ("letters_waiting", letters.waiting.get()),
        ]),
    }
}
