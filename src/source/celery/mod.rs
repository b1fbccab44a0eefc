//! Celery: the reports of Kaneda's `CeleryQueue`, from a Redis.

mod broker;
mod config;

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use redis::RedisResult;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::queue::{Envelope, Error, Limits, Task};
use super::{Context, Kept, Message, Messages, Took, Unread, address};
use broker::{Broker, Delivery, End};
use config::BATCH;
pub use config::{Config, OtherTasks};

/// Pause after the broker was away.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How often the books are looked after, at most: a tenth of the visibility timeout is enough for short ones.
const BOOKS_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end waits for receipts; what has none then goes back to the queue.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A broker that is not connected to yet.
pub struct Worker {
    broker: Broker,
}

impl Worker {
    /// Where the broker is, and which queue.
    pub fn place(&self) -> String {
        self.broker.place()
    }
}

/// Makes what [`run`] needs. The error names the key to change. That the broker is away is no error.
pub fn worker(config: &Config) -> io::Result<Worker> {
    config.check().map_err(address::invalid)?;
    let broker =
        Broker::new(config).map_err(|error| address::invalid(format!("broker: {:?}", error.kind())))?;
    Ok(Worker { broker })
}

/// Takes messages until it is told to stop, and acknowledges them when they are kept.
pub async fn run<M: Messages>(worker: Worker, intake: M, context: Context, config: Config) {
    let limits = Limits { max_message: config.max_message.bytes() as usize };
    let place = worker.place();
    let mut source = Source {
        broker: worker.broker,
        intake,
        limits,
        waiting: JoinSet::new(),
        unacknowledged: HashSet::new(),
        done: Vec::new(),
        lost: Vec::new(),
        later: Vec::new(),
        books_at: Instant::now(),
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
            }
            context.counters.connections.set(u64::from(was_connected));
            context.counters.connections_total.add(u64::from(was_connected));
        }
        let pause = match turn {
            Ok(Turn::More) => continue,
            Ok(Turn::Idle) => source.config.poll_interval.get(),
            Err(error) => {
                warn!(place, %error, "the broker cannot be reached or used; it is tried again");
                source.broker.disconnect();
                RECONNECT_PAUSE
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = context.stop.cancelled() => {}
            Some(joined) = source.waiting.join_next() => source.settle(joined),
        }
    }
    source.end().await;
}

/// Whether there may be more to take at once.
enum Turn {
    More,
    Idle,
}

/// A message that is not acknowledged.
struct Open {
    tag: String,
    /// What the intake knows it by; none: it could not be read so far.
    id: Option<String>,
}

struct Source<M: Messages> {
    broker: Broker,
    intake: M,
    limits: Limits,
    /// Flushes that are not decided, each with its messages.
    waiting: JoinSet<(Kept, Vec<Open>)>,
    /// The tags of all messages in hand.
    unacknowledged: HashSet<String>,
    /// To be acknowledged.
    done: Vec<Open>,
    /// To go back to the queue.
    lost: Vec<Open>,
    /// Tasks that are not to be taken yet.
    later: Vec<(Timestamp, Open, Task)>,
    books_at: Instant,
    context: Context,
    config: Config,
}

impl<M: Messages> Source<M> {
    /// One round: acknowledges, takes, hands over.
    async fn turn(&mut self) -> RedisResult<Turn> {
        while let Some(joined) = self.waiting.try_join_next() {
            self.settle(joined);
        }
        self.acknowledge().await?;
        if !self.lost.is_empty() {
            self.give_back_lost().await?;
            return Ok(Turn::Idle);
        }
        self.look_after_the_books().await?;
        let room = self.config.prefetch.saturating_sub(self.unacknowledged.len());
        if room == 0 {
            self.intake.hurry();
            return Ok(Turn::Idle);
        }
        let deliveries = self.broker.take(room.min(BATCH)).await?;
        let count = deliveries.len();
        let mut open = Vec::with_capacity(count);
        let mut others = Vec::new();
        self.take_due(&mut open).await;
        for delivery in deliveries {
            self.take(delivery, &mut open, &mut others).await;
        }
        self.flush(open).await;
        if !others.is_empty() {
            self.context.counters.queue.returned.add(others.len() as u64);
            self.broker.give_back(&others.iter().map(String::as_str).collect::<Vec<_>>(), End::Last).await?;
        }
        // A queue of nothing but other tasks is left alone for a while, like an empty one.
        Ok(if count > others.len() { Turn::More } else { Turn::Idle })
    }

