//! The intake of datagram sources: it never waits.

use std::net::IpAddr;
use std::sync::Arc;

use super::ingest::{Ingest, Intake};
use crate::protocol::{Reason, skip_bom};
use crate::record::Origin;
use crate::source::Datagrams;

/// Takes datagrams of one source.
#[derive(Debug)]
pub struct Datagram(Intake);

impl Datagram {
    /// An intake of datagrams from `origin`.
    pub fn new(ingest: Arc<Ingest>, origin: Origin) -> Self {
        Datagram(Intake::new(ingest, origin))
    }
}

impl Datagrams for Datagram {
    fn begin_read(&mut self, bytes: usize) {
        self.0.begin_read(bytes);
    }

    #[inline]
    fn datagram(&mut self, bytes: &[u8], truncated: bool, peer: Option<IpAddr>) {
        let mut lines = &bytes[skip_bom(bytes)..];
        if truncated {
            let whole = memchr::memrchr(b'\n', lines).map_or(0, |end| end + 1);
            if whole < lines.len() {
                self.0.counted.reject(Reason::Truncated);
            }
            lines = &lines[..whole];
        }
        if lines.is_empty() {
            return;
        }
        if !self.0.open.fits(lines.len() + 1) {
            self.flush();
        }
        if let Some(peer) = peer {
            self.0.open.begin_peer(peer);
        }
        self.0.take(lines, |_| {});
    }

    fn is_waiting(&self) -> bool {
        !self.0.open.is_empty() || self.0.counted.received > 0
    }

    fn flush(&mut self) {
        if let Some(chunk) = self.0.close() {
            self.0.ingest.dispatch.offer(chunk);
        }
    }
}
