//! Celery: the reports of Kaneda's `CeleryQueue`, from whichever broker.
//!
//! One worker for all brokers; what a broker has to do is the trait `Broker`.

mod aside;
mod config;
mod delivery;
mod ids;
#[cfg(feature = "amqp")]
mod rabbitmq;
mod redis;
mod result;
mod worker;

use std::convert::Infallible;
use std::fmt::Display;
use std::hash::Hash;
use std::io;
use std::pin::Pin;

use super::queue::Connection;
use super::{Context, Messages, address};
use crate::tls;
pub use config::{Config, OtherTasks};
use delivery::Delivery;
use result::Results;

/// A queue at a broker that is not connected to yet.
pub struct Worker {
    broker: Kind,
    results: Option<Results>,
}

#[allow(clippy::large_enum_variant, reason = "a source has one of them")]
enum Kind {
    Redis(redis::Redis),
    #[cfg(feature = "amqp")]
    Rabbitmq(rabbitmq::Rabbitmq),
}

impl Worker {
    /// Where the broker is, and which queue.
    pub fn place(&self) -> String {
        match &self.broker {
            Kind::Redis(broker) => broker.place(),
            #[cfg(feature = "amqp")]
            Kind::Rabbitmq(broker) => broker.place(),
        }
    }
}

/// Makes what [`run`] needs, for the source `name`. The error names the key to change. That the broker is away is no error.
pub fn worker(config: &Config, name: &str) -> io::Result<Worker> {
    config.check().map_err(address::invalid)?;
    let no_tls = |error: tls::Error| address::invalid(error.to_string());
    let results = config.results_url().map_err(address::invalid)?;
    config.check_tls(results.as_ref()).map_err(no_tls)?;
    let results = results
        .map(|url| Connection::new(url, "result_backend", name))
        .transpose()
        .map_err(address::invalid)?
        .map(Results::new);
    #[cfg(feature = "amqp")]
    if config.is_amqp() {
        let tls = rabbitmq::client(config, name).map_err(no_tls)?;
        let broker = rabbitmq::Rabbitmq::new(config, tls);
        let broker = broker.map_err(|why| address::invalid(format!("broker: {why}")))?;
        return Ok(Worker { broker: Kind::Rabbitmq(broker), results });
    }
    let url = config.redis_url().map_err(address::invalid)?;
    let connection = Connection::new(url, "broker", name).map_err(address::invalid)?;
    Ok(Worker { broker: Kind::Redis(redis::Redis::new(config, connection)), results })
}

/// Takes messages until it is told to stop, and acknowledges them when they are kept.
pub fn run<M: Messages>(
    worker: Worker,
    intake: M,
    context: Context,
    config: Config,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let Worker { broker, results } = worker;
    match broker {
        Kind::Redis(broker) => Box::pin(worker::run(broker, results, intake, context, config)),
        #[cfg(feature = "amqp")]
        Kind::Rabbitmq(broker) => Box::pin(worker::run(broker, results, intake, context, config)),
    }
}

/// A queue at a broker.
///
/// The worker calls. It `take`s while it has room, and each message that was taken it gives to `acknowledge` or
/// `give_back` once. What does not come to that, because the daemon or the connection dies, the broker delivers again, to
/// whomever it likes. The first call connects. After an error the worker calls `disconnect` and, after a pause, goes on:
/// with the messages that the broker `holds` for it still.
trait Broker: Send {
    /// Names a message that was taken.
    type Tag: Clone + Eq + Hash + Send + Sync + 'static;
    /// What it failed of.
    type Error: Display + Send;
    /// Whether the broker is known to have done what it was told when `acknowledge` returns. If not, it may yet deliver
    /// what was acknowledged.
    const CONFIRMS: bool;
    /// The part of `prefetch` that is worth a sync while none is under way. One that sends by itself has room for more at once;
    /// who asks for many at once is better off with much room.
    const HURRY_PART: usize;

    /// Where it is and which queue, without the login.
    fn place(&self) -> String;

    /// Whether it is connected.
    fn is_connected(&self) -> bool;

    /// The next call connects again.
    fn disconnect(&mut self);

    /// Whether it waits for what becomes of this message; if not, it delivers it again.
    fn holds(&self, tag: &Self::Tag) -> bool;

    /// Ends at once, or in a moment if the few that are here to be taken are worth waiting for others. It can be dropped at any
    /// time.
    fn gather(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Takes up to `room` messages, if there are some. Those that the broker asks for ahead are taken too, and within `room`
    /// with the others: the next call gives them.
    fn take(
        &mut self,
        room: usize,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Tag>>, Self::Error>> + Send;

    /// Ends when there may be something to take, if it knows. It can be dropped at any time.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// These are done with.
    fn acknowledge(&mut self, tags: &[Self::Tag]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// These are no reports: they are for others to look at, if the broker has a place for that, and done with if not.
    fn reject(&mut self, tags: &[Self::Tag]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts messages back.
    fn give_back(
        &mut self,
        tags: &[Self::Tag],
        end: End,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// This message goes back at a time that may be far: until then others are taken in its place.
    fn put_aside(&mut self, _tag: &Self::Tag) {}

    /// Whether it is time to `tend`.
    fn has_to_tend(&self) -> bool;

    /// Keeps what is in hand from being delivered again, and takes back what others have left, as far as it has to be
    /// done by workers.
    fn tend(&mut self) -> impl Future<Output = Result<Tended, Self::Error>> + Send;

    /// Keeps what is in hand from being delivered again while the worker waits for something else. It can be dropped at any
    /// time.
    fn stay(&mut self) -> impl Future<Output = Infallible> + Send {
        std::future::pending()
    }

    /// Puts the last messages back, and ends the connection.
    fn end(self, left: &[Self::Tag]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// To which end of the queue a message goes back.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is the next to be taken.
    Next,
    /// It is the last, if the broker can do that.
    Last,
}

/// What was done.
#[derive(Debug, Default)]
struct Tended {
    /// Messages that go back to the queue because whoever took them has left them.
    restored: usize,
    /// Messages of ours were given back: `holds` says which.
    has_returned: bool,
}
