//! Celery on a RabbitMQ.
//!
//! The bare consumer has the library and the prefetch that the daemon has. It drops what comes, and acknowledges all that has
//! come with one word, at the latest when half of prefetch is there, so that the broker never waits for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::broker::Broker;
use crate::meter::{Meter, Spent};
use crate::{Queue, Result, message};

const QUEUE: &str = "kaneda";
/// As the daemon's default.
const PREFETCH: u16 = 200;
/// Messages that are sent before the broker has to say that it has them.
const FILLED: usize = 2000;

pub(crate) struct Celery {
    server: Broker,
    runtime: Runtime,
    _connection: Connection,
    channel: Channel,
    messages: Vec<(Value, Vec<u8>)>,
}

impl Celery {
    pub(crate) fn new(server: Broker) -> Result<Celery> {
        let runtime = Runtime::new()?;
        let (connection, channel) = runtime.block_on(open(&server.url))?;
        runtime.block_on(async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            // As Celery makes it.
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await
        })?;
        let recorded: Vec<Value> = serde_json::from_slice(&message::file("celery_amqp_n313.json")?)?;
        let mut messages = Vec::new();
        for message in recorded.into_iter().take(message::MANY) {
            let body = STANDARD.decode(message::text(&message, "/body")?)?;
            messages.push((message, body));
        }
        Ok(Celery { server, runtime, _connection: connection, channel, messages })
    }

    async fn publish(&self, number: usize) -> Result<lapin::Confirmation> {
        let (message, body) = &self.messages[number % self.messages.len()];
        let word = |name: &str| message::text(message, &format!("/{name}"));
        let id = message::id(1, number);
        let AMQPValue::FieldTable(mut headers) = header(&message["application_headers"])? else {
            return Err("no headers were recorded".into());
        };
        for name in ["id", "root_id"] {
            headers.insert(name.into(), AMQPValue::LongString(id.as_str().into()));
        }
        let properties = BasicProperties::default()
            .with_content_type(word("content_type")?.into())
            .with_content_encoding(word("content_encoding")?.into())
            .with_reply_to(word("reply_to")?.into())
            .with_correlation_id(id.into())
            .with_delivery_mode(2)
            .with_priority(0)
            .with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish("".into(), QUEUE.into(), options, body, properties);
        Ok(sent.await?.await?)
    }
}

async fn open(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// A header as pika and py-amqp write it.
fn header(value: &Value) -> Result<AMQPValue> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => {
            AMQPValue::LongInt(number.as_i64().and_then(|number| number.try_into().ok()).ok_or("no int")?)
        }
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(values.iter().map(header).collect::<Result<Vec<_>>>()?.into())
        }
        Value::Object(members) => {
            let mut table = FieldTable::default();
            for (name, value) in members {
                table.insert(name.as_str().into(), header(value)?);
            }
            AMQPValue::FieldTable(table)
        }
    })
}

impl Queue for Celery {
    fn name(&self) -> &'static str {
        "celery, RabbitMQ"
    }

    fn fill(&mut self, reports: usize) -> Result<()> {
        self.runtime.block_on(async {
            for first in (0..reports).step_by(FILLED) {
                let sent = (first..reports.min(first + FILLED)).map(|number| self.publish(number));
                futures_util::future::try_join_all(sent).await?;
            }
            Ok(())
        })
    }

    fn bare(&self) -> &'static [&'static str] {
        &["bare: takes and acknowledges"]
    }

    fn take(&mut self, _: usize, reports: usize) -> Result<Spent> {
        self.runtime.block_on(async {
            let (connection, channel) = open(&self.server.url).await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let mut consumer =
                channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
            let meter = Meter::start()?;
            let mut taken = 0;
            while taken < reports {
                let mut last = consumer.next().await.ok_or("the consumer ended")??;
                let mut many = 1;
                while many < usize::from(PREFETCH / 2)
                    && let Some(next) = consumer.next().now_or_never()
                {
                    last = next.ok_or("the consumer ended")??;
                    many += 1;
                }
                channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
                taken += many;
            }
            let spent = meter.stop(taken)?;
            connection.close(200, "".into()).await?;
            Ok(spent)
        })
    }

    fn source(&self) -> (String, &'static str) {
        let keys = format!("type = 'celery'\nbroker = '{}'\nqueue_name = '{QUEUE}'", self.server.url);
        (keys, "messages_acknowledged")
    }

    fn worker(&self) -> (Vec<String>, String) {
        let words = "-m celery -A kaneda.tasks.celery worker --loglevel=warning";
        (words.split(' ').map(str::to_owned).collect(), self.server.url.clone())
    }

    fn clear(&mut self) -> Result<()> {
        self.runtime.block_on(self.channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()))?;
        Ok(())
    }
}
