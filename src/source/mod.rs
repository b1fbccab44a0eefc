//! Where reports come in. A source does sockets and framing; what it reads it hands to an *intake*.
//!
//! A source knows nothing of lines' meaning, of queues or of sinks: the pipeline implements these traits.
//! Every source takes its bound socket and its stop signal as arguments.

pub mod address;
#[cfg(feature = "celery")]
pub mod celery;
pub mod framing;
pub mod http;
#[cfg(feature = "message")]
pub mod queue;
#[cfg(feature = "rq")]
pub mod rq;
pub mod socket_file;
pub mod stream;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod unixgram;
#[cfg(feature = "zmq")]
pub mod zmq;

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

#[cfg(feature = "queue")]
use crate::status::Condition;
use crate::telemetry::Counter;

/// Takes datagrams. It never waits: what no ring has room for is dropped there and counted.
///
/// The source calls `begin_read` after each system call that brought something, `datagram` for each datagram of
/// it in order, and `flush` when the burst ends or `max_latency` has passed since the first byte that was not
/// flushed. The intake flushes by itself when a chunk is full.
pub trait Datagrams: Send + 'static {
    /// What follows came in one read, now: so many `bytes`, and one more for each datagram of it.
    fn begin_read(&mut self, bytes: usize);

    /// One datagram. If it was `truncated`, the text behind its last LF is refused.
    fn datagram(&mut self, bytes: &[u8], truncated: bool, peer: Option<IpAddr>);

    /// Whether anything was taken and not flushed.
    fn is_waiting(&self) -> bool;

    /// Sends off what was taken.
    fn flush(&mut self);
}

/// Takes the lines of one connection.
///
/// The source calls `lines` with blocks of whole lines, and `flush` when nothing more is there to read at once.
/// `flush` waits while sinks that stop streams (`when_full = "wait"`) have no room: the source does not read
/// meanwhile, and so the sender is held back. It must end soon after the daemon was told to stop: the source waits
/// for it and never drops it half done. Of the intakes of a source at most [`stream::TURNS`] hold lines that are
/// not flushed.
pub trait Lines: Send + 'static {
    /// What `sync` gives: done when all reports of this connection so far are durable or decided.
    type Synced: Future<Output = Synced> + Send + 'static;

    /// Takes `block`, which is not empty and ends with LF or with the end of the stream, up to a control line or
    /// until the chunk is full. The caller flushes after `Full`, and calls again with what is left. The first block of a connection is
    /// the start of its stream.
    fn lines(&mut self, block: &[u8]) -> Taken;

    /// A line that was longer than the limit: it was not kept, only counted here.
    fn too_long(&mut self);

    /// Sends off what was taken.
    fn flush(&mut self) -> impl Future<Output = ()> + Send;

    /// `!sync`, after `flush`: what has come of the lines since the last call. Answers are in the order of calls.
    fn sync(&mut self) -> Self::Synced;
}

/// How far `lines` came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the block that are done with, a control line included.
    pub bytes: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// Why `lines` stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The block was taken whole.
    End,
    /// The chunk is full.
    Full,
    /// `!ping` was met.
    Ping,
    /// `!sync` was met.
    Sync,
}

/// The answer to `!sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Lines since the last answer that were taken.
    pub accepted: u64,
    /// Lines since the last answer that were refused.
    pub rejected: u64,
    /// Why they cannot all be called stored; `None`: they are.
    pub error: Option<String>,
}

/// Takes whole bodies of lines, each at once or not at all.
pub trait Bodies: Clone + Send + Sync + 'static {
    /// Takes `body`. With `key` (an `Idempotency-Key`, 1 to 255 bytes) its reports get ids of ours that are the same
    /// whenever this body comes again. Done when all its reports are durable or decided, `sync_timeout` is over, or
    /// soon after the daemon was told to stop. Never dropped before.
    fn body(
        &self,
        body: Vec<u8>,
        key: Option<Vec<u8>>,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = Result<BodyTaken, BodyRefused>> + Send;
}

/// The body was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyTaken {
    /// Lines that were taken.
    pub accepted: u64,
    /// Lines that were refused.
    pub rejected: u64,
    /// The first of the refused lines.
    pub errors: Vec<LineError>,
    /// Why its reports cannot all be called stored; `None`: they are.
    pub error: Option<String>,
}

/// Nothing of the body was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRefused {
    /// It holds more records than a body may.
    TooManyRecords,
    /// A sink that stops streams has no room, and had none for as long as a request may wait.
    NoRoom,
    /// The daemon is shutting down.
    Stopping,
}

/// A refused line of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// From 1, blank lines too.
    pub line: u64,
    /// The reason, one word.
    pub code: &'static str,
    /// The reason, a sentence.
    pub reason: String,
}

/// Refused lines that an answer lists.
pub const LISTED_ERRORS: usize = 100;

