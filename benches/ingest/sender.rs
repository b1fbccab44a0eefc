//! Sends datagrams, so many a second.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::Messages;

/// Datagrams a system call.
const BATCH: u64 = 64;
/// What it is late by more than this is given up: made good, it would be a flood.
const CATCH_UP: Duration = Duration::from_millis(5);

/// What was sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    /// Datagrams.
    pub(crate) datagrams: u64,
    /// Lines in them.
    pub(crate) lines: u64,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Sends `messages` to `to` for so long, as many datagrams a second as `rate`, or as many as it can.
pub(crate) fn send(
    messages: &mut Messages<'_>,
    to: SocketAddr,
    rate: Option<f64>,
    time: Duration,
) -> io::Result<Sent> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    // As long as a hundred microseconds hold, so that a low rate is even.
    let burst = rate.map_or(BATCH, |rate| ((rate / 10_000.0) as u64).clamp(1, BATCH));
    let start = Instant::now();
    let mut sent = Sent::default();
    let (mut origin, mut since_origin, mut next) = (start, 0u64, 0);
    loop {
        let (mut last, mut datagrams) = (next, 0);
        while last < messages.len() && datagrams < burst {
            datagrams += messages.size(last).0;
            last += 1;
        }
        let now = Instant::now();
        if let Some(rate) = rate {
            let due = origin + Duration::from_secs_f64((since_origin + datagrams) as f64 / rate);
            if due > now {
                wait_until(due);
            } else if now - due > CATCH_UP {
                (origin, since_origin) = (now, 0);
            }
        }
        if now - start >= time {
            sent.time = now - start;
            return Ok(sent);
        }
        let end = messages.send(&socket, next, last)?;
        for i in next..end {
            let (datagrams, lines) = messages.size(i);
            sent.datagrams += datagrams;
            sent.lines += lines;
            since_origin += datagrams;
        }
        next = if end == messages.len() { 0 } else { end };
    }
}

/// Sleeps while it is far off, then spins.
fn wait_until(due: Instant) {
    const SPIN: Duration = Duration::from_micros(100);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SPIN { thread::sleep(left - SPIN) } else { std::hint::spin_loop() }
    }
}
