//! Keeps records with one client's id in order: the last to arrive is the one that stays.
//!
//! A record with a client's id is not sent while an earlier one with the same id is undecided, since a retry of
//! the earlier could then overwrite it. Of several that wait only the last is sent; the others would be
//! overwritten by it at once, and take its verdict.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::record::Chunk;

/// A record, by where it stands.
#[derive(Debug, Clone)]
pub(super) struct Ref {
    pub(super) chunk: Arc<Chunk>,
    pub(super) index: usize,
}

/// The undecided records of clients' ids.
#[derive(Debug, Default)]
pub(super) struct SameId {
    claims: HashMap<Box<str>, Claim>,
    /// Ids whose earlier record was decided while others waited: their holder is to be sent.
    ready: VecDeque<Box<str>>,
    batch: u64,
}

#[derive(Debug)]
struct Claim {
    /// The one that is sent, or next to be sent.
    holder: Ref,
    /// Take the holder's verdict.
    followers: Vec<Ref>,
    /// Came while the holder was on its way.
    waiting: Vec<Ref>,
    /// The batch under construction that the holder is in, and its place there.
    batch: u64,
    slot: usize,
}

/// What to do with a record whose id the client gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Put it into the batch.
    Send,
    /// Leave it out: it is kept here.
    Wait,
    /// Put it into the batch, and take the one in this slot out.
    Replace(usize),
}

impl SameId {
    /// Slots that are given from now on are those of a new batch.
    pub(super) fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// A record with a client's id comes to be sent; `slot` would be its place.
    pub(super) fn meet(&mut self, id: &str, record: Ref, slot: usize) -> Meeting {
        let batch = self.batch;
        let Some(claim) = self.claims.get_mut(id) else {
            let claim = Claim { holder: record, followers: Vec::new(), waiting: Vec::new(), batch, slot };
            self.claims.insert(id.into(), claim);
            return Meeting::Send;
        };
        if claim.batch != batch {
            claim.waiting.push(record);
            return Meeting::Wait;
        }
        let earlier = std::mem::replace(&mut claim.holder, record);
        claim.followers.push(earlier);
        Meeting::Replace(std::mem::replace(&mut claim.slot, slot))
    }

    /// Whether records wait that may be sent now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A record that waited and may be sent now, at `slot`.
    pub(super) fn take_ready(&mut self, slot: usize) -> Option<Ref> {
        let id = self.ready.pop_front()?;
        let claim = self.claims.get_mut(&id)?;
        claim.batch = self.batch;
        claim.slot = slot;
        Some(claim.holder.clone())
    }

    /// A sent record was decided for good. Gives those that take its verdict.
    pub(super) fn decide(&mut self, record: &Ref) -> Vec<Ref> {
        let Some(id) = record.chunk.client_id(record.index) else { return Vec::new() };
        let id = id.decode();
        let Some(claim) = self.claims.get_mut(&*id) else { return Vec::new() };
        let followers = std::mem::take(&mut claim.followers);
        match claim.waiting.pop() {
            None => {
                self.claims.remove(&*id);
            }
            Some(last) => {
                claim.holder = last;
                claim.followers = std::mem::take(&mut claim.waiting);
                // No batch has this number: until it is sent, later ones wait.
                claim.batch = 0;
                self.ready.push_back(id.into());
            }
        }
        followers
    }
}
