//! RQ on a real Redis: what the unchanged client sends is stored once, and RQ's own API and workers agree on what happened.

mod hand;
mod other;
mod report;
mod worker;

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use crate::client;
use crate::process::{Daemon, Ended, SQLITE, count, named};
use crate::redis::Server;

fn config(server: &Server, keys: &str) -> String {
    format!("[[source]]\ntype = 'rq'\nredis_url = '{}/0'\n{keys}\n{SQLITE}", server.url)
}

fn counter(status: &Value, name: &str) -> u64 {
    count(&named(&status["sources"], "rq")["counters"][name])
}

/// Waits until so many jobs are settled.
fn until_settled(daemon: &Daemon, jobs: u64) -> Value {
    daemon.until("all settled", |status| counter(status, "messages_acknowledged") == jobs)
}

/// What RQ's own API says of the queue.
fn books(server: &Server, queue: &str) -> Value {
    let printed = client::end(client::python(&["tests/queues/rq_books.py", &server.url, queue]));
    serde_json::from_str(&printed).unwrap()
}

/// Jobs in the queue, and in the registries of those that are started, finished and failed.
fn assert_books(books: &Value, queued: u64, [started, finished, failed]: [u64; 3]) {
    assert_eq!(count(&books["queued"]), queued, "{books:#}");
    for (word, jobs) in [("started", started), ("finished", finished), ("failed", failed)] {
        assert_eq!(count(&books["registries"][word]), jobs, "{word}: {books:#}");
    }
}

/// Nothing of jobs that are over is left but what RQ keeps.
fn assert_clean(server: &Server) {
    for pattern in ["rq:execution*", "rq:wip:*", "rq:worker:*:executions", "rq:queue:*:intermediate*"] {
        let left: Vec<String> = server.ask(&format!("KEYS {pattern}"));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn letters(ended: &Ended) -> Vec<Value> {
    let text = std::fs::read_to_string(ended.path("kaneda-data/dead/source-rq.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(bytes).unwrap();
    deflated.finish().unwrap()
}

/// A job as RQ 2 and 3 queue it, which calls a function with a value as Kaneda's `report` is called. The pickle is of protocol
/// 0, in which texts are readable.
fn push(server: &Server, queue: &str, function: &str, id: &str, more: &[(&str, &str)]) {
    let pickle = format!("(V{function}\nN(V{id}\nVgauge\nI1\nNNt(dt.");
    push_data(server, queue, id, &deflated(pickle.as_bytes()), more);
}

fn push_data(server: &Server, queue: &str, id: &str, data: &[u8], more: &[(&str, &str)]) {
    let mut connection = server.connection();
    let mut command = redis::cmd("HSET");
    command.arg(format!("rq:job:{id}")).arg("data").arg(data);
    let fields = [("status", "queued"), ("origin", queue), ("created_at", "2026-11-22T10:35:51.158365Z")];
    for (name, value) in fields.iter().chain(more) {
        command.arg(name).arg(value);
    }
    command.exec(&mut connection).unwrap();
    redis::cmd("SADD").arg("rq:queues").arg(format!("rq:queue:{queue}")).exec(&mut connection).unwrap();
    redis::cmd("RPUSH").arg(format!("rq:queue:{queue}")).arg(id).exec(&mut connection).unwrap();
}

/// What jobs have in their hashes since RQ 2.
const NEW: [(&str, &str); 2] = [("group_id", ""), ("success_callback_name", "")];
const REPORT: &str = "kaneda.tasks.rq.report";

fn list(server: &Server) -> Vec<String> {
    server.ask("LRANGE rq:queue:kaneda 0 -1")
}
