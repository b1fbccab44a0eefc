//! A Redis as kombu uses it: the queue's lists, and the books of what was taken and is not acknowledged.
//!
//! Source: `kombu/transport/redis.py`. A message that a worker takes moves from its list into the hash `unacked`, under a
//! delivery tag, as `[message, exchange, routing key]`; the sorted set `unacked_index` says since when. What is there for
//! longer than the visibility timeout goes back to its list. With the same books a Python worker beside us or after us
//! agrees with us on every message. kombu takes in two steps, between which a message can be lost; here it is one.
//!
//! While there are more, the next messages are asked for before those that were taken are read: the Redis works meanwhile.
//! They are ours as if they had been taken: their tags are known, whatever becomes of the answer.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Script};
use serde_json::value::RawValue;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::config::BATCH;
use super::delivery::Delivery;
use super::{Broker, Config, End, Tended};
use crate::source::queue::{Connection, RECONNECT_PAUSE};

/// Behind the queue's name; a message of priority 0 to 2 is in the list without. The lower, the sooner.
const PRIORITIES: [&str; 4] = ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"];
/// Messages that go back at once, for those that were left unacknowledged.
const RESTORED_AT_ONCE: usize = 100;
/// How often the books are looked after, at most: a tenth of the visibility timeout is enough for short ones.
const BOOKS_INTERVAL: Duration = Duration::from_secs(10);

