//! A Redis as RQ uses it: a queue's list of ids, a hash for each job, and the books of what became of them.
//!
//! Source: `rq/queue.py`, `rq/worker_registration.py`, `rq/suspension.py`; the books are kept by the scripts (`script.rs`). An RQ
//! worker takes a job in several steps, between which it may be lost for a while; here it is one. So nothing of ours is ever in
//! the list `intermediate`.

use std::collections::HashSet;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, ScriptInvocation};

use super::Config;
use super::config::BATCH;
use super::script::{self, PRELUDE};
use crate::source::queue::{Connection, HEAD};

/// What the names of workers of ours begin with.
const OURS: &str = "kaneda-";
/// Seconds after which a worker that was not heard of is none any more. RQ's own say 90 while they work.
const WORKER_TTL: u64 = 90;
/// Seconds for which RQ shows a worker that has ended.
const DEATH_TTL: u64 = 60;
/// `DEFAULT_FAILURE_TTL` of RQ: a year.
const FAILURE_TTL: u64 = 31_536_000;
/// Seconds after which RQ calls a job lost that was taken and not begun.
const BETWEEN_PATIENCE: u64 = 60;
/// Jobs that are put back or refreshed at once.
pub(super) const MANY: usize = 5 * BATCH;

/// What was seen of the queue.
pub(super) struct Look {
    /// `rq suspend` was called: no worker takes anything.
    pub(super) is_suspended: bool,
    /// The place in the queue that `seen` begins at.
    pub(super) start: usize,
    /// Ids without a job: it was deleted, or its time was over.
    pub(super) gone: u64,
    pub(super) seen: Vec<Seen>,
}

/// A job in the queue.
pub(super) struct Seen {
    pub(super) id: Vec<u8>,
    pub(super) form: Form,
    /// Bytes of its data.
    pub(super) length: usize,
    /// These, or the first of them if they are more than a job may have.
    pub(super) data: Vec<u8>,
}

/// Which books a job has, and whether it has an end, for the scripts: see there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Form(u8);

/// A job that is to be taken.
pub(super) struct Wanted<'w> {
    pub(super) id: &'w [u8],
    pub(super) form: Form,
    pub(super) execution: String,
}

/// What became of a job that was to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in our hands.
    Ours,
    /// There was no job any more: it was removed.
    Gone,
    /// Others have it, or it is left to them.
    Not,
}

/// A job in somebody's hands.
pub(super) struct Held {
    pub(super) id: Vec<u8>,
    /// Names this time that it was taken; empty: RQ before release 2 has no name for it.
    pub(super) execution: Vec<u8>,
    pub(super) worker: String,
    /// The first bytes of its data, if RQ would call it abandoned now and the worker is none of this program; else empty.
    pub(super) head: Vec<u8>,
}

/// A job that is done with.
pub(super) struct Settled<'s> {
    pub(super) id: &'s [u8],
    pub(super) execution: String,
    pub(super) form: Form,
    /// When it was taken.
    pub(super) since: Timestamp,
    /// Why it failed, deflated; none: it is finished.
    pub(super) reason: Option<Vec<u8>>,
}

/// To which end of the queue a job goes back.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// It is the next to be taken.
    Next,
    /// It is the last.
    Last,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Busy,
    Suspended,
}

/// The connection to a Redis, and us as a worker of RQ's there.
pub(super) struct Broker {
    connection: Connection,
    queue: String,
    prefix: String,
    /// Of this worker.
    name: String,
    birth: Timestamp,
    /// Whether Redis lets a connection have a name.
    is_named: bool,
    /// Of our end of the connection, as Redis sees it.
    address: String,
    abandoned_after: u64,
    result_ttl: u64,
    failed_queue: bool,
    longest: usize,
    batch_bytes: usize,
    keys: [String; 6],
    scripts: Scripts,
}

struct Scripts {
    look: Script,
    take: Script,
    settle: Script,
    give_back: Script,
    refresh: Script,
    in_hand: Script,
    between: Script,
    rescue: Script,
    tidy: Script,
}

