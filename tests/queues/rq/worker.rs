//! RQ's own workers beside the daemon.

use std::time::Duration;

use super::{NEW, REPORT, assert_books, books, config, counter, list, push, until_settled};
use crate::client::{self, assert_each_once};
use crate::process::{Daemon, named};
use crate::redis::Server;

#[test]
fn a_python_worker_beside_the_daemon_shares_its_queue_without_loss() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_shared") else { return };
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let mut worker =
        client::python(&["tests/queues/rq_worker.py", &server.url, "shared", done.to_str().unwrap()]);
    while !done.exists() {
        std::thread::sleep(Duration::from_millis(20));
        assert!(worker.try_wait().unwrap().is_none(), "RQ's worker has ended");
    }
    // Few at once, so that the daemon is not done before the other has begun.
    let daemon = Daemon::start(&config(&server, "queue_name = 'shared'\nprefetch = 5"));
    let by_worker =
        || std::fs::read_to_string(&done).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    client::end(client::start(&["rq", &server.url, "shared", "1000"]));
    daemon.until("all done", |status| {
        counter(status, "messages_acknowledged") + by_worker().len() as u64 == 1000
            && server.ask::<u64>("ZCARD rq:wip:shared") == 0
    });
    worker.kill().unwrap();
    worker.wait().unwrap();
    let (_, ended) = daemon.end();
    let by_daemon = ended.rows("cast(value as integer)");
    assert!(!by_daemon.is_empty() && !by_worker().is_empty());
    assert_each_once([by_daemon, by_worker()].concat(), 1000);
    assert_books(&books(&server, "shared"), 0, [0, 1000, 0]);
}

#[test]
fn workers_that_are_suspended_take_nothing() {
    let Some(server) = Server::start("rq_suspended") else { return };
    server.ask::<()>("SET rq:suspended 1");
    push(&server, "kaneda", REPORT, "a", &NEW);
    let daemon = Daemon::start(&config(&server, ""));
    let state = || {
        let workers: Vec<String> = server.ask("SMEMBERS rq:workers:kaneda");
        workers.first().map(|worker| server.ask::<String>(&format!("HGET {worker} state")))
    };
    daemon.until("suspended", |_| state().as_deref() == Some("suspended"));
    assert_eq!(list(&server), ["a"]);
    server.ask::<()>("DEL rq:suspended");
    until_settled(&daemon, 1);
    assert_eq!(state().as_deref(), Some("idle"));
    daemon.end();
}

#[test]
fn jobs_that_the_redis_does_not_let_us_write_stay_in_the_queue() {
    let Some(server) = Server::start("rq_forbidden") else { return };
    let ids = ["a", "b", "c"];
    ids.into_iter().for_each(|id| push(&server, "kaneda", REPORT, id, &NEW));
    let others = ["queue", "worker", "wip", "finished", "failed", "execution", "results", "suspended"];
    let keys = others.map(|word| format!("~rq:{word}*")).join(" ");
    server.ask::<()>(&format!("ACL SETUSER kaneda on >word &* +@all {keys} %R~rq:job:*"));
    let config = config(&server, "").replace("redis://", "redis://kaneda:word@");
    let daemon = Daemon::start(&config);
    daemon.until("told", |status| named(&status["sources"], "rq")["state"] == "retrying");
    assert_eq!(list(&server), ids);
    server.ask::<()>("ACL SETUSER kaneda ~rq:job:*");
    let status = until_settled(&daemon, 3);
    assert_eq!(counter(&status, "messages_expired"), 0);
    daemon.end();
}

#[test]
fn what_workers_of_rq_have_left_is_taken_up_and_what_is_not_ours_is_not_touched() {
    let Some(server) = Server::start("rq_left") else { return };
    let mut connection = server.connection();
    let started = [NEW[0], NEW[1], ("worker_name", "python")];
    for (function, id) in [
        (REPORT, "ours"),
        ("shop.mail", "theirs"),
        (REPORT, "alive"),
        (REPORT, "stuck"),
        (REPORT, "begun"),
        ("shop.mail", "mail"),
    ] {
        push(&server, "kaneda", function, id, &started);
    }
    server.ask::<()>("DEL rq:queue:kaneda");
    // The time of the first two is over; RQ's maintenance would fail them.
    for (id, till) in [("ours", 1_u64), ("theirs", 1), ("alive", 10_000_000_000)] {
        server.ask::<()>(&format!("HSET rq:job:{id} status started"));
        server.ask::<()>(&format!("ZADD rq:wip:kaneda {till} {id}:0123"));
        server.ask::<()>(&format!("ZADD rq:executions:{id} {till} 0123"));
    }
    // These were taken and not begun, for long and just now.
    for (id, since) in [("stuck", "1.5"), ("begun", "10000000000"), ("mail", "1.5")] {
        redis::cmd("RPUSH").arg("rq:queue:kaneda:intermediate").arg(id).exec(&mut connection).unwrap();
        let key = format!("rq:queue:kaneda:intermediate:first_seen:{id}");
        redis::cmd("SET").arg(key).arg(since).exec(&mut connection).unwrap();
    }
    let daemon = Daemon::start(&config(&server, ""));
    let status = until_settled(&daemon, 2);
    assert_eq!(counter(&status, "messages_restored"), 2);
    let (_, ended) = daemon.end();
    let mut names = ended.rows("name");
    names.sort();
    assert_eq!(names, ["ours", "stuck"]);
    assert_eq!(server.ask::<Vec<String>>("ZRANGE rq:wip:kaneda 0 -1"), ["theirs:0123", "alive:0123"]);
    assert_eq!(server.ask::<Vec<String>>("LRANGE rq:queue:kaneda:intermediate 0 -1"), ["begun", "mail"]);
}