/// Takes up to ARGV[1] messages, at the time ARGV[2], off the lists behind the first two keys: each goes into the books
/// between a bracket and ARGV[3], under a tag that is ARGV[4] and a number, from ARGV[5] on in the order in which they are given.
///
/// kombu uses the tag that the sender has put into a message. Nobody needs to: whoever finds a message in the books learns its tag
/// there, and the Redis does not have to read each message for it.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local most, now, rest, name, first = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local taken, index, books = {}, {}, {}
for list = 3, #KEYS do
  if #taken == most then break end
  local messages = redis.call('LRANGE', KEYS[list], #taken - most, -1)
  for at = #messages, 1, -1 do
    local message, tag = messages[at], string.format('%s%d', name, first + #taken)
    taken[#taken + 1] = message
    index[#index + 1] = now
    index[#index + 1] = tag
    books[#books + 1] = tag
    books[#books + 1] = '[' .. message .. rest
  end
  if #messages > 0 then redis.call('LTRIM', KEYS[list], 0, -1 - #messages) end
end
if #taken > 0 then
  redis.call('ZADD', KEYS[2], unpack(index))
  redis.call('HSET', KEYS[1], unpack(books))
end
return taken
"#,
    )
});

/// Puts messages back that are unacknowledged still: pairs of a tag and a message, to the end of a list that ARGV[1] says.
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local given = 0
for at = 2, #ARGV, 2 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZREM', KEYS[2], ARGV[at])
    redis.call(ARGV[1], KEYS[3], ARGV[at + 1])
    given = given + 1
  end
end
return given
"#,
    )
});

/// The connection to a broker.
pub(super) struct Redis {
    connection: Connection,
    queue: String,
    lists: Vec<String>,
    unacked: String,
    index: String,
    /// Behind each message of ours in the books: where it goes back to.
    route: String,
    /// What the tags of ours begin with.
    name: String,
    /// Messages that were asked for so far: the number of the next.
    next: u64,
    /// Those that were taken and are in the books still.
    held: BTreeSet<u64>,
    /// Those that the next `take` gives.
    ahead: Option<Ahead>,
    /// Those whose answer was lost with its connection: they go back.
    unanswered: Range<u64>,
    visibility_timeout: Duration,
    books_at: Instant,
}

/// Messages that were asked for: those that were there are taken.
struct Ahead {
    numbers: Range<u64>,
    answer: JoinHandle<RedisResult<Vec<Vec<u8>>>>,
}

impl Redis {
    /// Nothing is connected to yet.
    pub(super) fn new(config: &Config, connection: Connection) -> Self {
        let prefix = &config.global_keyprefix;
        let queue = config.queue().to_owned();
        Redis {
            connection,
            lists: PRIORITIES.iter().map(|priority| format!("{prefix}{queue}{priority}")).collect(),
            route: format!(", \"\", {}]", serde_json::Value::from(queue.as_str())),
            name: format!("kaneda-{}-", uuid::Uuid::now_v7().simple()),
            next: 0,
            held: BTreeSet::new(),
            ahead: None,
            unanswered: 0..0,
            unacked: format!("{prefix}unacked"),
            index: format!("{prefix}unacked_index"),
            visibility_timeout: config.visibility_timeout.get(),
            books_at: Instant::now(),
            queue,
        }
    }

    /// Asks for up to `most` messages. It does not wait: whoever awaits the answer learns what became of it.
    fn ask(&mut self, mut connection: MultiplexedConnection, most: usize) -> Ahead {
        let most = most.min(BATCH);
        // Also if no answer comes: no other message has these tags.
        let numbers = self.next..self.next + most as u64;
        self.next = numbers.end;
        let mut call = TAKE.prepare_invoke();
        call.key(&self.unacked).key(&self.index).key(&self.lists);
        call.arg(most).arg(now()).arg(&self.route).arg(&self.name).arg(numbers.start);
        let answer = tokio::spawn(async move { call.invoke_async(&mut connection).await });
        Ahead { numbers, answer }
    }

    /// What the books call these messages.
    fn tags(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        numbers.into_iter().map(|number| format!("{}{number}", self.name)).collect()
    }

    /// All that is ours is still being worked on: it does not go back for another visibility timeout.
    async fn refresh(&mut self) -> RedisResult<()> {
        let ahead = self.ahead.iter().flat_map(|ahead| ahead.numbers.clone());
        let tags = self.tags(self.held.iter().copied().chain(ahead));
        if tags.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.get().await?;
        let mut command = redis::cmd("ZADD");
        command.arg(&self.index).arg("XX");
        for tag in tags {
            command.arg(now()).arg(tag);
        }
        command.query_async(&mut connection).await
    }

    /// How often that is said.
    fn interval(&self) -> Duration {
        BOOKS_INTERVAL.min(self.visibility_timeout / 10)
    }

    /// These are not in the books any more.
    fn let_go(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.held.remove(number);
        }
    }

    /// Puts messages of this queue back that anybody took and has not acknowledged for `timeout`. How many.
    async fn restore(&mut self, timeout: Duration) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(&self.index).arg("-inf").arg(now() - timeout.as_secs_f64());
        command.arg("LIMIT").arg(0).arg(RESTORED_AT_ONCE);
        let tags: Vec<String> = command.query_async(&mut connection).await?;
        if tags.is_empty() {
            return Ok(0);
        }
        // Other queues at this broker have their messages in the same books.
        let queue = self.queue.clone();
        self.return_to(End::Next, &tags, Some(&queue)).await
    }

    /// Puts messages back that are in the books, those of one queue if it is named. How many.
    async fn return_to(&mut self, end: End, tags: &[String], queue: Option<&str>) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let entries: Vec<Option<Vec<u8>>> =
            redis::cmd("HMGET").arg(&self.unacked).arg(tags).query_async(&mut connection).await?;
        let found =
            tags.iter().zip(&entries).filter_map(|(tag, entry)| Some((tag.as_str(), entry.as_deref()?)));
        let found: Vec<_> = found.collect();
        self.put_back(&found, end, queue).await
    }

    async fn put_back(
        &mut self,
        entries: &[(&str, &[u8])],
        end: End,
        queue: Option<&str>,
    ) -> RedisResult<usize> {
        let mut connection = self.connection.get().await?;
        let mut call = GIVE_BACK.prepare_invoke();
        call.key(&self.unacked).key(&self.index).key(&self.lists[0]);
        call.arg(match end {
            End::Next => "RPUSH",
            End::Last => "LPUSH",
        });
        let mut any = false;
        for (tag, entry) in entries {
            let Some(message) = message(entry, queue) else { continue };
            call.arg(tag).arg(message);
            any = true;
        }
        if any { call.invoke_async(&mut connection).await } else { Ok(0) }
    }
}

impl Broker for Redis {
    /// The number of a message, in the order in which they were taken.
    type Tag = u64;
    type Error = RedisError;
    const CONFIRMS: bool = true;
    const HURRY_PART: usize = 2;

    fn place(&self) -> String {
        format!("{} {}", self.connection.place(), self.queue)
    }

    fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    fn disconnect(&mut self) {
        self.connection.disconnect();
        if let Some(Ahead { numbers, answer }) = self.ahead.take() {
            answer.abort();
            self.unanswered = numbers;
        }
    }

