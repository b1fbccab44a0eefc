//! What the connections of one source share: its limits, turns, and memory to borrow.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::source::framing::LINE_END;

/// Bytes that every connection may keep of what it has read and not handed on. Only one that has read part of a
/// line keeps any.
pub(super) const OWN_BYTES: usize = 2 * 1024;
/// Bytes of the task and the socket of a connection, beside its buffer; measured on Linux, rounded up.
const TASK_BYTES: usize = 2 * 1024;
/// The least that is lent. Less makes more system calls of a fast stream.
const MIN_LOAN: usize = 32 * 1024;

/// Connections of one source whose intake holds lines that are not flushed, at most. So many chunks are open.
pub const TURNS: usize = 8;

/// Limits on the connections of one source.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at the same time. A further one is closed at once.
    pub max_connections: usize,
    /// Bytes of a line without its LF and CR.
    pub max_line: usize,
    /// Bytes for lines that are longer than a connection may keep for itself, of all connections together.
    pub line_buffer: usize,
    /// A connection on which nothing comes for so long is closed.
    pub idle_timeout: Duration,
    /// So long may a client take to send the rest of a long line, or to read an answer.
    pub stall_timeout: Duration,
}

impl Limits {
    /// Whether they make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.max_connections == 0 {
            return Err("max_connections = 0: must be at least 1".to_owned());
        }
        for (key, value) in [("idle_timeout", self.idle_timeout), ("stall_timeout", self.stall_timeout)] {
            if value.is_zero() {
                return Err(format!("{key} = 0: must be more, or every connection is closed at once"));
            }
        }
        Ok(())
    }

    /// Bytes that the connections of a source hold at most, chunks apart.
    pub fn memory(&self) -> usize {
        self.max_connections * (OWN_BYTES + TASK_BYTES) + self.loans() * self.loan_bytes()
    }

    /// Bytes that a connection may keep while it has a loan: enough for the longest line.
    pub(super) fn loan_bytes(&self) -> usize {
        (self.max_line + LINE_END).max(MIN_LOAN)
    }

    /// How many loans there are.
    fn loans(&self) -> usize {
        (self.line_buffer / self.loan_bytes()).max(1)
    }
}

/// The limits, turns and loans.
///
/// A connection hands lines to its intake only in its *turn*. Turns are few, so that few chunks are open at once;
/// they end soon, whatever the client does, unless the sinks hold back all streams. A *loan* is memory for a
/// line longer than [`OWN_BYTES`]. Who cannot get one waits and reads nothing; who has one and does not use it to
/// the end within `stall_timeout` is closed. So slow clients never stop one that sends ordinary lines, and long
/// lines only for a while.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) limits: Limits,
    turns: Semaphore,
    loans: Semaphore,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'a>>);

/// A loan, until it is dropped.
#[derive(Debug)]
pub(super) struct Loan<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    /// By then it must be given back.
    pub(super) until: Instant,
}

impl Share {
    pub(super) fn new(limits: Limits) -> Self {
        let loans = Semaphore::new(limits.loans());
        Share { limits, turns: Semaphore::new(TURNS), loans }
    }

    /// Waits for a turn; first come, first served. The semaphores are never closed.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn(self.turns.acquire().await.ok())
    }

    /// Waits for a loan; first come, first served.
    pub(super) async fn loan(&self) -> Loan<'_> {
        self.lend(self.loans.acquire().await.ok())
    }

    /// A loan if one is left and nobody waits.
    pub(super) fn try_loan(&self) -> Option<Loan<'_>> {
        Some(self.lend(Some(self.loans.try_acquire().ok()?)))
    }

    fn lend<'a>(&self, permit: Option<SemaphorePermit<'a>>) -> Loan<'a> {
        Loan { _permit: permit, until: Instant::now() + self.limits.stall_timeout }
    }
}