impl Broker {
    /// Nothing is connected to yet.
    pub(super) fn new(config: &Config, connection: Connection) -> Self {
        let (prefix, queue) = (&config.key_prefix, &config.queue_name);
        let name = format!("{OURS}{}", uuid::Uuid::now_v7().simple());
        let keys = [
            format!("{prefix}:queue:{queue}"),
            format!("{prefix}:wip:{queue}"),
            format!("{prefix}:finished:{queue}"),
            format!("{prefix}:failed:{queue}"),
            format!("{prefix}:worker:{name}"),
            format!("{prefix}:worker:{name}:executions"),
        ];
        let script = |text: &str| Script::new(&format!("{PRELUDE}{text}"));
        Broker {
            connection,
            queue: queue.clone(),
            prefix: prefix.clone(),
            name,
            birth: Timestamp::now(),
            is_named: false,
            address: String::new(),
            abandoned_after: config.abandoned_after.get().as_secs(),
            result_ttl: config.result_ttl.get().as_secs_f64().ceil() as u64,
            failed_queue: config.failed_queue,
            longest: config.longest(),
            batch_bytes: config.batch_bytes(),
            keys,
            scripts: Scripts {
                look: script(script::LOOK),
                take: script(script::TAKE),
                settle: script(script::SETTLE),
                give_back: script(script::GIVE_BACK),
                refresh: script(script::REFRESH),
                in_hand: script(script::IN_HAND),
                between: script(script::BETWEEN),
                rescue: script(script::RESCUE),
                tidy: script(script::TIDY),
            },
        }
    }