    /// What is in the books stays there whatever becomes of the connection.
    fn holds(&self, _: &u64) -> bool {
        true
    }

    /// The most urgent first.
    async fn take(&mut self, room: usize) -> RedisResult<Vec<Delivery<u64>>> {
        let connection = self.connection.get().await?;
        let Ahead { numbers, answer } = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.ask(connection.clone(), room),
        };
        self.unanswered = numbers.clone();
        let taken = answer.await.map_err(io::Error::from)??;
        self.unanswered = 0..0;
        let room = room.saturating_sub(taken.len());
        let may_be_more = taken.len() as u64 == numbers.end - numbers.start;
        if may_be_more && room > 0 {
            self.ahead = Some(self.ask(connection, room));
            // It is sent before those that are here are read, which nothing interrupts.
            yield_now().await;
        }
        self.held.extend(numbers.clone().take(taken.len()));
        Ok(numbers.zip(taken).map(|(number, message)| Delivery::enveloped(number, message)).collect())
    }

    /// Taking is one command for up to four lists; waiting would be one for each.
    async fn ready(&mut self) {
        std::future::pending().await
    }

    async fn acknowledge(&mut self, numbers: &[u64]) -> RedisResult<()> {
        let mut connection = self.connection.get().await?;
        let tags = self.tags(numbers.iter().copied());
        let mut pipe = redis::pipe();
        pipe.atomic().zrem(&self.index, &tags).ignore().hdel(&self.unacked, &tags).ignore();
        pipe.query_async::<()>(&mut connection).await?;
        self.let_go(numbers);
        Ok(())
    }

    /// It has no such place.
    async fn reject(&mut self, numbers: &[u64]) -> RedisResult<()> {
        self.acknowledge(numbers).await
    }

    /// In the order in which they were taken.
    async fn give_back(&mut self, numbers: &[u64], end: End) -> RedisResult<()> {
        let mut numbers = numbers.to_vec();
        match end {
            End::Next => numbers.sort_unstable_by(|one, other| other.cmp(one)),
            End::Last => numbers.sort_unstable(),
        }
        // Whole messages go there and back.
        for numbers in numbers.chunks(BATCH) {
            let tags = self.tags(numbers.iter().copied());
            self.return_to(end, &tags, None).await?;
            self.let_go(numbers);
        }
        Ok(())
    }

    fn has_to_tend(&self) -> bool {
        !self.unanswered.is_empty() || Instant::now() >= self.books_at
    }

    async fn tend(&mut self) -> RedisResult<Tended> {
        let mut restored = 0;
        if !self.unanswered.is_empty() {
            let tags = self.tags(self.unanswered.clone().rev());
            restored += self.return_to(End::Next, &tags, None).await?;
            self.unanswered = 0..0;
        }
        self.refresh().await?;
        restored += self.restore(self.visibility_timeout).await?;
        self.books_at = Instant::now() + self.interval();
        Ok(Tended { restored, has_returned: false })
    }

    async fn stay(&mut self) -> Infallible {
        let mut at = self.books_at;
        loop {
            sleep_until(at).await;
            let pause = match self.refresh().await {
                Ok(()) => self.interval(),
                Err(error) => {
                    warn!(place = self.place(), %error, "the broker cannot be told that its messages are worked on still");
                    self.disconnect();
                    RECONNECT_PAUSE
                }
            };
            at = Instant::now() + pause;
        }
    }

    async fn end(mut self, left: &[u64]) -> RedisResult<()> {
        let mut left = left.to_vec();
        left.extend(self.unanswered.clone());
        if let Some(Ahead { numbers, answer }) = self.ahead.take() {
            // It comes before what the connection is given now, or never: there is no need of the answer.
            answer.abort();
            let _ended = answer.await;
            left.extend(numbers);
        }
        if left.is_empty() { Ok(()) } else { self.give_back(&left, End::Next).await }
    }
}

/// The message of an entry in the books, as it was in its list; none if it is of another queue than the one named.
fn message<'e>(entry: &'e [u8], queue: Option<&str>) -> Option<&'e str> {
    let (message, _exchange, route): (&RawValue, String, String) = serde_json::from_slice(entry).ok()?;
    queue.is_none_or(|queue| queue == route).then_some(message.get())
}

/// Seconds since 1970, as `time.time()` has them.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
