//! The thread that reads one socket: wait, read until nothing is left, flush, and perhaps pause.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::drops::Drops;
use super::pause::Pause;
use super::sys;
use crate::source::{Context, Datagrams};
use crate::telemetry::Seldom;

/// How often the kernel is asked for its drops while there is no time to wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After an error that no datagram explains, so that one which stays does not keep a core busy.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// How long, after the stop, what the kernel holds is read: senders that never pause must not hold it up.
const LAST_READ: Duration = Duration::from_millis(500);

/// Gets datagrams out of a socket, in one way or another.
pub(super) trait Receive {
    /// Hands what is there to `intake`, as much as one batch holds, and does not wait.
    fn receive(&mut self, socket: &UdpSocket, intake: &mut impl Datagrams) -> io::Result<Read>;
}

/// What one batch brought.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// How many; 0: nothing was there.
    pub(super) datagrams: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// How many of them were too long.
    pub(super) truncated: usize,
    /// What the kernel had dropped before, modulo 2^32, if it said so.
    pub(super) drops: Option<u32>,
    /// The batch was full: more may be there.
    pub(super) more: bool,
}

/// What the thread owns.
pub(super) struct Worker<I> {
    pub(super) socket: UdpSocket,
    /// Can be read, because its other end is closed, when the thread is to end; the other end is in `spawn`.
    pub(super) stop: UnixStream,
    pub(super) intake: I,
    pub(super) context: Context,
    pub(super) max_latency: Duration,
    pub(super) pause: Pause,
    pub(super) drops: Drops,
    pub(super) errors: Seldom,
    pub(super) losses: Seldom,
}

impl<I: Datagrams> Worker<I> {
    /// Reads until the stop, then what the kernel still holds.
    pub(super) fn run(mut self, mut receiver: impl Receive) {
        // What is not read yet came after `looked`; the oldest that is not flushed after `first`.
        let mut looked = Instant::now();
        let mut first = looked;
        let mut next_look = looked + LOOK_EVERY;
        let mut since_pause = 0;
        while !self.context.stop.is_cancelled() {
            let was_waiting = self.intake.is_waiting();
            let read = self.receive(&mut receiver);
            let now = Instant::now();
            if !was_waiting {
                first = looked;
            }
            looked = now;
            since_pause += read.datagrams;
            if now >= next_look {
                self.look_at_drops();
                next_look = now + LOOK_EVERY;
            }
            let pause = if read.more { Some(Duration::ZERO) } else { self.pause.after(since_pause, now) };
            if let Some(pause) = pause {
                if now + pause >= first + self.max_latency && self.intake.is_waiting() {
                    self.intake.flush();
                }
                if !read.more {
                    since_pause = 0;
                    thread::sleep(pause);
                }
                continue;
            }
            since_pause = 0;
            self.rest();
            match sys::wait(self.socket.as_fd(), self.stop.as_fd()) {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => self.report(&error),
            }
            looked = Instant::now();
        }
        let end = Instant::now() + LAST_READ;
        while self.receive(&mut receiver).more && Instant::now() < end {}
        self.rest();
    }

    fn receive(&mut self, receiver: &mut impl Receive) -> Read {
        let read = match receiver.receive(&self.socket, &mut self.intake) {
            Ok(read) => read,
            Err(error) => {
                self.report(&error);
                return Read::default();
            }
        };
        let counters = &self.context.counters;
        if read.datagrams > 0 {
            counters.datagrams.add(read.datagrams as u64);
            counters.bytes.add(read.bytes as u64);
        }
        if read.truncated > 0 {
            counters.truncated.add(read.truncated as u64);
            if let Some(unsaid) = self.losses.tick() {
                warn!(datagrams = read.truncated, unsaid, "datagrams were cut: raise `max_datagram`");
            }
        }
        if let Some(reading) = read.drops {
            self.count_drops(reading);
        }
        read
    }

    fn count_drops(&mut self, reading: u32) {
        let more = self.drops.since(reading);
        if more == 0 {
            return;
        }
        self.context.counters.kernel_drops.add(more);
        if let Some(unsaid) = self.losses.tick() {
            warn!(
                datagrams = more,
                unsaid, "the kernel dropped datagrams: raise `receive_buffer`, or `workers`"
            );
        }
    }

    /// Nothing is left to read.
    fn rest(&mut self) {
        if self.intake.is_waiting() {
            self.intake.flush();
        }
        self.look_at_drops();
    }

    /// Drops that no datagram came after are only seen here. When the last of them happened the buffer was full: so
    /// there was something to read, and this is called after it.
    fn look_at_drops(&mut self) {
        #[cfg(target_os = "linux")]
        if let Ok(reading) = sys::drops(self.socket.as_fd()) {
            self.count_drops(reading);
        }
    }

    fn report(&self, error: &io::Error) {
        if let Some(unsaid) = self.errors.tick() {
            warn!(%error, unsaid, "receiving datagrams failed");
        }
        thread::sleep(ERROR_PAUSE);
    }
}