    /// Hands a message to the intake; those of other tasks go to `others`.
    async fn take(&mut self, delivery: Delivery, open: &mut Vec<Open>, others: &mut Vec<String>) {
        let Delivery { tag, element } = delivery;
        let counters = &self.context.counters;
        counters.datagrams.add(1);
        counters.bytes.add(element.len() as u64);
        let envelope = if element.len() > self.limits.max_message {
            Err(Error::TooLong(self.limits.max_message))
        } else {
            Envelope::read(&element)
        };
        let id = envelope.as_ref().ok().and_then(|envelope| envelope.properties.correlation_id.clone());
        let task = envelope.and_then(|envelope| envelope.task(self.limits));
        if let (Err(Error::Other(_)), OtherTasks::Leave) = (&task, self.config.other_tasks) {
            counters.queue.messages.add(1);
            others.push(tag);
            return;
        }
        self.unacknowledged.insert(tag.clone());
        let now = Timestamp::now();
        match task {
            Ok(task) if task.expires.is_some_and(|expires| expires < now) => {
                counters.queue.messages.add(1);
                counters.queue.expired.add(1);
                self.done.push(Open { tag, id: None });
            }
            Ok(task) => match task.eta {
                Some(eta) if eta > now => {
                    let id = Some(task.id.clone());
                    self.later.push((eta, Open { tag, id }, task));
                }
                _ => self.hand_over(Open { tag, id: Some(task.id.clone()) }, &task.line, open).await,
            },
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                let unread = Unread { bytes: &element, id: id.as_deref(), code, reason: &reason };
                while self.intake.unread(&unread) == Took::Full {
                    self.flush(std::mem::take(open)).await;
                }
                open.push(Open { tag, id });
            }
        }
    }

    /// Hands over the tasks whose time has come.
    async fn take_due(&mut self, open: &mut Vec<Open>) {
        let now = Timestamp::now();
        let due: Vec<_> = self.later.extract_if(.., |(eta, ..)| *eta <= now).collect();
        for (_, message, task) in due {
            self.hand_over(message, &task.line, open).await;
        }
    }

    async fn hand_over(&mut self, message: Open, line: &[u8], open: &mut Vec<Open>) {
        loop {
            let id = message.id.as_deref();
            match self.intake.message(&Message { line, id, received: None }) {
                Took::Full => self.flush(std::mem::take(open)).await,
                Took::Taken | Took::Known | Took::Refused(..) => break,
            }
        }
        open.push(message);
    }

    /// Sends off what was taken; its messages wait for the receipt.
    async fn flush(&mut self, open: Vec<Open>) {
        if open.is_empty() {
            return;
        }
        let kept = self.intake.flush().await;
        self.waiting.spawn(async move { (kept.await, open) });
    }

    fn settle(&mut self, joined: Result<(Kept, Vec<Open>), tokio::task::JoinError>) {
        // A receipt cannot panic; if it did, its messages would go back after the visibility timeout.
        let Ok((kept, open)) = joined else { return };
        match kept {
            Kept::Stored | Kept::Decided => self.done.extend(open),
            Kept::Lost => self.lost.extend(open),
        }
    }

    async fn acknowledge(&mut self) -> RedisResult<()> {
        if self.done.is_empty() {
            return Ok(());
        }
        self.broker.acknowledge(&tags(&self.done)).await?;
        for Open { tag, id } in self.done.drain(..) {
            self.unacknowledged.remove(&tag);
            self.context.counters.queue.acknowledged.add(1);
            if let Some(id) = id {
                self.intake.forget(&id);
            }
        }
        Ok(())
    }

    /// What could not be kept, since its dead letter could not be written, is taken again later.
    async fn give_back_lost(&mut self) -> RedisResult<()> {
        self.broker.give_back(&tags(&self.lost), End::Last).await?;
        for Open { tag, id } in self.lost.drain(..) {
            self.unacknowledged.remove(&tag);
            if let Some(id) = id {
                self.intake.forget(&id);
            }
        }
        Ok(())
    }

    /// Keeps what is in hand from going back, and puts back what somebody has left.
    async fn look_after_the_books(&mut self) -> RedisResult<()> {
        if Instant::now() < self.books_at {
            return Ok(());
        }
        let timeout = self.config.visibility_timeout.get();
        if !self.unacknowledged.is_empty() {
            let tags: Vec<_> = self.unacknowledged.iter().map(String::as_str).collect();
            self.broker.refresh(&tags).await?;
        }
        let restored = self.broker.restore(timeout).await?;
        if restored > 0 {
            info!(restored, "messages that nobody has acknowledged are back in the queue");
        }
        self.context.counters.queue.restored.add(restored as u64);
        self.books_at = Instant::now() + BOOKS_INTERVAL.min(timeout / 10);
        Ok(())
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
        }
        let left: Vec<_> = self.unacknowledged.iter().map(String::as_str).collect();
        if left.is_empty() {
            return;
        }
        match self.broker.give_back(&left, End::Next).await {
            Ok(returned) => info!(returned, "messages that are not stored yet are back in the queue"),
            Err(error) => {
                warn!(%error, "messages that are not stored yet come back after visibility_timeout")
            }
        }
    }
}

fn tags(open: &[Open]) -> Vec<&str> {
    open.iter().map(|message| message.tag.as_str()).collect()
}
