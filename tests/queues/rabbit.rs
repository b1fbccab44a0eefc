//! The real RabbitMQ: one that all tests share, each with queues of its own; a test that kills it has one of its own.

use std::sync::OnceLock;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use crate::broker::{self, Broker};

/// A server.
pub(crate) struct Server {
    broker: Broker,
    /// `amqp://127.0.0.1:port`
    pub(crate) url: String,
}

impl Server {
    /// The server of all tests, or a word that this one is skipped.
    pub(crate) fn shared(test: &str) -> Option<&'static Server> {
        static SERVER: OnceLock<Server> = OnceLock::new();
        broker::is_there("rabbitmq", test).unwrap().then(|| SERVER.get_or_init(|| Server::new("shared", &[])))
    }

    /// A server for `test`.
    pub(crate) fn own(test: &str) -> Option<Server> {
        Server::own_with(test, &[])
    }

    /// The same with options of its script.
    pub(crate) fn own_with(test: &str, options: &[&str]) -> Option<Server> {
        broker::is_there("rabbitmq", test).unwrap().then(|| Server::new(test, options))
    }

    fn new(name: &str, options: &[&str]) -> Server {
        let broker = Broker::start("rabbitmq", name, options).unwrap();
        let url = broker.url.clone();
        Server { broker, url }
    }

    /// Kills it and starts it again.
    pub(crate) fn restart(&self) {
        self.broker.run("restart");
    }

    pub(crate) fn client(&self) -> Client {
        let runtime = Runtime::new().unwrap();
        let (connection, channel) = runtime.block_on(async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
            (connection, channel)
        });
        Client { runtime, _connection: connection, channel }
    }
}

/// A channel of the test's own.
pub(crate) struct Client {
    runtime: Runtime,
    _connection: Connection,
    channel: Channel,
}

impl Client {
    /// Makes a durable queue, as Celery does, with these arguments.
    pub(crate) fn declare(&self, queue: &str, arguments: &[(&str, &str)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.runtime.block_on(self.channel.queue_declare(queue.into(), options, table)).unwrap();
    }

    /// Sends a message, and waits until the broker has it.
    pub(crate) fn publish(&self, queue: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions::default();
        let properties = properties.with_delivery_mode(2);
        let published = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
        self.runtime.block_on(async { published.await.unwrap().await.unwrap() });
    }

    /// Messages of a queue that nobody has taken.
    pub(crate) fn waiting(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        self.runtime.block_on(declared).unwrap().message_count()
    }

    /// Takes all messages of a queue that wait, for good: id and body.
    pub(crate) fn take(&self, queue: &str) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        let get = || self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        while let Some(message) = self.runtime.block_on(get()).unwrap() {
            let id = message.delivery.properties.correlation_id().clone().unwrap_or_default();
            taken.push((id.to_string(), String::from_utf8(message.delivery.data).unwrap()));
        }
        taken
    }
}
