//! One datagram a system call: `recv`, for systems without `recvmmsg`.

use std::io;
use std::net::UdpSocket;

use super::worker::{Read, Receive};
use crate::source::Datagrams;

/// Datagrams after which the worker looks at clock and stop signal, as after a batch.
const CALLS: usize = 64;

/// The receiving end with `recv`.
pub(super) struct Plain {
    /// One byte longer than a datagram may be: if that is used, it was longer.
    buffer: Vec<u8>,
    peer: bool,
}

impl Plain {
    /// For datagrams of up to `max_datagram` bytes. With `peer` the kernel is asked for their senders too.
    pub(super) fn new(max_datagram: usize, peer: bool) -> Self {
        Plain { buffer: vec![0; max_datagram + 1], peer }
    }
}

impl Receive for Plain {
    fn receive(&mut self, socket: &UdpSocket, intake: &mut impl Datagrams) -> io::Result<Read> {
        let mut read = Read::default();
        let max = self.buffer.len() - 1;
        while read.datagrams < CALLS {
            let received = match self.peer {
                true => {
                    socket.recv_from(&mut self.buffer).map(|(n, from)| (n, Some(from.ip().to_canonical())))
                }
                false => socket.recv(&mut self.buffer).map(|n| (n, None)),
            };
            let (n, peer) = match received {
                Ok(received) => received,
                Err(error) if is_empty(&error) => return Ok(read),
                // What was received before is told first; an error that stays comes again.
                Err(_) if read.datagrams > 0 => return Ok(read),
                Err(error) => return Err(error),
            };
            intake.begin_read(n.min(max) + 1);
            let truncated = n > max;
            intake.datagram(&self.buffer[..n.min(max)], truncated, peer);
            read.datagrams += 1;
            read.bytes += n.min(max);
            read.truncated += usize::from(truncated);
        }
        read.more = true;
        Ok(read)
    }
}

fn is_empty(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Memory that the buffer takes up, for datagrams of up to `max_datagram` bytes.
pub(super) fn memory(max_datagram: usize) -> usize {
    max_datagram + 1
}