/// Takes the messages of a queue, each one report.
///
/// The source calls `as_it_came`, `message` or `unread` for each message in order, and `flush` when one of them has no room, or when
/// nothing more is there to take at once. What a flush gives says when the queue's broker may forget what was taken
/// before it; the source acknowledges that, and then calls `forget`. `flush` waits while sinks that stop streams
/// have no room: the source takes nothing meanwhile, and so the queue keeps what it has.
#[cfg(feature = "queue")]
pub trait Messages: Send + 'static {
    /// What `flush` gives: done when all messages since the flush before are durable or decided.
    type Kept: Future<Output = Kept> + Send + 'static;

    /// Messages that are taken as they came from now on were received now.
    fn begin_read(&mut self) {}

    /// Takes a message without an id that is a report of the protocol as it came. None: it is none, and nothing came of
    /// it; the source reads it, and calls `message` or `unread`.
    fn as_it_came(&mut self, _: &[u8]) -> Option<Took> {
        None
    }

    /// Takes a message that was read.
    fn message(&mut self, message: &Message<'_>) -> Took;

    /// Takes a message that cannot be read: it becomes a dead letter of this source.
    fn unread(&mut self, message: &Unread<'_>) -> Took;

    /// Sends off what was taken.
    fn flush(&mut self) -> impl Future<Output = Self::Kept> + Send;

    /// Somebody waits for a flush: every sink stores what it has now.
    fn hurry(&self);

    /// The broker has confirmed that it will not deliver the message with this id again.
    fn forget(&mut self, id: &str);
}

/// A message that was read.
#[cfg(feature = "queue")]
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// A JSON report of the protocol, without a line feed.
    pub line: &'a [u8],
    /// What the queue calls the message: the id of its report if that has none of its own, and how a message is known
    /// that is delivered again. None: the queue has no ids, and the report gets one of ours.
    pub id: Option<&'a str>,
    /// When it was first received, nanoseconds since 1970. None: now.
    pub received: Option<i64>,
}

/// A message that cannot be read as a report.
#[cfg(feature = "queue")]
#[derive(Debug, Clone, Copy)]
pub struct Unread<'a> {
    /// As it came.
    pub bytes: &'a [u8],
    /// What the queue calls it.
    pub id: Option<&'a str>,
    /// Why, in one word.
    pub code: &'static str,
    /// Why, in a sentence.
    pub reason: &'a str,
}

/// What came of a message.
#[cfg(feature = "queue")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Took {
    /// It was taken.
    Taken,
    /// It was here before and is not taken again; the next flush answers for it too.
    Known,
    /// It was not taken: flush, and call again.
    Full,
    /// It is no report by the rules of the protocol, and became a dead letter. A word and a sentence.
    Refused(&'static str, &'static str),
}

/// What became of the messages of a flush.
#[cfg(feature = "queue")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All are stored, or are dead letters of this source.
    Stored,
    /// A sink rejected or dropped one for good, which is counted there.
    Decided,
    /// One was lost because the daemon is ending, or its dead letter could not be written: the queue must keep them.
    Lost,
}

/// What every source is given beside its socket and its intake.
#[derive(Debug, Clone)]
pub struct Context {
    /// Ends the source: it takes what it has read, and returns.
    pub stop: CancellationToken,
    /// Its counters, for `/status` and `/metrics`.
    pub counters: std::sync::Arc<Counters>,
}

/// What a source counts by itself. Lines and records are counted by its intake.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams received; for streams and HTTP, reads and requests.
    pub datagrams: Counter,
    /// Bytes received.
    pub bytes: Counter,
    /// Datagrams that the kernel dropped for want of room in the socket's buffer.
    pub kernel_drops: Counter,
    /// What sockets that were passed on had dropped before: in part it was counted by who had them then.
    pub kernel_drops_inherited: Counter,
    /// Datagrams that were longer than `max_datagram`.
    pub truncated: Counter,
    /// Connections open now.
    pub connections: Counter,
    /// Connections that were taken since the start.
    pub connections_total: Counter,
    /// Connections that were refused because `max_connections` were open; of ZeroMQ, also such as do not speak it.
    pub connections_refused: Counter,
    /// Lines that were not taken because they had no end when their connection was reset, idle for too long, or stopped.
    pub lines_cut: Counter,
    /// Connections that were closed because nothing came for `idle_timeout`, or because they were idle and others came.
    pub idle_closed: Counter,
    /// Of a queue.
    #[cfg(feature = "queue")]
    pub queue: QueueCounters,
}

/// What the source of a queue counts, its intake included:
/// `messages = taken + known + unread + returned + expired`.
#[cfg(feature = "queue")]
#[derive(Debug, Default)]
pub struct QueueCounters {
    /// Of the broker.
    pub condition: Condition,
    /// Messages that came.
    pub messages: Counter,
    /// Those that were taken.
    pub taken: Counter,
    /// Those that were here before and were not taken again.
    pub known: Counter,
    /// Those that became dead letters of this source.
    pub unread: Counter,
    /// Dead letters that could not be written; their messages stay with the queue, if it keeps any.
    pub letters_failed: Counter,
    /// Messages that are for others and went back to the queue.
    pub returned: Counter,
    /// Messages whose time was over.
    pub expired: Counter,
    /// Messages that somebody had taken and not acknowledged in time, and that went back to the queue.
    pub restored: Counter,
    /// Messages that the queue was told to forget.
    pub acknowledged: Counter,
    /// Results that were written for those who wait for them.
    pub results: Counter,
    /// Results that could not be written.
    pub results_failed: Counter,
}
