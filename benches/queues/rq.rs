//! RQ.
//!
//! A job is in a hash of its own. Whoever takes it takes its id off the queue, reads its data and writes it into the books, or it
//! is lost with him; to acknowledge it is to write there that it is finished. The first bare consumer keeps the books that RQ's
//! own worker keeps (`rq_worker_monitor` of the recordings), for 200 jobs at once, with as few round trips as there can be: the
//! registry of started jobs, the execution, the result, the registry of finished jobs. The second only marks jobs as finished:
//! while it works nobody sees that it does, and what it has in hand when it ends is lost.

use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use redis::{Connection, Pipeline};

use crate::broker::Broker;
use crate::meter::{Meter, Spent};
use crate::{Queue, Result, message};

/// As the daemon takes at once.
const BATCH: usize = 200;
/// Jobs that are queued at once.
const FILLED: usize = 1000;
/// Seconds.
const RESULT_TTL: i64 = 500;
const TIME: &str = "2026-11-22T10:35:51.158365Z";
const QUEUE: &str = "rq:queue:kaneda";
const WORKER: &str = "rq:worker:9f67475d87f143efbae74ff8353ba43b";

pub(crate) struct Rq {
    server: Broker,
    connection: Connection,
    data: Vec<Vec<u8>>,
}

impl Rq {
    pub(crate) fn new(server: Broker) -> Result<Rq> {
        let connection = redis::Client::open(server.url.as_str())?.get_connection()?;
        let data = (0..message::MANY).map(|number| message::file(&format!("rq_n313_{number:02}.bin")));
        Ok(Rq { server, connection, data: data.collect::<Result<_>>()? })
    }

    fn queue(&self, pipe: &mut Pipeline, number: usize) {
        let id = message::id(1, number);
        let mut job = pipe.cmd("HSET").arg(format!("rq:job:{id}"));
        job = job.arg("data").arg(&self.data[number % self.data.len()]);
        for (field, value) in [
            ("created_at", TIME),
            (
                "description",
                "kaneda.tasks.rq.report('users.notifications', 'gauge', 13, ['new_message', 'follow_request'], None)",
            ),
            ("ended_at", ""),
            ("enqueued_at", TIME),
            ("failure_callback_name", ""),
            ("group_id", ""),
            ("last_heartbeat", ""),
            ("origin", "kaneda"),
            ("started_at", ""),
            ("status", "queued"),
            ("stopped_callback_name", ""),
            ("success_callback_name", ""),
            ("timeout", "180"),
            ("worker_name", ""),
        ] {
            job = job.arg(field).arg(value);
        }
        job.ignore();
        pipe.rpush(QUEUE, id).ignore();
    }

    fn take_all(&mut self, keeps_books: bool) -> Result<usize> {
        let (mut taken, mut ids): (usize, Vec<String>) = (0, Vec::new());
        loop {
            let mut pipe = redis::pipe();
            ids.iter().for_each(|id| finish(&mut pipe, id, keeps_books));
            pipe.lpop(QUEUE, NonZeroUsize::new(BATCH));
            let (next,): (Option<Vec<String>>,) = pipe.query(&mut self.connection)?;
            let Some(next) = next else { return Ok(taken) };
            ids = next;
            taken += ids.len();
            let mut pipe = redis::pipe();
            for id in &ids {
                pipe.hget(format!("rq:job:{id}"), "data");
                if keeps_books {
                    start(&mut pipe, id);
                }
            }
            let data: Vec<Vec<u8>> = pipe.query(&mut self.connection)?;
            std::hint::black_box(data);
        }
    }
}

fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}