    /// Where it is, without the login.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.connection.place(), self.queue)
    }

    /// The name of this worker in RQ's books.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next call connects again.
    pub(super) fn disconnect(&mut self) {
        self.connection.disconnect();
    }

    /// Whether it is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// Connects if need be, under the name of this worker: so others see whether it is alive.
    async fn connection(&mut self) -> RedisResult<MultiplexedConnection> {
        let is_new = !self.connection.is_connected();
        let mut connection = self.connection.get().await?;
        if is_new {
            let mut command = redis::cmd("CLIENT");
            command.arg("SETNAME").arg(&self.name);
            self.is_named = allowed(command.query_async::<()>(&mut connection).await)?.is_some();
            let info = redis::cmd("CLIENT").arg("INFO").query_async::<String>(&mut connection).await;
            let address = allowed(info)?.and_then(|info| part(&info, "addr=").map(str::to_owned));
            self.address = address.unwrap_or_else(|| "unknown".to_owned());
            // Or a look that is sent behind the first one would be done before it.
            self.scripts.take.load_async(&mut connection).await?;
        }
        Ok(connection)
    }

    /// Says that this worker is there, and what it is at.
    pub(super) async fn register(&mut self, state: State) -> RedisResult<()> {
        let mut connection = self.connection().await?;
        let now = iso(Timestamp::now());
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        let version = concat!("kaneda ", env!("CARGO_PKG_VERSION"));
        let fields = [
            ("birth", iso(self.birth)),
            ("last_heartbeat", now),
            ("queues", self.queue.clone()),
            ("pid", std::process::id().to_string()),
            ("hostname", machine),
            ("ip_address", self.address.clone()),
            ("version", version.to_owned()),
            ("python_version", "none".to_owned()),
            ("state", state.word().to_owned()),
            ("is_named", u8::from(self.is_named).to_string()),
        ];
        let [all, of_queue] = self.workers();
        let worker = &self.keys[4];
        let mut pipe = redis::pipe();
        pipe.atomic().hset_multiple(worker, &fields).ignore();
        pipe.sadd(all, worker).ignore().sadd(of_queue, worker).ignore();
        pipe.cmd("EXPIRE").arg(worker).arg(WORKER_TTL).ignore();
        pipe.query_async(&mut connection).await
    }

    /// Says that this worker has ended.
    pub(super) async fn deregister(&mut self) -> RedisResult<()> {
        let mut connection = self.connection().await?;
        let [all, of_queue] = self.workers();
        let (worker, executions) = (&self.keys[4], &self.keys[5]);
        let mut pipe = redis::pipe();
        pipe.atomic().srem(all, worker).ignore().srem(of_queue, worker).ignore();
        pipe.hset(worker, "death", iso(Timestamp::now())).ignore();
        pipe.cmd("EXPIRE").arg(worker).arg(DEATH_TTL).ignore();
        pipe.del(executions).ignore();
        pipe.query_async(&mut connection).await
    }

    /// The set of all workers, and that of those of this queue.
    fn workers(&self) -> [String; 2] {
        [format!("{}:workers", self.prefix), format!("{}:workers:{}", self.prefix, self.queue)]
    }

    /// Looks at up to `most` jobs from place `start` of the queue on, which stands behind the job `before`. What this gives does
    /// it, whatever else is asked meanwhile.
    pub(super) async fn look(
        &mut self,
        start: usize,
        before: &[u8],
        most: usize,
    ) -> RedisResult<impl Future<Output = RedisResult<Look>> + Send + 'static> {
        let mut connection = self.connection().await?;
        let (script, keys) = (self.scripts.look.clone(), self.keys.clone());
        let (prefix, before) = (self.prefix.clone(), before.to_vec());
        let (longest, batch_bytes) = (self.longest, self.batch_bytes);
        Ok(async move {
            let mut call = script.prepare_invoke();
            call.key(&keys[..]).arg(prefix).arg(start).arg(before).arg(most).arg(longest);
            call.arg(batch_bytes).arg(HEAD);
            let (is_suspended, start, gone, seen): (bool, usize, u64, Vec<Vec<u8>>) =
                call.invoke_async(&mut connection).await?;
            let seen = groups(seen).map(|[id, form, length, data]| {
                let length = number(&length).unwrap_or(data.len());
                Seen { id, form: Form(number(&form).unwrap_or_default()), length, data }
            });
            Ok(Look { is_suspended, start, gone, seen: seen.collect() })
        })
    }

    /// The first id in the queue.
    pub(super) async fn first(&mut self) -> RedisResult<Option<Vec<u8>>> {
        let mut connection = self.connection().await?;
        redis::cmd("LINDEX").arg(&self.keys[0]).arg(0).query_async(&mut connection).await
    }

    /// Takes jobs that are in the queue still; they stand about `place`. What became of each; none of them: workers are suspended.
    pub(super) async fn take(&mut self, jobs: &[Wanted<'_>], place: usize) -> RedisResult<Vec<Taken>> {
        let mut connection = self.connection().await?;
        let now = Timestamp::now();
        let mut call = self.call(&self.scripts.take);
        call.arg(&self.name).arg(iso(now)).arg(seconds(now));
        call.arg(self.abandoned_after).arg(self.till(now)).arg(place);
        for Wanted { id, form, execution } in jobs {
            call.arg(*id).arg(execution).arg(form.0);
        }
        let taken: Vec<u8> = call.invoke_async(&mut connection).await?;
        let taken = taken.into_iter().map(|taken| match taken {
            1 => Taken::Ours,
            2 => Taken::Gone,
            _ => Taken::Not,
        });
        Ok(taken.collect())
    }

    /// Writes what became of jobs that are still ours, and what the worker is at then. How many there were.
    pub(super) async fn settle(&mut self, jobs: &[Settled<'_>], state: State) -> RedisResult<u64> {
        let mut connection = self.connection().await?;
        let now = Timestamp::now();
        let worked: f64 = jobs.iter().map(|job| now.duration_since(job.since).as_secs_f64()).sum();
        let mut call = self.call(&self.scripts.settle);
        call.arg(&self.name).arg(iso(now)).arg(seconds(now)).arg(self.result_ttl).arg(FAILURE_TTL);
        call.arg(state.word()).arg(worked).arg(u8::from(self.failed_queue));
        for Settled { id, execution, form, since, reason } in jobs {
            let reason = reason.as_deref().unwrap_or_default();
            call.arg(*id).arg(execution).arg(seconds(*since)).arg(form.0);
            call.arg(reason).arg(STANDARD.encode(reason));
        }
        call.invoke_async(&mut connection).await
    }

    /// Puts jobs back into the queue that are still in the hands of the worker that is named with each: an id, an execution, and
    /// that name. How many.
    pub(super) async fn give_back(&mut self, jobs: &[(&[u8], &[u8], &str)], end: End) -> RedisResult<u64> {
        let mut connection = self.connection().await?;
        let mut call = self.call(&self.scripts.give_back);
        call.arg(match end {
            End::Next => "LPUSH",
            End::Last => "RPUSH",
        });
        for (id, execution, worker) in jobs {
            call.arg(*id).arg(*execution).arg(*worker);
        }
        call.invoke_async(&mut connection).await
    }

    /// These jobs of ours are being worked on still.
    pub(super) async fn refresh(&mut self, jobs: &[(&[u8], String)]) -> RedisResult<()> {
        let mut connection = self.connection().await?;
        let now = Timestamp::now();
        let mut call = self.call(&self.scripts.refresh);
        call.arg(iso(now)).arg(seconds(now)).arg(self.abandoned_after).arg(self.till(now));
        for (id, execution) in jobs {
            call.arg(*id).arg(execution);
        }
        call.invoke_async(&mut connection).await
    }

    /// Up to `MANY` of the jobs in anybody's hands, from the `skip`th on; with `unheard` only those of which nothing was
    /// heard for so many seconds.
    pub(super) async fn in_hand(&mut self, unheard: Option<u64>, skip: usize) -> RedisResult<Vec<Held>> {
        let mut connection = self.connection().await?;
        let now = Timestamp::now();
        let till = unheard.map(|unheard| (self.till(now) - unheard as i64).to_string());
        let mut call = self.call(&self.scripts.in_hand);
        call.arg(till.as_deref().unwrap_or("+inf")).arg(skip).arg(MANY).arg(now.as_second()).arg(HEAD);
        call.arg(OURS);
        let held: Vec<Vec<u8>> = call.invoke_async(&mut connection).await?;
        let held = groups(held).map(|[id, execution, worker, head]| {
            let worker = String::from_utf8_lossy(&worker).into_owned();
            Held { id, execution, worker, head }
        });
        Ok(held.collect())
    }

    /// Up to `BATCH` jobs that workers of RQ's have taken and not begun, with the first bytes of their data.
    pub(super) async fn between(&mut self) -> RedisResult<Vec<[Vec<u8>; 2]>> {
        let mut connection = self.connection().await?;
        let mut call = self.call(&self.scripts.between);
        call.arg(BATCH).arg(HEAD);
        Ok(groups(call.invoke_async(&mut connection).await?).collect())
    }

    /// Puts those of these jobs back that nobody has begun for longer than RQ waits. How many.
    pub(super) async fn rescue(&mut self, ids: &[&[u8]]) -> RedisResult<u64> {
        let mut connection = self.connection().await?;
        let mut call = self.call(&self.scripts.rescue);
        call.arg(seconds(Timestamp::now())).arg(BETWEEN_PATIENCE);
        for id in ids {
            call.arg(*id);
        }
        call.invoke_async(&mut connection).await
    }

    /// Registries forget what is over.
    pub(super) async fn tidy(&mut self) -> RedisResult<()> {
        let mut connection = self.connection().await?;
        let mut call = self.call(&self.scripts.tidy);
        call.arg(Timestamp::now().as_second()).arg(&self.workers()[..]);
        call.invoke_async(&mut connection).await
    }

    /// The names of the connections to this Redis; none: it does not tell.
    pub(super) async fn connected(&mut self) -> RedisResult<Option<HashSet<String>>> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("CLIENT");
        command.arg("LIST");
        let list: Option<String> = allowed(command.query_async(&mut connection).await)?;
        let name =
            |client: &str| client.split(' ').find_map(|part| Some(part.strip_prefix("name=")?.to_owned()));
        Ok(list.map(|list| list.lines().filter_map(name).collect()))
    }

    /// What is known of a worker: none if it was not heard of, else whether its connection has its name.
    pub(super) async fn worker(&mut self, name: &str) -> RedisResult<Option<bool>> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("HMGET");
        command.arg(format!("{}:worker:{name}", self.prefix)).arg(&["birth", "is_named"]);
        let (birth, is_named): (Option<String>, Option<String>) =
            command.query_async(&mut connection).await?;
        Ok(birth.map(|_| is_named.as_deref() == Some("1")))
    }

    fn call<'s>(&'s self, script: &'s Script) -> ScriptInvocation<'s> {
        let mut call = script.prepare_invoke();
        call.key(&self.keys[..]).arg(&self.prefix);
        call
    }

    /// Until when what is taken or refreshed now is in our hands.
    fn till(&self, now: Timestamp) -> i64 {
        now.as_second() + self.abandoned_after as i64
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Busy => "busy",
            State::Suspended => "suspended",
        }
    }
}

/// Whether a worker with this name is of this program.
pub(super) fn is_ours(worker: &str) -> bool {
    worker.starts_with(OURS)
}

/// None: this Redis does not let us.
fn allowed<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Err(error) if matches!(error.code(), Some("ERR" | "NOPERM")) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What stands behind `word` in a client's line.
fn part<'c>(client: &'c str, word: &str) -> Option<&'c str> {
    client.split(' ').find_map(|part| part.trim_end().strip_prefix(word))
}

/// What a script gives one behind the other.
fn groups<const N: usize>(flat: Vec<Vec<u8>>) -> impl Iterator<Item = [Vec<u8>; N]> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(move || {
        let group: Vec<_> = flat.by_ref().take(N).collect();
        group.try_into().ok()
    })
}

/// A number that a script gives as a text.
fn number<N: FromStr>(text: &[u8]) -> Option<N> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// As `utcformat` of RQ has it.
fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Seconds since 1970, as `datetime.timestamp()` has them.
fn seconds(time: Timestamp) -> String {
    format!("{}.{:06}", time.as_second(), time.subsec_nanosecond() / 1000)
}
