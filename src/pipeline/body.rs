//! The intake of whole bodies: each is taken at once or not at all.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::ingest::{Ingest, Intake, piece};
use super::receipt::Receipt;
use crate::protocol::skip_bom;
use crate::record::open::FULL_BYTES;
use crate::record::{Chunk, ChunkId, Origin};
use crate::source::{Bodies, BodyRefused, BodyTaken, LISTED_ERRORS, LineError};

/// Bytes of memory that the chunks of a body may hold, more or less one: packed lines can hold half as many values
/// as bytes, and each takes memory. It is half of a ring by default, so that a body does not have to wait for an
/// empty one.
pub const MAX_MEMORY: usize = 2 << 20;

/// Takes bodies.
#[derive(Debug, Clone)]
pub struct Body {
    ingest: Arc<Ingest>,
    origin: Origin,
    has_peers: bool,
}

impl Body {
    /// An intake of bodies from `origin`; with `has_peers` the sender's address is the host of its records.
    pub fn new(ingest: Arc<Ingest>, origin: Origin, has_peers: bool) -> Self {
        Body { ingest, origin, has_peers }
    }
}

impl Bodies for Body {
    async fn body(
        &self,
        body: Vec<u8>,
        key: Option<Vec<u8>>,
        peer: Option<IpAddr>,
    ) -> Result<BodyTaken, BodyRefused> {
        let mut intake = Intake::new(Arc::clone(&self.ingest), self.origin.clone());
        let mut taken = BodyTaken { accepted: 0, rejected: 0, errors: Vec::new(), error: None };
        let mut chunks = Vec::new();
        let mut line = 1;
        let key = key.map(|key| hash(&key));
        let bom = skip_bom(&body);
        let mut rest = &body[bom..];
        intake.begin_read(rest.len() + 1);
        while !rest.is_empty() {
            let lines = piece(rest, FULL_BYTES - 1);
            let start = body.len() - rest.len();
            rest = &rest[lines.len()..];
            if let Some(peer) = peer.filter(|_| self.has_peers) {
                intake.open.begin_peer(peer);
            }
            if let Some(key) = key {
                intake.open.set_line_base(key, start as u32);
            }
            let before = intake.counted.received;
            intake.take(lines, |seen| match seen.result {
                Err(error) if taken.errors.len() < LISTED_ERRORS => taken.errors.push(LineError {
                    line: line + seen.number,
                    code: error.reason.code(),
                    reason: error.reason.sentence().to_owned(),
                }),
                _ => {}
            });
            line += intake.counted.received - before;
            chunks.extend(intake.open.close());
            if chunks.iter().map(Chunk::memory).sum::<usize>() > MAX_MEMORY {
                return Err(BodyRefused::TooManyRecords);
            }
        }
        drop(body);
        taken.accepted = intake.counted.accepted;
        taken.rejected = intake.counted.refused();
        let receipt = Receipt::new();
        if !chunks.is_empty() {
            match timeout(self.ingest.sync_timeout, self.ingest.dispatch.submit_whole(chunks, &receipt)).await
            {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(BodyRefused::Stopping),
                Err(_late) => return Err(BodyRefused::NoRoom),
            }
        }
        self.ingest.lines.take(&mut intake.counted);
        if !receipt.is_complete() {
            self.ingest.dispatch.hurry();
        }
        taken.error = match timeout(self.ingest.sync_timeout, receipt.complete()).await {
            Ok(()) => receipt.take_loss().map(|loss| loss.to_string()),
            Err(_) => Some(self.ingest.why_late()),
        };
        Ok(taken)
    }
}

/// A key stands in place of a chunk's id: so it gets as many bytes.
fn hash(key: &[u8]) -> ChunkId {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    ChunkId::from_bytes(bytes)
}
