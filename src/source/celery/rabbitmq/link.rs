//! A connection to a RabbitMQ, with one channel and one consumer on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::mpsc;

use super::arrival::{Arrival, Arrivals};
use super::{Failure, Tag, guard};
use crate::source::celery::delivery::Delivery;

/// A message that is held for so long is given back and taken again. The broker ends the channel after its
/// `consumer_timeout`: 30 minutes, in some releases 15.
const HELD_FOR_LONG: Duration = Duration::from_secs(600);
/// A consumer that has but this part of `prefetch` left, since the rest is aside, is followed by another.
const LEFT_PART: u16 = 4;

pub(super) struct Link {
    number: u64,
    connection: Connection,
    channel: Channel,
    queue: ShortString,
    prefetch: u16,
    max_message: usize,
    sink: mpsc::Sender<Arrival>,
    arrived: mpsc::Receiver<Arrival>,
    /// What `ready` met.
    next: VecDeque<Arrival>,
    /// What was taken and not answered, by its delivery tag.
    held: BTreeMap<u64, Held>,
    /// Consumers so far; the last is the one that is sent messages.
    consumers: u64,
    consumer_tag: ShortString,
    /// Messages that are aside and count against `prefetch` of the last consumer.
    aside: u16,
}

/// A message that is not answered.
#[derive(Debug)]
struct Held {
    since: Instant,
    consumer: u64,
    is_aside: bool,
}

impl Held {
    fn is_old(&self) -> bool {
        self.since.elapsed() >= HELD_FOR_LONG
    }
}

/// What the broker is told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is done with.
    Acknowledge,
    /// It is to be delivered again.
    Return,
    /// It is for the queue's dead-letter exchange.
    Reject,
}

impl Link {
    pub(super) async fn open(
        number: u64,
        uri: &AMQPUri,
        queue: &str,
        prefetch: u16,
        max_message: usize,
    ) -> Result<Link, Failure> {
        let properties = ConnectionProperties::default().with_connection_name("kaneda".into());
        let runtime = guard::runtime(max_message);
        let connection = Connection::connect_uri_with_runtime(uri.clone(), properties, runtime).await?;
        let queue = ShortString::from(queue);
        let channel = declared(&connection, &queue).await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        // Of two consumers, while one takes the place of the other, and the end of each.
        let (sink, arrived) = mpsc::channel(2 * usize::from(prefetch) + 2);
        let mut link = Link {
            number,
            connection,
            channel,
            queue,
            prefetch,
            max_message,
            sink,
            arrived,
            next: VecDeque::new(),
            held: BTreeMap::new(),
            consumers: 0,
            consumer_tag: ShortString::default(),
            aside: 0,
        };
        link.consume().await?;
        Ok(link)
    }

