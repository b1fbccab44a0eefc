//! The worker: takes messages from a broker, hands them to the intake, and tells the broker what became of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::aside::{Aside, Why};
use super::config::MOST_ASIDE;
use super::delivery::{Delivery, Read};
use super::ids::Ids;
use super::result::{Outcome, Results};
use super::{Broker, Config, End, OtherTasks, Tended};
use crate::source::queue::{Error, Limits, RECONNECT_PAUSE};
use crate::source::{Context, Kept, Message, Messages, Took, Unread};
use crate::status::State;

/// How long the end waits for receipts; what has none then goes back to the queue.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// The part of `prefetch` that is worth another sync while one is under way.
const ANOTHER_PART: usize = 2;
/// How long a message for another task that has come back to us at once is kept from doing so again.
const OTHERS_PAUSE: Duration = Duration::from_secs(2);

/// Takes messages until it is told to stop, and acknowledges them when they are kept.
pub(super) async fn run<B: Broker, M: Messages>(
    broker: B,
    results: Option<Results>,
    intake: M,
    context: Context,
    config: Config,
) {
    let limits = Limits { max_message: config.max_message.bytes() as usize };
    let place = broker.place();
    let mut source = Source {
        broker,
        results,
        intake,
        limits,
        waiting: JoinSet::new(),
        in_hand: HashMap::new(),
        done: Vec::new(),
        lost: Vec::new(),
        aside: Aside::default(),
        ids: Ids::default(),
        prefetch: config.prefetch(),
        unhurried: 0,
        hurried: 0,
        context: context.clone(),
        config,
    };
    let mut was_connected = false;
    while !context.stop.is_cancelled() {
        let turn = source.turn().await;
        if source.broker.is_connected() != was_connected {
            was_connected = !was_connected;
            if was_connected {
                info!(place, "connected to the broker");
                context.counters.queue.condition.set(State::Ok);
            }
            context.counters.connections.set(u64::from(was_connected));
            context.counters.connections_total.add(u64::from(was_connected));
        }
        let (pause, may_be_ready) = match turn {
            Ok(Turn::More) => continue,
            Ok(Turn::Idle) => (source.config.poll_interval.get(), true),
            Ok(Turn::Full) => (source.config.poll_interval.get(), false),
            Err(error) => {
                warn!(place, %error, "the broker cannot be reached or used; it is tried again");
                context.counters.queue.condition.fail(State::Retrying, format!("{place}: {error}"));
                source.disconnect();
                was_connected = false;
                context.counters.connections.set(0);
                (RECONNECT_PAUSE, false)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = context.stop.cancelled() => {}
            Some(joined) = source.waiting.join_next() => source.settle(joined),
            () = source.broker.ready(), if may_be_ready => {}
        }
    }
    source.end().await;
}

/// What the next turn has to wait for.
enum Turn {
    /// Nothing: there may be more to take at once.
    More,
    /// Something to take.
    Idle,
    /// Receipts.
    Full,
}

/// A message in hand.
#[derive(Debug, Clone)]
struct Open<T> {
    tag: T,
    /// What the intake knows it by; none: it was not handed over, or could not be read so far.
    id: Option<Arc<str>>,
    /// It is no report.
    is_unread: bool,
    /// To be told when it is decided, if somebody asks.
    outcome: Option<Outcome>,
}

/// What became of the messages of a flush.
type Decided<T> = (Kept, Vec<Open<T>>);

struct Source<B: Broker, M: Messages> {
    broker: B,
    results: Option<Results>,
    intake: M,
    limits: Limits,
    /// Flushes that are not decided, each with its messages.
    waiting: JoinSet<Decided<B::Tag>>,
    /// What was taken and not answered, but for what is `aside`: each tag with the id of its message.
    in_hand: HashMap<B::Tag, Option<Arc<str>>>,
    /// To be acknowledged.
    done: Vec<Open<B::Tag>>,
    /// To go back to the queue.
    lost: Vec<Open<B::Tag>>,
    /// To go back to the queue at a time, to be taken again.
    aside: Aside<B::Tag>,
    /// Ids that the intake knows: of what is in hand, and of messages that may come again, since the connection died or
    /// their broker does not confirm acknowledgements.
    ids: Ids,
    prefetch: usize,
    /// Messages that were taken since the intake was told to hurry.
    unhurried: usize,
    /// Flushes that waited when it was told so, and are not decided.
    hurried: usize,
    context: Context,
    config: Config,
}

impl<B: Broker, M: Messages> Source<B, M> {
    /// One round: acknowledges, takes, hands over.
    async fn turn(&mut self) -> Result<Turn, B::Error> {
        while let Some(joined) = self.waiting.try_join_next() {
            self.settle(joined);
        }
        self.acknowledge().await?;
        if !self.lost.is_empty() {
            self.give_back_lost().await?;
            return Ok(Turn::Full);
        }
        self.tend().await?;
        self.give_back_due().await?;
        let room = self.prefetch.saturating_sub(self.in_hand.len());
        if room == 0 {
            self.intake.hurry();
            return Ok(Turn::Full);
        }
        tokio::select! {
            biased;
            // It is acknowledged at once.
            Some(joined) = self.waiting.join_next() => {
                self.settle(joined);
                return Ok(Turn::More);
            }
            () = self.broker.gather() => {}
        }
        let deliveries = self.broker.take(room).await?;
        let count = deliveries.len();
        let mut open = Vec::with_capacity(count);
        let mut back = Vec::new();
        for delivery in deliveries {
            self.take(delivery, &mut open, &mut back).await;
        }
        self.flush(open).await;
        self.hurry(count);
        if !back.is_empty() {
            self.broker.give_back(&back, End::Last).await?;
        }
        Ok(match () {
            // What finds no room there would come back at once.
            () if self.aside.len() >= MOST_ASIDE => Turn::Full,
            () if count > back.len() => Turn::More,
            // A queue of nothing but other tasks is left alone for a while, like an empty one.
            () => Turn::Idle,
        })
    }

    /// What was taken is acknowledged while the next is taken: nobody waits for the other. While the intake hurries already, more is
    /// worth waiting for.
    fn hurry(&mut self, taken: usize) {
        self.unhurried += taken;
        let part = if self.hurried == 0 { B::HURRY_PART } else { ANOTHER_PART };
        if self.unhurried * part >= self.prefetch {
            self.intake.hurry();
            self.unhurried = 0;
            self.hurried = self.waiting.len();
        }
    }

    /// Hands a message to the intake; what is to go back at once goes to `back`.
    async fn take(
        &mut self,
        delivery: Delivery<B::Tag>,
        open: &mut Vec<Open<B::Tag>>,
        back: &mut Vec<B::Tag>,
    ) {
        let counters = &self.context.counters;
        counters.datagrams.add(1);
        counters.bytes.add(delivery.length as u64);
        let Read { id, task, asks } = delivery.read(self.limits);
        let asks = asks && self.results.is_some();
        let Delivery { tag, bytes, is_again, .. } = delivery;
        let now = Timestamp::now();
        match task {
            Err(Error::Other(_)) if self.config.other_tasks == OtherTasks::Leave => {
                counters.queue.messages.add(1);
                counters.queue.returned.add(1);
                // Others had their chance.
                let until = is_again.then(|| now + OTHERS_PAUSE);
                self.put_aside(until, tag, Why::OtherTask, back);
            }
            Ok(task) if task.has_expired(now) => {
                counters.queue.messages.add(1);
                counters.queue.expired.add(1);
                self.in_hand.insert(tag.clone(), None);
                let outcome = asks.then(|| Outcome::expired(task.id));
                self.done.push(Open { tag, id: None, is_unread: false, outcome });
            }
            Ok(task) if task.eta.is_some_and(|eta| eta > now) => {
                self.put_aside(task.eta, tag, Why::Eta, back);
            }
            Ok(task) => {
                let message = Message { line: &task.line, id: Some(&task.id), received: None };
                let took = loop {
                    match self.intake.message(&message) {
                        Took::Full => self.flush(std::mem::take(open)).await,
                        took => break took,
                    }
                };
                let refused = match took {
                    Took::Refused(code, reason) => Some((code, reason)),
                    _ => None,
                };
                let outcome = asks.then(|| match refused {
                    Some((code, reason)) => Outcome::unread(task.id.clone(), code, reason),
                    None => Outcome::done(task.id.clone()),
                });
                open.push(self.hold(tag, Some(task.id.into()), refused.is_some(), outcome));
            }
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                let unread = Unread { bytes: &bytes, id: id.as_deref(), code, reason: &reason };
                while self.intake.unread(&unread) == Took::Full {
                    self.flush(std::mem::take(open)).await;
                }
                let outcome = id.clone().filter(|_| asks).map(|id| Outcome::unread(id, code, &reason));
                open.push(self.hold(tag, id.map(Arc::from), true, outcome));
            }
        }
    }

    fn hold(
        &mut self,
        tag: B::Tag,
        id: Option<Arc<str>>,
        is_unread: bool,
        outcome: Option<Outcome>,
    ) -> Open<B::Tag> {
        if let Some(id) = &id {
            self.ids.hold(id);
        }
        self.in_hand.insert(tag.clone(), id.clone());
        Open { tag, id, is_unread, outcome }
    }

    /// Keeps the tag of a message until it shall go back: its content comes again with it. If there is no room for it, or
    /// nothing to wait for, it goes back at once.
    fn put_aside(&mut self, until: Option<Timestamp>, tag: B::Tag, why: Why, back: &mut Vec<B::Tag>) {
        match until {
            Some(until) if self.aside.len() < MOST_ASIDE => {
                self.broker.put_aside(&tag);
                self.aside.put(until, tag, why);
            }
            _ => back.push(tag),
        }
    }

    /// Sends off what was taken; its messages wait for the receipt.
    async fn flush(&mut self, open: Vec<Open<B::Tag>>) {
        if open.is_empty() {
            return;
        }
        // It may take long, if the sinks are away and there is no journal.
        let kept = tokio::select! {
            kept = self.intake.flush() => kept,
            never = self.broker.stay() => match never {},
        };
        self.waiting.spawn(async move { (kept.await, open) });
    }

    fn settle(&mut self, joined: Result<Decided<B::Tag>, JoinError>) {
        self.hurried = self.hurried.saturating_sub(1);
        // A receipt cannot panic; if it did, its messages would be delivered again when the connection ends.
        let Ok((kept, open)) = joined else { return };
        for message in open {
            match (kept, self.in_hand.contains_key(&message.tag)) {
                (Kept::Stored | Kept::Decided, true) => self.done.push(message),
                (Kept::Lost, true) => self.lost.push(message),
                // The broker delivers it again, and then the intake knows it.
                (Kept::Stored | Kept::Decided, false) => {}
                (Kept::Lost, false) => self.forget(message.id.as_deref()),
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<(), B::Error> {
        if self.done.is_empty() {
            return Ok(());
        }
        self.tell_results().await;
        let is_rejected = |message: &Open<_>| message.is_unread && self.config.reject_unread;
        let (rejected, stored): (Vec<_>, Vec<_>) = self.done.iter().cloned().partition(is_rejected);
        // First, so that what is acknowledged may be all up to a message.
        if !rejected.is_empty() {
            self.broker.reject(&tags(&rejected)).await?;
        }
        if !stored.is_empty() {
            self.broker.acknowledge(&tags(&stored)).await?;
        }
        for Open { tag, id, .. } in std::mem::take(&mut self.done) {
            self.in_hand.remove(&tag);
            self.context.counters.queue.acknowledged.add(1);
            let Some(id) = id.filter(|id| self.ids.let_go(id)) else { continue };
            if B::CONFIRMS {
                self.intake.forget(&id);
            } else {
                self.remember(id, true);
            }
        }
        Ok(())
    }

    /// Before the broker forgets the tasks: if we die in between, they come again, and are told again.
    async fn tell_results(&mut self) {
        let Some(results) = &mut self.results else { return };
        let outcomes: Vec<_> = self.done.iter_mut().filter_map(|message| message.outcome.take()).collect();
        if outcomes.is_empty() {
            return;
        }
        let queue = &self.context.counters.queue;
        let counter = if results.write(&outcomes).await { &queue.results } else { &queue.results_failed };
        counter.add(outcomes.len() as u64);
    }

    /// What could not be kept, since its dead letter could not be written, is taken again later.
    async fn give_back_lost(&mut self) -> Result<(), B::Error> {
        self.broker.give_back(&tags(&self.lost), End::Last).await?;
        for Open { tag, id, .. } in std::mem::take(&mut self.lost) {
            self.in_hand.remove(&tag);
            if let Some(id) = id {
                self.ids.let_go(&id);
                self.intake.forget(&id);
            }
        }
        Ok(())
    }

    /// Gives back what was put aside until now.
    async fn give_back_due(&mut self) -> Result<(), B::Error> {
        let now = Timestamp::now();
        for (why, end) in [(Why::Eta, End::Next), (Why::OtherTask, End::Last)] {
            let due = self.aside.due(now, why);
            if !due.is_empty() {
                self.broker.give_back(&due, end).await?;
                self.aside.remove(&due);
            }
        }
        Ok(())
    }

    async fn tend(&mut self) -> Result<(), B::Error> {
        if !self.broker.has_to_tend() {
            return Ok(());
        }
        let Tended { restored, has_returned } = self.broker.tend().await?;
        if restored > 0 {
            info!(restored, "messages that nobody has acknowledged are back in the queue");
        }
        self.context.counters.queue.restored.add(restored as u64);
        if has_returned {
            self.let_go();
        }
        Ok(())
    }

    fn disconnect(&mut self) {
        self.broker.disconnect();
        self.ids.doubt();
        self.let_go();
    }

    /// Lets go of what the broker delivers again.
    fn let_go(&mut self) {
        let broker = &self.broker;
        let gone: Vec<_> = self.in_hand.extract_if(|tag, _| !broker.holds(tag)).collect();
        self.done.retain(|message| broker.holds(&message.tag));
        self.aside.retain(|tag| broker.holds(tag));
        // Not to be known when it comes: it is to be taken anew.
        let lost: Vec<_> = self.lost.extract_if(.., |message| !broker.holds(&message.tag)).collect();
        for id in gone.into_iter().filter_map(|(_, id)| id) {
            if self.ids.let_go(&id) {
                self.remember(id, false);
            }
        }
        for message in lost {
            self.forget(message.id.as_deref());
        }
    }

    /// Of all that was taken and not answered.
    fn tags(&self) -> Vec<B::Tag> {
        self.in_hand.keys().chain(self.aside.tags()).cloned().collect()
    }

    /// The intake goes on to know this message for a while: it is recognised if it comes again.
    fn remember(&mut self, id: Arc<str>, is_acknowledged: bool) {
        if let Some(oldest) = self.ids.remember(id, is_acknowledged, self.prefetch) {
            self.intake.forget(&oldest);
        }
    }

    fn forget(&mut self, id: Option<&str>) {
        if let Some(id) = id {
            self.intake.forget(id);
        }
    }

    /// Acknowledges what is kept soon, and gives back the rest.
    async fn end(mut self) {
        self.intake.hurry();
        let all = async {
            while let Some(joined) = self.waiting.join_next().await {
                self.settle(joined);
            }
        };
        let _late = timeout(END_PATIENCE, all).await;
        if let Err(error) = self.acknowledge().await {
            warn!(%error, "what is stored could not be acknowledged: it comes again, and is stored once");
            self.disconnect();
        }
        let left = self.tags();
        let returned = left.len();
        let ended = self.broker.end(&left).await;
        if ended.is_ok() {
            // The broker has heard it all.
            for id in self.ids.acknowledged() {
                self.intake.forget(id);
            }
        }
        match ended {
            Ok(()) if returned == 0 => {}
            Ok(()) => info!(returned, "messages that are not stored yet are back in the queue"),
            Err(error) => {
                warn!(%error, "messages that are not stored yet come back when the broker misses their worker");
            }
        }
    }
}

fn tags<T: Clone>(open: &[Open<T>]) -> Vec<T> {
    open.iter().map(|message| message.tag.clone()).collect()
}

#[cfg(test)]
mod tests;
