//! A Redis as kombu uses it: the queue's lists, and the books of what was taken and is not acknowledged.
//!
//! Source: `kombu/transport/redis.py`. A message that a worker takes moves from its list into the hash `unacked`, under its
//! delivery tag, as `[message, exchange, routing key]`; the sorted set `unacked_index` says since when. What is there for
//! longer than the visibility timeout goes back to its list. With the same books a Python worker beside us or after us
//! agrees with us on every message. kombu takes in two steps, between which a message can be lost; here it is one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{RedisResult, Script};
use serde_json::value::RawValue;

use super::Config;
use crate::source::queue::Connection;

/// Behind the queue's name; a message of priority 0 to 2 is in the list without. The lower, the sooner.
const PRIORITIES: [&str; 4] = ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"];
/// Messages that go back at once, for those that were left unacknowledged.
const RESTORED_AT_ONCE: usize = 100;

/// Takes up to ARGV[1] messages, at the time ARGV[2], off the lists behind the first two keys. A message without a tag, which
/// kombu does not write, gets one of its own.
const TAKE: &str = r#"
local most, now, taken = tonumber(ARGV[1]), ARGV[2], {}
for list = 3, #KEYS do
  while #taken < 2 * most do
    local message = redis.call('RPOP', KEYS[list])
    if not message then break end
    local ok, envelope = pcall(cjson.decode, message)
    local properties = ok and type(envelope) == 'table' and envelope.properties
    local tag, exchange, route = nil, '', ARGV[3]
    if type(properties) == 'table' then
      if type(properties.delivery_tag) == 'string' then tag = properties.delivery_tag end
      local info = properties.delivery_info
      if type(info) == 'table' then
        if type(info.exchange) == 'string' then exchange = info.exchange end
        if type(info.routing_key) == 'string' then route = info.routing_key end
      end
    end
    tag = tag or 'kaneda-' .. redis.sha1hex(message)
    redis.call('ZADD', KEYS[2], now, tag)
    redis.call('HSET', KEYS[1], tag, '[' .. message .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(route) .. ']')
    taken[#taken + 1] = tag
    taken[#taken + 1] = message
  end
end
return taken
"#;

/// Puts messages back that are unacknowledged still: pairs of a tag and a message, to the end of a list that ARGV[1] says.
const GIVE_BACK: &str = r#"
local given = 0
for at = 2, #ARGV, 2 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZREM', KEYS[2], ARGV[at])
    redis.call(ARGV[1], KEYS[3], ARGV[at + 1])
    given = given + 1
  end
end
return given
"#;

/// A message that was taken.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Names it in the books.
    pub(super) tag: String,
    /// As it was in the list.
    pub(super) element: Vec<u8>,
}

/// To which end of the queue a message goes back.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// It is the next to be taken.
    Next,
    /// It is the last.
    Last,
}

/// The connection to a broker.
pub(super) struct Broker {
    connection: Connection,
    queue: String,
    lists: Vec<String>,
    unacked: String,
    index: String,
    take: Script,
    give_back: Script,
}

impl Broker {
    /// Nothing is connected to yet.
    pub(super) fn new(config: &Config) -> RedisResult<Self> {
        let prefix = &config.global_keyprefix;
        let queue = config.queue().to_owned();
        Ok(Broker {
            connection: Connection::new(&config.broker)?,
            lists: PRIORITIES.iter().map(|priority| format!("{prefix}{queue}{priority}")).collect(),
            queue,
            unacked: format!("{prefix}unacked"),
            index: format!("{prefix}unacked_index"),
            take: Script::new(TAKE),
            give_back: Script::new(GIVE_BACK),
        })
    }

    /// Where it is, without the login.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.connection.place(), self.queue)
    }

    /// The next call connects again.
    pub(super) fn disconnect(&mut self) {
        self.connection.disconnect();
    }

    /// Whether it is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// Takes up to `most` messages, the most urgent first.
    pub(super) async fn take(&mut self, most: usize) -> RedisResult<Vec<Delivery>> {
        let mut connection = self.connection.get().await?;
        let mut call = self.take.prepare_invoke();
        call.key(&self.unacked).key(&self.index).key(&self.lists);
        call.arg(most).arg(now()).arg(&self.queue);
        let mut taken = call.invoke_async::<Vec<Vec<u8>>>(&mut connection).await?.into_iter();
        let next = || Some(Delivery { tag: text(taken.next()?), element: taken.next()? });
        Ok(std::iter::from_fn(next).collect())
    }

    /// These are done with.
    pub(super) async fn acknowledge(&mut self, tags: &[&str]) -> RedisResult<()> {
        let mut connection = self.connection.get().await?;
        let mut pipe = redis::pipe();
        pipe.atomic().zrem(&self.index, tags).ignore().hdel(&self.unacked, tags).ignore();
        pipe.query_async(&mut connection).await
    }

    /// These are still being worked on: they do not go back for another visibility timeout.
    pub(super) async fn refresh(&mut self, tags: &[&str]) -> RedisResult<()> {
        let mut connection = self.connection.get().await?;
        let mut command = redis::cmd("ZADD");
        command.arg(&self.index).arg("XX");
        for tag in tags {
            command.arg(now()).arg(tag);
        }
        command.query_async(&mut connection).await
    }

    /// Puts messages back that this source took.
    pub(super) async fn give_back(&mut self, tags: &[&str], end: End) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let entries: Vec<Option<Vec<u8>>> =
            redis::cmd("HMGET").arg(&self.unacked).arg(tags).query_async(&mut connection).await?;
        let found = tags.iter().zip(&entries).filter_map(|(tag, entry)| Some((*tag, entry.as_deref()?)));
        self.put_back(found, end).await
    }

    /// Puts messages of this queue back that anybody took and has not acknowledged for `timeout`. How many.
    pub(super) async fn restore(&mut self, timeout: Duration) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(&self.index).arg("-inf").arg(now() - timeout.as_secs_f64());
        command.arg("LIMIT").arg(0).arg(RESTORED_AT_ONCE);
        let tags: Vec<String> = command.query_async(&mut connection).await?;
        if tags.is_empty() {
            return Ok(0);
        }
        self.give_back(&tags.iter().map(String::as_str).collect::<Vec<_>>(), End::Next).await
    }

    async fn put_back<'e>(
        &mut self,
        entries: impl Iterator<Item = (&'e str, &'e [u8])>,
        end: End,
    ) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let mut call = self.give_back.prepare_invoke();
        call.key(&self.unacked).key(&self.index).key(&self.lists[0]);
        call.arg(match end {
            End::Next => "RPUSH",
            End::Last => "LPUSH",
        });
        let mut any = false;
        for (tag, entry) in entries {
            // Other queues at this broker have their messages in the same books.
            let Some(message) = message(entry, &self.queue) else { continue };
            call.arg(tag).arg(message);
            any = true;
        }
        if any { call.invoke_async(&mut connection).await } else { Ok(0) }
    }
}

/// The message of an entry in the books, as it was in its list; none if it is of another queue.
fn message<'e>(entry: &'e [u8], queue: &str) -> Option<&'e str> {
    let (message, _exchange, route): (&RawValue, String, String) = serde_json::from_slice(entry).ok()?;
    (route == queue).then_some(message.get())
}

/// Seconds since 1970, as `time.time()` has them.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
