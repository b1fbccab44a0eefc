//! Many datagrams with one system call: `recvmmsg` into slots that are used again and again.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::sys::Slots;
use super::worker::{Read, Receive};
use crate::source::Datagrams;

/// Datagrams a call receives at most. More save no time that can be measured, and make a batch leave the cache.
pub(super) const SLOTS: usize = 64;
/// What the distance of slots is more than their size. Were it a power of two, as sizes mostly are, the beginnings of
/// all slots would share a few sets of each cache and evict each other; an odd number of cache lines spreads them, and
/// this one lets Ethernet's datagrams lie side by side.
const SPREAD: usize = 25 * CACHE_LINE;
const CACHE_LINE: usize = 64;

/// The receiving end with `recvmmsg`.
pub(super) struct Batch {
    slots: Slots,
}

impl Batch {
    /// For datagrams of up to `max_datagram` bytes. With `peer` the kernel is asked for their senders too.
    pub(super) fn new(max_datagram: usize, peer: bool) -> Self {
        Batch { slots: Slots::new(SLOTS, max_datagram, stride(max_datagram), peer) }
    }
}

impl Receive for Batch {
    fn receive(&mut self, socket: &UdpSocket, intake: &mut impl Datagrams) -> io::Result<Read> {
        let datagrams = self.slots.receive(socket.as_fd())?;
        let mut read = Read { datagrams, more: datagrams == self.slots.len(), ..Read::default() };
        if datagrams == 0 {
            return Ok(read);
        }
        let bytes: usize = (0..datagrams).map(|i| self.slots.datagram(i).0.len()).sum();
        intake.begin_read(bytes + datagrams);
        for i in 0..datagrams {
            let (bytes, truncated) = self.slots.datagram(i);
            read.bytes += bytes.len();
            read.truncated += usize::from(truncated);
            intake.datagram(bytes, truncated, self.slots.peer(i));
        }
        read.drops = self.slots.drops();
        Ok(read)
    }
}

/// Memory that the slots take up, for datagrams of up to `max_datagram` bytes.
pub(super) fn memory(max_datagram: usize) -> usize {
    SLOTS * stride(max_datagram)
}

fn stride(max_datagram: usize) -> usize {
    max_datagram.next_multiple_of(4096) + SPREAD
}
