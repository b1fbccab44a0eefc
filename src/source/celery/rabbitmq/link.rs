//! A connection to a RabbitMQ, with one channel and one consumer on it.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ErrorKind};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::arrival::Arrival;
use super::guard::{self, Secured};
use super::held::{Place, Unanswered, Words};
use super::{Failure, Tag};
use crate::source::celery::delivery::Delivery;

/// How long what has arrived waits for others, if it is few: to send them off one by one costs several times as much.
const GATHER: Duration = Duration::from_millis(1);
/// What is no more than this part of `prefetch` is few.
const FEW_PART: u16 = 4;
/// A consumer that has but this part of `prefetch` left, since the rest is aside, is followed by another.
const LEFT_PART: u16 = 4;

pub(super) struct Link {
    number: u64,
    connection: Connection,
    channel: Channel,
    queue: ShortString,
    prefetch: u16,
    max_message: usize,
    /// Messages that the broker may have sent so far.
    allowed: Arc<AtomicU64>,
    /// What the library had, and was not taken yet.
    arrived: VecDeque<Arrival>,
    /// What was taken and not answered.
    held: Unanswered,
    /// Consumers so far; the last is the one that is sent messages.
    consumers: u64,
    consumer: Option<Consumer>,
    /// Messages that are aside and count against `prefetch` of the last consumer.
    aside: u16,
    /// Ends the connection, whatever the library waits for.
    _end: DropGuard,
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
        tls: Option<Secured>,
    ) -> Result<Link, Failure> {
        let properties = ConnectionProperties::default().with_connection_name("kaneda".into());
        let allowed = Arc::new(AtomicU64::new(ahead(prefetch)));
        let given_up = CancellationToken::new();
        let runtime = guard::runtime(max_message, Arc::clone(&allowed), tls, given_up.clone());
        let end = given_up.drop_guard();
        let connection = Connection::connect_uri_with_runtime(uri.clone(), properties, runtime).await?;
        let queue = ShortString::from(queue);
        let channel = declared(&connection, &queue).await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let mut link = Link {
            number,
            connection,
            channel,
            queue,
            prefetch,
            max_message,
            allowed,
            arrived: VecDeque::new(),
            held: Unanswered::default(),
            consumers: 0,
            consumer: None,
            aside: 0,
            _end: end,
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
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Takes over what the library has.
    fn draw(&mut self) {
        while let Some(next) = self.consumer.as_mut().and_then(|consumer| consumer.next().now_or_never()) {
            self.arrive(next);
        }
    }

    /// Takes over what the library gave.
    fn arrive(&mut self, next: Option<lapin::Result<lapin::message::Delivery>>) {
        if next.is_none() {
            self.consumer = None;
        }
        self.arrived.push_back(Arrival::new(self.consumers, next, self.max_message));
    }

    /// Ends the consumer, and takes up what it was sent meanwhile.
    async fn cancel(&mut self) -> Result<(), Failure> {
        let Some(mut consumer) = self.consumer.take() else { return Ok(()) };
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        while let Some(next) = consumer.next().await {
            self.arrive(Some(next));
        }
        Ok(())
    }

    /// Gives back what the broker has sent and did not reach us.
    pub(super) async fn give_back_missed(&mut self) -> Result<(), Failure> {
        let missed = self.held.take_missed();
        self.tell(missed, Answer::Return).await
    }

    /// Sees that what is aside does not hold up the rest: `prefetch` counts for each consumer by itself, so that a new one has
    /// room again.
    pub(super) async fn make_room(&mut self) -> Result<(), Failure> {
        if self.aside < self.prefetch - self.prefetch / LEFT_PART {
            return Ok(());
        }
        self.cancel().await?;
        self.consume().await
    }

    /// Waits for others if few have arrived, and the broker may send more.
    pub(super) async fn gather(&mut self) {
        self.draw();
        let arrived = self.arrived.len();
        let is_few = (1..=usize::from(self.prefetch / FEW_PART)).contains(&arrived);
        if is_few && arrived + self.held.count() < usize::from(self.prefetch) {
            sleep(GATHER).await;
        }
    }

    /// What has arrived, up to `most`.
    pub(super) fn take(&mut self, most: usize) -> Result<Vec<Delivery<Tag>>, Failure> {
        self.draw();
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(arrival) = self.arrived.pop_front() else { break };
            let delivery = match arrival.what {
                Ok(delivery) => delivery,
                Err(Some(error)) => return Err(error.into()),
                Err(None) if arrival.consumer == self.consumers => return Err(Failure::Cancelled),
                Err(None) => continue,
            };
            self.allowed.fetch_add(1, Ordering::Relaxed);
            match self.held.arrive(delivery.tag, arrival.consumer, ahead(self.prefetch)) {
                Place::Next => {}
                Place::Known => continue,
                Place::Far => return Err(Failure::TooMany),
            }
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
        if !self.arrived.is_empty() {
            return;
        }
        match &mut self.consumer {
            Some(consumer) => {
                let next = consumer.next().await;
                self.arrive(next);
            }
            None => pending().await,
        }
    }

    pub(super) fn holds(&self, tag: Tag) -> bool {
        tag.link == self.number && self.held.holds(tag.number)
    }

    pub(super) fn put_aside(&mut self, tag: Tag) {
        if tag.link == self.number {
            self.aside += u16::from(self.held.put_aside(tag.number, self.consumers));
        }
    }

    pub(super) fn has_held_for_long(&self) -> bool {
        self.held.has_old()
    }

    pub(super) fn held_for_long(&self) -> Vec<Tag> {
        self.held.old().into_iter().map(|number| Tag { link: self.number, number }).collect()
    }

    /// Tells the broker what became of messages.
    pub(super) async fn answer(&mut self, tags: &[Tag], answer: Answer) -> Result<(), Failure> {
        let own = tags.iter().filter(|tag| tag.link == self.number);
        self.tell(own.map(|tag| tag.number).collect(), answer).await
    }

    async fn tell(&mut self, numbers: Vec<u64>, answer: Answer) -> Result<(), Failure> {
        let Words { up_to, alone, aside } = self.held.answer(numbers, self.consumers);
        self.aside -= aside;
        if let Some(last) = up_to {
            self.say(last, true, answer).await?;
        }
        let said = alone.into_iter().map(|number| self.say(number, false, answer));
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

/// Messages that the broker may send before they are taken: those of two consumers, while one takes the place of the other.
fn ahead(prefetch: u16) -> u64 {
    2 * u64::from(prefetch)
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
