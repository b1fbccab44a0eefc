//! Celery on a Redis.
//!
//! Whoever takes a message has to write it into kombu's books, `unacked` and `unacked_index`, under its delivery tag, or it is
//! lost with him; to acknowledge it is to delete it there. The first bare consumer does that for 200 messages at once, on one
//! connection, with as few round trips as there can be, and reads nothing of a message but its tag. As kombu it would lose
//! messages if it ended between taking and writing. The second does what kombu does: one message after the other.

use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use redis::{Commands, Connection, Pipeline};
use serde_json::Value;

use crate::broker::Broker;
use crate::meter::{Meter, Spent};
use crate::{Queue, Result, message};

const QUEUE: &str = "kaneda";
/// As the daemon takes at once.
const BATCH: usize = 200;
/// Messages that are put into the queue at once.
const FILLED: usize = 1000;
const TAG: &str = "\"delivery_tag\": \"";

pub(crate) struct Celery {
    server: Broker,
    connection: Connection,
    /// Each cut where its ids are: text, the kind of id, text..
    messages: Vec<String>,
}

impl Celery {
    pub(crate) fn new(server: Broker) -> Result<Celery> {
        let connection = redis::Client::open(server.url.as_str())?.get_connection()?;
        let mut messages = Vec::new();
        for line in message::lines("celery_redis_n313.jsonl")? {
            let recorded: Value = serde_json::from_str(&line)?;
            let id = message::text(&recorded, "/headers/id")?;
            let tag = message::text(&recorded, "/properties/delivery_tag")?;
            messages.push(line.replace(id, "{id}").replace(tag, "{tag}"));
        }
        Ok(Celery { server, connection, messages })
    }

    fn message(&self, number: usize) -> String {
        let shape = &self.messages[number % self.messages.len()];
        shape.replace("{id}", &message::id(1, number)).replace("{tag}", &message::id(2, number))
    }

    fn by_batch(&mut self) -> Result<usize> {
        let (mut taken, mut tags): (usize, Vec<String>) = (0, Vec::new());
        loop {
            let mut pipe = redis::pipe();
            acknowledge(&mut pipe, &tags);
            pipe.rpop(QUEUE, NonZeroUsize::new(BATCH));
            let (messages,): (Option<Vec<String>>,) = pipe.query(&mut self.connection)?;
            let Some(messages) = messages else { return Ok(taken) };
            taken += messages.len();
            tags = messages.iter().map(|message| tag(message).map(str::to_owned)).collect::<Result<_>>()?;
            note(&tags, &messages).exec(&mut self.connection)?;
        }
    }

    fn one_by_one(&mut self) -> Result<usize> {
        let mut taken = 0;
        loop {
            let popped: Option<(String, String)> = self.connection.brpop(QUEUE, 0.01)?;
            let Some((_, message)) = popped else { return Ok(taken) };
            taken += 1;
            let tags = [tag(&message)?.to_owned()];
            note(&tags, &[message]).exec(&mut self.connection)?;
            let mut pipe = redis::pipe();
            acknowledge(&mut pipe, &tags);
            pipe.exec(&mut self.connection)?;
        }
    }
}

/// Writes messages into the books.
fn note(tags: &[String], messages: &[String]) -> Pipeline {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut pipe = redis::pipe();
    let scores: Vec<_> = tags.iter().map(|tag| (now, tag)).collect();
    let entry = |message| format!("[{message}, \"\", \"{QUEUE}\"]");
    let entries: Vec<_> = tags.iter().zip(messages.iter().map(entry)).collect();
    pipe.atomic()
        .zadd_multiple("unacked_index", &scores)
        .ignore()
        .hset_multiple("unacked", &entries)
        .ignore();
    pipe
}

fn acknowledge(pipe: &mut Pipeline, tags: &[String]) {
    if !tags.is_empty() {
        pipe.zrem("unacked_index", tags).ignore().hdel("unacked", tags).ignore();
    }
}

fn tag(message: &str) -> Result<&str> {
    let start = message.rfind(TAG).ok_or("no tag")? + TAG.len();
    Ok(message[start..].split('"').next().unwrap_or_default())
}

impl Queue for Celery {
    fn name(&self) -> &'static str {
        "celery, Redis"
    }

    fn fill(&mut self, reports: usize) -> Result<()> {
        for first in (0..reports).step_by(FILLED) {
            let messages: Vec<_> =
                (first..reports.min(first + FILLED)).map(|number| self.message(number)).collect();
            self.connection.lpush::<_, _, ()>(QUEUE, messages)?;
        }
        Ok(())
    }

    fn bare(&self) -> &'static [&'static str] {
        &["bare: takes and acknowledges by 200", "bare: one message after the other, as kombu"]
    }

    fn take(&mut self, bare: usize, reports: usize) -> Result<Spent> {
        let meter = Meter::start()?;
        let taken = if bare == 0 { self.by_batch()? } else { self.one_by_one()? };
        let spent = meter.stop(taken)?;
        if taken == reports { Ok(spent) } else { Err(format!("{taken} of {reports} were there").into()) }
    }

    fn source(&self) -> (String, &'static str) {
        let keys = format!("type = 'celery'\nbroker = '{}/0'\nqueue_name = '{QUEUE}'", self.server.url);
        (keys, "messages_acknowledged")
    }

    fn worker(&self) -> (Vec<String>, String) {
        let words = "-m celery -A kaneda.tasks.celery worker --loglevel=warning";
        (words.split(' ').map(str::to_owned).collect(), format!("{}/0", self.server.url))
    }

    fn clear(&mut self) -> Result<()> {
        Ok(redis::cmd("FLUSHALL").exec(&mut self.connection)?)
    }
}
