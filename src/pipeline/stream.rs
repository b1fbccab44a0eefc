//! The intake of a connection: it waits for room, and answers `!sync`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::ingest::{Ingest, Intake, piece};
use super::receipt::Receipt;
use crate::protocol::{Class, Line, Reason, skip_bom};
use crate::record::Origin;
use crate::record::open::FULL_BYTES;
use crate::source::{Lines, Stop, Synced, Taken};

/// Takes the lines of one connection.
#[derive(Debug)]
pub struct Stream {
    intake: Intake,
    peer: Option<IpAddr>,
    is_start: bool,
    /// Travels beside the chunks since the last `!sync`.
    receipt: Receipt,
    /// Receipts of earlier answers that were not complete in time: later ones wait for them, and tell their loss.
    earlier: Vec<Receipt>,
    accepted: u64,
    rejected: u64,
}

impl Stream {
    /// An intake of a connection; with `peer` that is the host of its records.
    pub fn new(ingest: Arc<Ingest>, origin: Origin, peer: Option<IpAddr>) -> Self {
        Stream {
            intake: Intake::new(ingest, origin),
            peer,
            is_start: true,
            receipt: Receipt::new(),
            earlier: Vec::new(),
            accepted: 0,
            rejected: 0,
        }
    }
}

impl Lines for Stream {
    type Synced = Pin<Box<dyn Future<Output = Synced> + Send>>;

    fn lines(&mut self, block: &[u8]) -> Taken {
        let bom = if std::mem::take(&mut self.is_start) { skip_bom(block) } else { 0 };
        let block = &block[bom..];
        let control = control_line(block);
        let reports = control.as_ref().map_or(block, |control| &block[..control.start]);
        let room = FULL_BYTES.saturating_sub(1).saturating_sub(self.intake.open.bytes());
        if !reports.is_empty() && !self.intake.open.fits(1) {
            return Taken { bytes: bom, stop: Stop::Full };
        }
        let piece = piece(reports, room);
        if !self.intake.open.fits(piece.len()) {
            return Taken { bytes: bom, stop: Stop::Full };
        }
        if !piece.is_empty() {
            self.intake.begin_read(piece.len() + 1);
            if let Some(peer) = self.peer {
                self.intake.open.begin_peer(peer);
            }
            let (before, refused) = (self.intake.counted.accepted, self.intake.counted.refused());
            self.intake.take(piece, |_| {});
            self.accepted += self.intake.counted.accepted - before;
            self.rejected += self.intake.counted.refused() - refused;
        }
        if piece.len() < reports.len() {
            return Taken { bytes: bom + piece.len(), stop: Stop::Full };
        }
        match control {
            None => Taken { bytes: bom + block.len(), stop: Stop::End },
            Some(control) => {
                self.intake.counted.received += 1;
                self.intake.counted.skipped += 1;
                Taken { bytes: bom + control.end, stop: control.stop }
            }
        }
    }

    fn too_long(&mut self) {
        self.intake.counted.reject(Reason::LineTooLong);
        self.rejected += 1;
    }

    async fn flush(&mut self) {
        if let Some(chunk) = self.intake.close() {
            self.intake.ingest.dispatch.submit(vec![chunk], &self.receipt).await;
        }
    }

    fn sync(&mut self) -> Self::Synced {
        let ingest = Arc::clone(&self.intake.ingest);
        let receipt = std::mem::take(&mut self.receipt);
        let (accepted, rejected) = (std::mem::take(&mut self.accepted), std::mem::take(&mut self.rejected));
        self.earlier.retain(|receipt| !receipt.is_done());
        let earlier = self.earlier.clone();
        if !receipt.is_complete() {
            self.earlier.push(receipt.clone());
            ingest.dispatch.hurry();
        }
        let deadline = Instant::now() + ingest.sync_timeout;
        Box::pin(async move {
            let complete = async {
                for receipt in &earlier {
                    receipt.complete().await;
                }
                receipt.complete().await;
            };
            let error = match timeout_at(deadline, complete).await {
                Ok(()) => {
                    let losses = earlier.iter().chain([&receipt]).filter_map(Receipt::take_loss);
                    let losses: Vec<_> = losses.map(|loss| loss.to_string()).collect();
                    (!losses.is_empty()).then(|| losses.join("; "))
                }
                Err(_) => Some(ingest.why_late()),
            };
            Synced { accepted, rejected, error }
        })
    }
}

struct Control {
    start: usize,
    end: usize,
    stop: Stop,
}

/// The first control line of `block`.
fn control_line(block: &[u8]) -> Option<Control> {
    memchr::memchr_iter(b'!', block).filter(|&start| start == 0 || block[start - 1] == b'\n').find_map(
        |start| {
            let end = memchr::memchr(b'\n', &block[start..]).map_or(block.len(), |end| start + end + 1);
            let line = &block[start..end];
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let bytes = line.strip_suffix(b"\r").unwrap_or(line);
            let stop = match (Line { bytes, offset: start }).class() {
                Class::Ping => Stop::Ping,
                Class::Sync => Stop::Sync,
                Class::Blank | Class::Report => return None,
            };
            Some(Control { start, end, stop })
        },
    )
}
