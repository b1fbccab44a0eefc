//! What an answer of the sink causes: records are decided, sent again, or buried.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::trouble::{Again, Flight, Outage, Trouble};
use super::{Drain, cut};
use crate::pipeline::lane::Health;
use crate::pipeline::letter::{DETAIL_BYTES, Letter, WAITING_DETAIL_BYTES};
use crate::pipeline::receipt::Why;
use crate::record::batch::Range;
use crate::record::{Batch, Chunk};
use crate::sink::{Outcome, Rejection, Verdict};
use crate::status::State;

/// What takes so long and is in vain may have been too much.
const SLOW: Duration = Duration::from_secs(1);
/// But so many records are not: a store that is too slow for them is away.
const FEWEST: usize = 16;

impl Drain {
    /// A flight has ended.
    pub(super) fn finish(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok(answered) => answered,
            // A sink that panics on a record must not take its neighbours along: look for it by splitting.
            Err(error) => {
                let rejection = Rejection { reason: "panic", detail: format!("the sink panicked: {error}") };
                (error.id(), Outcome::Refused(rejection))
            }
        };
        let Some(Flight { mut sent, since, .. }) = self.in_hand.remove(&id) else { return };
        self.touch();
        match outcome {
            Outcome::Retry(error) => {
                let is_alone = sent.batch.len() == 1;
                let is_slow = since.elapsed() >= SLOW;
                self.back_off(sent, error, is_alone, is_slow);
            }
            Outcome::Each(verdicts) if verdicts.len() != sent.batch.len() => {
                let error = format!("{} verdicts for {} records", verdicts.len(), sent.batch.len());
                self.back_off(sent, error, false, false);
            }
            Outcome::Each(verdicts) => match only_retries(&verdicts) {
                Some(error) => self.back_off(sent, error, true, false),
                None => {
                    self.recover(&mut sent);
                    self.settle(sent, verdicts);
                }
            },
            Outcome::Delivered => {
                self.recover(&mut sent);
                self.taken += 1;
                let records = self.window.deliver(&sent.batch);
                self.lane.ledger.decide(records, &[]);
                self.window.settle();
            }
            Outcome::Refused(rejection) => {
                self.recover(&mut sent);
                if sent.batch.len() == 1 {
                    self.settle(sent, vec![Verdict::Rejected(rejection)]);
                } else {
                    self.split(&sent);
                }
            }
        }
    }

    /// The store has answered: it is in no trouble, though perhaps some records are.
    fn recover(&mut self, sent: &mut Again) {
        if let Some(outage) = self.outage.take() {
            info!(sink = &*self.lane.name, "the sink takes records again");
            let in_hand = self.in_hand.values_mut().map(|flight| &mut flight.sent);
            let waiting = self.again.iter_mut().chain(in_hand).chain([sent]);
            waiting.filter_map(|again| again.trouble.as_mut()).for_each(|trouble| trouble.forgive(&outage));
        }
        self.at_once = (self.at_once + self.at_once / 4).min(self.config.batch_max_records());
        self.set_ok();
    }

    /// The sink is in no trouble, if no batch has been on its way for too long.
    fn set_ok(&self) {
        if !self.in_hand.values().any(|flight| flight.is_late) {
            self.lane.health.condition.set(State::Ok);
        }
    }

    /// The store took nothing of the batch: the whole batch again, and nothing else before, unless it `is_alone`: then
    /// it may be the batch's own trouble, and another one is tried. It `is_slow` if the store took its time to say so.
    fn back_off(&mut self, mut sent: Again, error: String, is_alone: bool, is_slow: bool) {
        if let Some(trouble) = &mut sent.trouble {
            let others = trouble.refused(self.taken);
            if trouble.is_own() {
                return self.postpone(sent, error, others);
            }
        } else if is_alone {
            sent.trouble = Some(Trouble::new(self.taken));
        }
        let now = Instant::now();
        let began = self.outage.as_ref().map_or(now, |outage| outage.began);
        let attempt = self.outage.as_ref().map_or(0, |outage| outage.attempt + 1);
        let due = now + self.config.backoff(attempt);
        if attempt == 0 {
            warn!(
                sink = &*self.lane.name,
                error, "the sink is in trouble; its records wait and are sent again"
            );
        }
        self.outage = Some(Outage { began, due, attempt, is_doubtful: sent.trouble.is_some() });
        let again = Again { due, attempt: sent.attempt + 1, ..sent };
        // A store that is up, and yet cannot take so many before the time of an attempt is over, would never take them.
        if is_slow && again.attempt > 1 && again.batch.len() >= 2 * FEWEST {
            self.at_once = self.at_once.min(again.batch.len() / 2);
            Health::count(&self.lane.health.splits);
        }
        // Those that may be to blame themselves take turns.
        let place = if again.trouble.is_some() { self.again.len() } else { 0 };
        self.again.insert(place, again);
        Health::count(&self.lane.health.retries);
        self.lane.health.condition.fail(State::Retrying, error);
    }

    /// The store takes others, but not these, for the moment: they are sent again by themselves, or, after
    /// `retry_limit`, never. `others`: it took others since they were sent last.
    fn postpone(&mut self, sent: Again, error: String, others: bool) {
        let state = if self.outage.is_some() { State::Retrying } else { State::Ok };
        self.lane.health.condition.fail(state, error.clone());
        let age = sent.trouble.as_ref().map_or(Duration::ZERO, Trouble::age);
        if others && self.outage.is_none() && self.config.retry_limit().is_some_and(|limit| age >= limit) {
            let rejection = self.share(None, Rejection { reason: "retry_limit", detail: error });
            let places = sent.batch.places();
            let rejected: Vec<_> =
                places.map(|(chunk, index)| (Arc::clone(chunk), index, Arc::clone(&rejection))).collect();
            return self.bury(rejected);
        }
        let due = Instant::now() + self.config.backoff(sent.attempt);
        self.again.push(Again { due, attempt: sent.attempt + 1, ..sent });
        Health::count(&self.lane.health.retries);
    }

    /// Sends each half by itself.
    fn split(&mut self, sent: &Again) {
        Health::count(&self.lane.health.splits);
        let again = cut(&sent.batch, sent.batch.len() / 2).map(|batch| Again {
            batch,
            due: sent.due,
            attempt: sent.attempt,
            trouble: sent.trouble,
        });
        self.again.splice(0..0, again);
    }

    /// Takes one verdict a record.
    fn settle(&mut self, sent: Again, verdicts: Vec<Verdict>) {
        let mut delivered = 0;
        let mut rejected = Vec::new();
        let mut retry = Batch::new();
        let mut error = None;
        for ((chunk, index), verdict) in sent.batch.places().zip(verdicts) {
            match verdict {
                Verdict::Delivered => delivered += self.window.deliver_one(chunk, index),
                Verdict::Retry(why) => {
                    retry.push(one(chunk, index));
                    error.get_or_insert(why);
                }
                Verdict::Rejected(rejection) => {
                    let rejection = self.share(rejected.last().map(|(_, _, last)| last), rejection);
                    rejected.push((Arc::clone(chunk), index, rejection));
                }
            }
        }
        let before = self.taken;
        self.taken += 1;
        self.lane.ledger.decide(delivered, &[]);
        self.window.settle();
        self.bury(rejected);
        if let Some(error) = error {
            let mut trouble = sent.trouble.unwrap_or_else(|| Trouble::new(before));
            let others = trouble.refused(self.taken);
            self.postpone(Again { batch: retry, trouble: Some(trouble), ..sent }, error, others);
        }
    }

    /// A rejection waits with its letter, so its memory is bounded: one that says the same as the `last` is the same,
    /// and when those that wait take up too much a further one keeps only its reason.
    fn share(&mut self, last: Option<&Arc<Rejection>>, mut rejection: Rejection) -> Arc<Rejection> {
        if let Some(last) = last.filter(|last| ***last == rejection) {
            return Arc::clone(last);
        }
        rejection.detail.truncate(rejection.detail.floor_char_boundary(DETAIL_BYTES));
        if self.detail_bytes + rejection.detail.len() > WAITING_DETAIL_BYTES {
            rejection.detail.clear();
        }
        rejection.detail.shrink_to_fit();
        self.detail_bytes += rejection.detail.len();
        Arc::new(rejection)
    }

    /// Records that will never be stored become dead letters. Until those are on disk they are undecided.
    fn bury(&mut self, rejected: Vec<(Arc<Chunk>, usize, Arc<Rejection>)>) {
        let mut letters = Vec::new();
        for (chunk, index, rejection) in rejected {
            let records = self.window.release(&chunk, index).into_iter();
            letters.extend(records.map(|record| Letter {
                chunk: record.chunk,
                index: record.index,
                rejection: Arc::clone(&rejection),
            }));
        }
        if letters.is_empty() {
            return;
        }
        self.lane.letters.waiting.add(letters.len() as u64);
        let (keeper, sink, letters) =
            (Arc::clone(&self.letters), Arc::clone(&self.lane.name), Arc::from(letters));
        self.burials.spawn(async move {
            keeper.bury(&sink, Arc::clone(&letters)).await;
            letters
        });
    }

    /// The letters are as safe as they will be.
    pub(super) fn finish_burial(&mut self, buried: Result<Arc<[Letter]>, JoinError>) {
        // Of one that panicked nothing is known: its records wait, and at the end they are dropped.
        let Ok(letters) = buried else { return };
        self.touch();
        let mut rejected: Vec<(&'static str, usize)> = Vec::new();
        let mut last = None;
        for Letter { chunk, index, rejection } in letters.iter() {
            if last.replace(Arc::as_ptr(rejection)) != Some(Arc::as_ptr(rejection)) {
                self.detail_bytes -= rejection.detail.len();
            }
            let reason = rejection.reason;
            self.window.lose_one(chunk, *index, &self.lane.loss(Why::Rejected(reason)));
            match rejected.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, records)) => *records += 1,
                None => rejected.push((reason, 1)),
            }
        }
        self.lane.letters.waiting.sub(letters.len() as u64);
        self.lane.ledger.decide(0, &rejected);
        self.window.settle();
    }
}

impl Drain {
    /// Something was decided: the journal is told in a while.
    fn touch(&mut self) {
        if let Some(follow) = &mut self.follow {
            follow.touch();
        }
    }
}

/// What the first of `verdicts` says, if all of them are for the moment.
fn only_retries(verdicts: &[Verdict]) -> Option<String> {
    let all = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Retry(_)));
    match verdicts.first() {
        Some(Verdict::Retry(error)) if all => Some(error.clone()),
        _ => None,
    }
}

/// A record of a chunk as a range.
fn one(chunk: &Arc<Chunk>, index: usize) -> Range {
    Range { chunk: Arc::clone(chunk), first: index, last: index + 1 }
}
