//! What the daemon says about itself: the answer of `/status`, from which `/ready` and `/metrics` follow.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};

/// Counts by reason; each reason is one word.
pub type Reasons = BTreeMap<Cow<'static, str>, u64>;

/// These counts, by their names.
pub fn counts(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Reasons {
    counts.into_iter().map(|(name, count)| (Cow::Borrowed(name), count)).collect()
}

/// Those that are not 0: there are many reasons, and few are met.
fn met<S: Serializer>(reasons: &Reasons, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(reasons.iter().filter(|(_, count)| **count > 0))
}

/// A running daemon, seen from outside.
pub trait Observed: Send + Sync + 'static {
    /// All numbers as they are now.
    fn status(&self) -> Status;

    /// Whether reports can be taken; if not, why: `starting`, `stopping`, or a sentence.
    fn taking(&self) -> Result<(), String>;
}

/// Everything counts since this start of the daemon, but the terms of sinks: with a journal, those count since it was
/// made. Members may be added, never renamed: others read them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Of the daemon.
    pub version: &'static str,
    /// Since the start.
    pub uptime_seconds: u64,
    /// In the order of the configuration.
    pub sources: Vec<Source>,
    /// Of all sources together.
    pub lines: Lines,
    /// Records parsed from the accepted lines.
    pub records: u64,
    /// In the order of the configuration.
    pub sinks: Vec<Sink>,
    /// Whatever else is counted; `words_like_this` become `kaneda_words_like_this_total`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Reasons,
    /// What can go down; `words_like_this` become `kaneda_words_like_this`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gauges: Reasons,
    /// Where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
}

/// The journal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Journal {
    /// The folder of its files.
    pub path: String,
    /// How it fares.
    pub state: JournalState,
    /// What kept it from writing last; stays after it recovered.
    pub last_error: Option<String>,
    /// Bytes of all its segments.
    pub bytes: u64,
    /// How many there are.
    pub segments: u64,
    /// The sequence number up to which chunks are on disk for sure.
    pub durable: u64,
    /// What it counts; `words` become `kaneda_journal_words_total`.
    pub counters: Reasons,
}

/// How the journal fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JournalState {
    /// It takes chunks.
    #[default]
    Ok,
    /// It is at `max_size`, and `on_full = "stop"`.
    Full,
    /// The disk is in trouble: reports are in memory only.
    Memory,
}

/// One source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Source {
    /// From the configuration.
    pub name: String,
    /// `udp`, `tcp`, `unix`, `unixgram`, `http`, `zmq`, `celery` or `rq`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The address it is bound to, with the real port, or its path.
    pub listen: String,
    /// Datagrams received; for streams, HTTP and queues reads, requests and messages.
    pub datagrams: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Datagrams the kernel dropped.
    pub kernel_drops: u64,
    /// Datagrams that were longer than `max_datagram`.
    pub truncated: u64,
    /// Connections open now.
    pub connections: u64,
    /// How its connection to a broker fares; only of queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What its broker said last when something failed; stays after it recovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What only this type counts; `words` become `kaneda_source_words_total`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Reasons,
}

/// Lines of all sources: `received = accepted + skipped + rejected`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Lines {
    /// All.
    pub received: u64,
    /// Those that gave records.
    pub accepted: u64,
    /// Blank and control lines.
    pub skipped: u64,
    /// Those that were refused, by reason; also by those that none was refused for.
    #[serde(serialize_with = "met")]
    pub rejected: Reasons,
}

/// One sink: `accepted = delivered + waiting + rejected + dropped`, in records, each term counted by itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sink {
    /// From the configuration.
    pub name: String,
    /// `sqlite`, `log`, `influxdb` or `null`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where its records go: a file, or an address; empty: nowhere.
    pub place: String,
    /// What "delivered" means there; left out where nothing is kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durability: String,
    /// How it fares.
    pub state: State,
    /// What it said last when something failed; stays after it recovered.
    pub last_error: Option<String>,
    /// Records that were meant for it.
    pub accepted: u64,
    /// Records it stored.
    pub delivered: u64,
    /// Records in its ring, its backlog, in hand, and in the journal.
    pub waiting: u64,
    /// Records it refused for good, by reason.
    #[serde(serialize_with = "met")]
    pub rejected: Reasons,
    /// Records that were lost before they reached it, by reason; also by those that none was lost for.
    #[serde(serialize_with = "met")]
    pub dropped: Reasons,
    /// What else its drain or itself counts; `words` become `kaneda_sink_words_total`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Reasons,
    /// What can go down; `words` become `kaneda_sink_words`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gauges: Reasons,
}

/// How a part fares that needs another system: a sink its store, a queue its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The other system answers, or was not asked yet.
    #[default]
    Ok,
    /// It is away, and is tried again; a sink tries the same batch.
    Retrying,
    /// It takes nothing more.
    Stopped,
}

impl State {
    /// The word in `/status`.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Retrying => "retrying",
            State::Stopped => "stopped",
        }
    }
}

/// The state of such a part, and its last error.
#[derive(Debug, Default)]
pub struct Condition(Mutex<(State, Option<String>)>);

impl Condition {
    /// State and last error.
    pub fn get(&self) -> (State, Option<String>) {
        self.lock().clone()
    }

    /// A new state. The last error stays until there is another.
    pub fn set(&self, state: State) {
        self.lock().0 = state;
    }

    /// Something went wrong.
    pub fn fail(&self, state: State, error: String) {
        *self.lock() = (state, Some(error));
    }

    fn lock(&self) -> MutexGuard<'_, (State, Option<String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