    async fn consume(&mut self) -> Result<(), Failure> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        // The broker finds a name for it.
        let name = ShortString::default();
        let consumer = self.channel.basic_consume(self.queue.clone(), name, options, arguments).await?;
        self.consumers += 1;
        self.aside = 0;
        self.consumer_tag = consumer.tag();
        consumer.set_delegate(Arrivals {
            consumer: self.consumers,
            max_message: self.max_message,
            sink: self.sink.clone(),
        });
        Ok(())
    }

    /// Sees that what is aside does not hold up the rest: `prefetch` counts for each consumer by itself, so that a new one has
    /// room again.
    pub(super) async fn make_room(&mut self) -> Result<(), Failure> {
        if self.aside < self.prefetch - self.prefetch / LEFT_PART {
            return Ok(());
        }
        self.channel.basic_cancel(self.consumer_tag.clone(), BasicCancelOptions::default()).await?;
        self.consume().await
    }

    /// What has arrived, up to `most`.
    pub(super) fn take(&mut self, most: usize) -> Result<Vec<Delivery<Tag>>, Failure> {
        if self.sink.capacity() == 0 {
            return Err(Failure::TooMany);
        }
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(arrival) = self.next.pop_front().or_else(|| self.arrived.try_recv().ok()) else { break };
            let delivery = match arrival.what {
                Ok(delivery) => delivery,
                Err(Some(error)) => return Err(error.into()),
                Err(None) if arrival.consumer == self.consumers => return Err(Failure::Cancelled),
                Err(None) => continue,
            };
            let held = Held { since: Instant::now(), consumer: arrival.consumer, is_aside: false };
            self.held.insert(delivery.tag, held);
            let Delivery { tag, bytes, length, properties, is_again } = delivery;
            let tag = Tag { link: self.number, number: tag };
            taken.push(Delivery { tag, bytes, length, properties, is_again });
        }
        if taken.is_empty() && !self.connection.status().connected() {
            return Err(Failure::Gone);
        }
        Ok(taken)
    }

    /// Ends when something has arrived.
    pub(super) async fn ready(&mut self) {
        if self.next.is_empty() {
            // It cannot be closed: `sink` is here.
            self.next.extend(self.arrived.recv().await);
        }
    }

    pub(super) fn holds(&self, tag: Tag) -> bool {
        tag.link == self.number && self.held.contains_key(&tag.number)
    }

    pub(super) fn put_aside(&mut self, tag: Tag) {
        let Some(held) = self.held.get_mut(&tag.number).filter(|_| tag.link == self.number) else { return };
        held.is_aside = true;
        self.aside += u16::from(held.consumer == self.consumers);
    }

    pub(super) fn has_held_for_long(&self) -> bool {
        self.held.first_key_value().is_some_and(|(_, held)| held.is_old())
    }

    pub(super) fn held_for_long(&self) -> Vec<Tag> {
        let old = self.held.iter().take_while(|(_, held)| held.is_old());
        old.map(|(number, _)| Tag { link: self.number, number: *number }).collect()
    }

    /// Tells the broker what became of messages. Those behind which none is held take one word together.
    pub(super) async fn answer(&mut self, tags: &[Tag], answer: Answer) -> Result<(), Failure> {
        let mut numbers: Vec<_> = tags.iter().filter(|tag| self.holds(**tag)).map(|tag| tag.number).collect();
        numbers.sort_unstable();
        for number in &numbers {
            let held = self.held.remove(number);
            let is_counted = held.is_some_and(|held| held.is_aside && held.consumer == self.consumers);
            self.aside -= u16::from(is_counted);
        }
        let first_held = self.held.keys().next().copied().unwrap_or(u64::MAX);
        let together = numbers.partition_point(|number| *number < first_held);
        let (together, alone) = numbers.split_at(together);
        if let Some(last) = together.last() {
            self.say(*last, true, answer).await?;
        }
        let mut said = Vec::with_capacity(alone.len());
        for number in alone {
            said.push(self.say(*number, false, answer));
        }
        try_join_all(said).await?;
        Ok(())
    }

    async fn say(&self, number: u64, multiple: bool, answer: Answer) -> lapin::Result<()> {
        let requeue = match answer {
            Answer::Acknowledge => {
                return self.channel.basic_ack(number, BasicAckOptions { multiple }).await;
            }
            Answer::Return => true,
            Answer::Reject => false,
        };
        self.channel.basic_nack(number, BasicNackOptions { multiple, requeue }).await
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        Ok(self.connection.close(200, "the daemon ends".into()).await?)
    }
}

/// A channel, with the queue behind it. One that is there is taken as it is; one that is missing is made as Celery makes it.
async fn declared(connection: &Connection, queue: &ShortString) -> Result<Channel, Failure> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let error = match channel.queue_declare(queue.clone(), passive, FieldTable::default()).await {
        Ok(_) => return Ok(channel),
        Err(error) => error,
    };
    let is_missing = matches!(
        error.kind(),
        ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
    );
    if !is_missing {
        return Err(error.into());
    }
    // The broker has closed the first.
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), durable, FieldTable::default()).await?;
    Ok(channel)
}
