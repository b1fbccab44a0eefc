//! What the connections of one source share: its limits, turns, and memory to borrow.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::problem::{self, unless};
use crate::source::framing::LINE_END;

/// Bytes that every connection may keep of what it has read and not handed on. Only one that has read part of a
/// line keeps any.
pub(super) const OWN_BYTES: usize = 2 * 1024;
/// Bytes of the task and the socket of a connection, beside its buffer; measured on Linux, rounded up.
const TASK_BYTES: usize = 2 * 1024;
/// The least that is lent. Less makes more system calls of a fast stream.
const MIN_LOAN: usize = 32 * 1024;
/// So long a connection may keep a loan that another one waits for: enough for a long line over a slow network.
const FAIR: Duration = Duration::from_secs(1);

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
    /// So long may a client take to send the rest of a long line, unless others wait for its memory, or to read an answer.
    pub stall_timeout: Duration,
}

impl Limits {
    /// Whether they make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let timeouts = [("idle_timeout", self.idle_timeout), ("stall_timeout", self.stall_timeout)];
        let timeouts = timeouts.map(|(key, value)| {
            unless(!value.is_zero(), || {
                format!("{key} = 0: must be more, or every connection is closed at once")
            })
        });
        let connections =
            unless(self.max_connections > 0, || "max_connections = 0: must be at least 1".to_owned());
        problem::all([connections].into_iter().chain(timeouts))
    }

    /// Bytes that the connections of a source hold at most, chunks apart.
    pub fn memory(&self) -> usize {
        let connections = self.max_connections.saturating_mul(OWN_BYTES + TASK_BYTES);
        connections.saturating_add(self.loans().saturating_mul(self.loan_bytes()))
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
/// line longer than [`OWN_BYTES`]. Who cannot get one waits and reads nothing; who has one and does not finish a
/// line within `stall_timeout`, or within [`FAIR`] while others wait, is closed, and who finishes one while others
/// wait gives it back. Who came last gets the next one: so thousands that never finish a long line are behind one
/// that does. Slow clients never stop one that sends ordinary lines, and long lines for a second at most.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) limits: Limits,
    turns: Semaphore,
    loans: Mutex<Loans>,
    /// Somebody waits for a loan.
    wanted: Notify,
}

/// The loans that nobody has, and who waits for one; there are never both.
#[derive(Debug)]
struct Loans {
    free: usize,
    /// The last one came last.
    waiting: Vec<oneshot::Sender<()>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'a>>);

/// A loan, until it is dropped.
#[derive(Debug)]
pub(super) struct Loan<'a> {
    share: &'a Share,
    /// When it was given, or a line was last finished with it.
    pub(super) since: Instant,
}

/// A place among those who wait for a loan.
struct Asked<'a> {
    share: &'a Share,
    granted: oneshot::Receiver<()>,
}

impl Share {
    pub(super) fn new(limits: Limits) -> Self {
        let loans = Mutex::new(Loans { free: limits.loans(), waiting: Vec::new() });
        Share { limits, turns: Semaphore::new(TURNS), loans, wanted: Notify::new() }
    }

    /// Waits for a turn; first come, first served. The semaphore is never closed.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn(self.turns.acquire().await.ok())
    }

    /// Waits for a loan; last come, first served.
    pub(super) async fn loan(&self) -> Loan<'_> {
        if let Some(loan) = self.try_loan() {
            return loan;
        }
        let mut asked = self.ask();
        self.wanted.notify_waiters();
        // It is dropped with the share only.
        let _granted = (&mut asked.granted).await;
        self.lend()
    }

    /// A loan if one is left.
    pub(super) fn try_loan(&self) -> Option<Loan<'_>> {
        let mut loans = self.loans();
        loans.free = loans.free.checked_sub(1)?;
        Some(self.lend())
    }

    /// Whether somebody waits for a loan.
    pub(super) fn is_wanted(&self) -> bool {
        !self.loans().waiting.is_empty()
    }

    /// Done when a loan with which no line was finished after `since` must be given back.
    pub(super) async fn over(&self, since: Option<Instant>) {
        let Some(since) = since else { return std::future::pending().await };
        let until = since + self.limits.stall_timeout;
        sleep_until(until.min(since + FAIR)).await;
        let wanted = async {
            loop {
                // Made before the look, so that nobody who comes then is missed.
                let next = self.wanted.notified();
                if self.is_wanted() {
                    return;
                }
                next.await;
            }
        };
        // Late or wanted: it is over.
        let _ = timeout_at(until, wanted).await;
    }

    fn ask(&self) -> Asked<'_> {
        let (grant, granted) = oneshot::channel();
        let mut loans = self.loans();
        // One may have come back meanwhile.
        if loans.free == 0 {
            loans.waiting.push(grant);
        } else if grant.send(()).is_ok() {
            loans.free -= 1;
        }
        Asked { share: self, granted }
    }

    fn lend(&self) -> Loan<'_> {
        Loan { share: self, since: Instant::now() }
    }

    /// A loan goes to the last who still waits.
    fn give_back(&self) {
        let mut loans = self.loans();
        while let Some(next) = loans.waiting.pop() {
            if next.send(()).is_ok() {
                return;
            }
        }
        loans.free += 1;
    }

    fn loans(&self) -> MutexGuard<'_, Loans> {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.share.give_back();
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.granted.close();
        // Granted, and nobody there any more to have it.
        if self.granted.try_recv().is_ok() {
            self.share.give_back();
        } else {
            self.share.loans().waiting.retain(|other| !other.is_closed());
        }
    }
}