/// What RQ 3.0 writes when a job is begun, each of it once.
fn start(pipe: &mut Pipeline, id: &str) {
    let (execution, now) = (id.replace('-', ""), seconds());
    let member = format!("{id}:{execution}");
    let record = format!("rq:execution:{member}");
    let fields = [
        ("id", execution.as_str()),
        ("job_id", id),
        ("created_at", "1795343807.991332"),
        ("last_heartbeat", "1795343807.991332"),
    ];
    pipe.hset_multiple(&record, &fields).ignore().expire(&record, 90).ignore();
    let executions = format!("rq:executions:{id}");
    pipe.zadd(&executions, &execution, now + 150).ignore().expire(&executions, 150).ignore();
    pipe.zadd("rq:wip:kaneda", &member, now + 90).ignore();
    pipe.sadd(format!("{WORKER}:executions"), &member).ignore();
    let job = format!("rq:job:{id}");
    let fields = [
        ("status", "started"),
        ("started_at", TIME),
        ("last_heartbeat", TIME),
        ("worker_name", &WORKER[10..]),
    ];
    pipe.hset_multiple(&job, &fields).ignore().persist(&job).ignore();
}

/// What it writes when it is done; without books only that it is.
fn finish(pipe: &mut Pipeline, id: &str, keeps_books: bool) {
    let job = format!("rq:job:{id}");
    pipe.hset_multiple(&job, &[("status", "finished"), ("ended_at", TIME)]).ignore();
    pipe.expire(&job, RESULT_TTL).ignore();
    pipe.zadd("rq:finished:kaneda", id, seconds() + RESULT_TTL).ignore();
    if !keeps_books {
        return;
    }
    let execution = id.replace('-', "");
    let member = format!("{id}:{execution}");
    let results = format!("rq:results:{id}");
    let entry = pipe.cmd("XADD").arg(&results).arg(&[
        "MAXLEN",
        "~",
        "10",
        "*",
        "type",
        "1",
        "worker_name",
        &WORKER[10..],
    ]);
    entry.arg("execution_id").arg(&execution).arg(&["execution_started_at", "1795343807.991332"]);
    entry.arg(&["execution_ended_at", "1795343808.085115"]).ignore();
    pipe.expire(&results, RESULT_TTL).ignore();
    pipe.zrem("rq:wip:kaneda", &member).ignore().del(format!("rq:execution:{member}")).ignore();
    pipe.zrem(format!("rq:executions:{id}"), &execution).ignore();
    pipe.srem(format!("{WORKER}:executions"), &member).ignore();
    pipe.expire(format!("{job}:dependents"), RESULT_TTL).ignore();
}

impl Queue for Rq {
    fn name(&self) -> &'static str {
        "rq"
    }

    fn fill(&mut self, reports: usize) -> Result<()> {
        redis::cmd("SADD").arg("rq:queues").arg(QUEUE).exec(&mut self.connection)?;
        for first in (0..reports).step_by(FILLED) {
            let mut pipe = redis::pipe();
            (first..reports.min(first + FILLED)).for_each(|number| self.queue(&mut pipe, number));
            pipe.exec(&mut self.connection)?;
        }
        Ok(())
    }

    fn bare(&self) -> &'static [&'static str] {
        &["bare: takes and acknowledges in RQ's books by 200", "bare: the same, but only marks as finished"]
    }

    fn take(&mut self, bare: usize, reports: usize) -> Result<Spent> {
        let meter = Meter::start()?;
        let taken = self.take_all(bare == 0)?;
        let spent = meter.stop(taken)?;
        if taken == reports { Ok(spent) } else { Err(format!("{taken} of {reports} were there").into()) }
    }

    fn source(&self) -> (String, &'static str) {
        (format!("type = 'rq'\nredis_url = '{}/0'", self.server.url), "messages_acknowledged")
    }

    fn worker(&self) -> (Vec<String>, String) {
        let words = format!("-m rq.cli worker --quiet --url {}/0 kaneda", self.server.url);
        (words.split(' ').map(str::to_owned).collect(), self.server.url.clone())
    }

    fn clear(&mut self) -> Result<()> {
        Ok(redis::cmd("FLUSHALL").exec(&mut self.connection)?)
    }
}
