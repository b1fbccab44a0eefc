//! RQ on a real Redis: what the unchanged client sends is stored once, and RQ's own API and workers agree on what happened.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use crate::client;
use crate::process::{Daemon, Ended, SQLITE, Start, count, named};
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

/// So many counters, each with its number as its value, are in the store, each once.
fn assert_each_once(mut rows: Vec<String>, reports: u64) {
    rows.sort_by_key(|value| value.parse::<u64>().unwrap());
    let expected: Vec<_> = (0..reports).map(|number| number.to_string()).collect();
    assert_eq!(rows, expected);
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

#[test]
fn what_kaneda_reports_is_stored_and_rq_sees_what_became_of_it() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_reports") else { return };
    client::end(client::start(&["rq", &server.url]));
    let daemon = Daemon::start(&config(&server, ""));
    let status = until_settled(&daemon, 16);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (14, 2));
    let seen = books(&server, "kaneda");
    assert_books(&seen, 0, [0, 14, 2]);
    for job in seen["jobs"].as_object().unwrap().values() {
        let expected = if job["status"] == "finished" { "SUCCESSFUL" } else { "FAILED" };
        assert_eq!(job["result"], expected, "{job}");
        if expected == "FAILED" {
            let reason = "not_finite: it holds NaN or Infinity: no store takes such a number";
            assert_eq!((job["status"].as_str(), job["reason"].as_str()), (Some("failed"), Some(reason)));
        }
        assert_eq!(job["worker"], seen["workers"][0]["name"]);
    }
    let worker = &seen["workers"][0];
    assert_eq!((count(&worker["successful"]), count(&worker["failed"])), (14, 2), "{worker}");
    assert_eq!((worker["state"].as_str(), count(&worker["executions"])), (Some("idle"), 0));
    assert_eq!(worker["queues"][0], "kaneda");
    let info = client::end(client::python(&["-m", "rq.cli", "info", "--raw", "--url", &server.url]));
    assert!(info.contains("queue kaneda 0") && info.contains(worker["name"].as_str().unwrap()), "{info}");
    assert_clean(&server);
    let (_, ended) = daemon.end();
    assert_eq!(books(&server, "kaneda")["workers"], serde_json::json!([]));
    client::compare(
        ended.rows(client::COLUMNS),
        &[r#"custom at - - - here {"at":"2026-01-02T03:04:05.000678"}"#, "gauge decimal 1.5 1.50 - here -"],
    );
    let mut ids = ended.rows("id");
    ids.retain(|id| id != "2B75D750");
    assert!(ids.len() == 13 && ids.iter().all(|id| seen["jobs"].get(id).is_some()), "{ids:?}");
    let reasons: Vec<_> = letters(&ended).iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(reasons, ["not_finite", "not_finite"]);
}

#[test]
fn the_books_after_a_job_are_those_that_rqs_own_worker_leaves() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_books") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("done");
    let url = &server.url;
    // A worker takes the second name for bad, and the daemon its value.
    for (name, value) in [("good", "1"), ("bad", "float('nan')")] {
        let script = format!(
            "from kaneda.queues import RQQueue; print(RQQueue(redis_url='{url}').report('{name}', 'gauge', {value}, None, None).id)"
        );
        let books_of = |work: &dyn Fn()| {
            server.ask::<()>("FLUSHALL");
            let id = client::end(client::python(&["-c", &script]));
            work();
            client::end(client::python(&["tests/queues/rq_books.py", url, "kaneda", id.trim()]))
        };
        let by_worker = books_of(&|| {
            let arguments = ["tests/queues/rq_worker.py", url, "kaneda", file.to_str().unwrap(), "burst"];
            client::end(client::python(&arguments));
        });
        let by_daemon = books_of(&|| {
            let daemon = Daemon::start(&config(&server, ""));
            until_settled(&daemon, 1);
            daemon.end();
        });
        assert!(by_worker.contains("rq:results:ID"), "{by_worker}");
        assert_eq!(by_daemon, by_worker);
    }
}

#[test]
fn recorded_jobs_of_every_release_are_taken() {
    let Some(server) = Server::start("rq_recorded") else { return };
    let root = env!("CARGO_MANIFEST_DIR");
    let releases: [(&str, &[(&str, &str)]); 4] =
        [("n27", &[]), ("n36rq1", &[]), ("n311rq1", &NEW[1..]), ("n313", &NEW)];
    for (release, fields) in releases {
        for number in 0..21 {
            let data =
                std::fs::read(format!("{root}/tests/data/queue/rq_{release}_{number:02}.bin")).unwrap();
            push_data(&server, "kaneda", &format!("{release}-{number}"), &data, fields);
        }
    }
    // As RQ wrote before it deflated.
    push_data(&server, "kaneda", "old", format!("(V{REPORT}\nN(Va\nVgauge\nI1\nt(dt.").as_bytes(), &[]);
    let daemon = Daemon::start(&config(&server, ""));
    let status = until_settled(&daemon, 85);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (73, 12));
    for (release, fields) in releases {
        for number in 0..21 {
            let id = format!("{release}-{number}");
            let has_failed = [11, 12, 20].contains(&number);
            let expected = if has_failed { "failed" } else { "finished" };
            assert_eq!(server.ask::<String>(&format!("HGET rq:job:{id} status")), expected, "{id}");
            assert_eq!(server.ask::<u64>(&format!("HEXISTS rq:job:{id} exc_info")), u64::from(has_failed));
            assert_eq!(server.ask::<u64>(&format!("XLEN rq:results:{id}")), u64::from(!fields.is_empty()));
            let left: i64 = server.ask(&format!("TTL rq:job:{id}"));
            assert!(if has_failed { left > 31_000_000 } else { (400..=500).contains(&left) }, "{id}: {left}");
        }
    }
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), 73);
    assert_eq!(server.ask::<u64>("ZCARD rq:failed:kaneda"), 12);
    assert_clean(&server);
    let (_, ended) = daemon.end();
    // One id_ is the same in each release.
    assert_eq!(ended.rows("id").len(), 73 - 3);
    assert_eq!(letters(&ended).len(), 12);
}

#[test]
fn a_job_is_kept_as_long_as_it_says() {
    let Some(server) = Server::start("rq_ttl") else { return };
    for (id, name, ttl) in [
        ("none", "result_ttl", "0"),
        ("ever", "result_ttl", "-1"),
        ("short", "result_ttl", "77"),
        ("odd", "result_ttl", "nan"),
        ("long", "result_ttl", "99999999999999999999"),
        ("ours", "ttl", "1000"),
    ] {
        push(&server, "kaneda", REPORT, id, &[NEW[0], NEW[1], (name, ttl)]);
    }
    for (id, ttl) in [("fail-none", "0"), ("fail-ever", "-1"), ("fail-short", "77")] {
        push_data(&server, "kaneda", id, b"nothing of Python's", &[NEW[0], NEW[1], ("failure_ttl", ttl)]);
    }
    server.ask::<()>("EXPIRE rq:job:ours 1000");
    // It was deleted, or its time was over.
    server.ask::<()>("RPUSH rq:queue:kaneda gone");
    let daemon = Daemon::start(&config(&server, "result_ttl = '300s'"));
    let status = until_settled(&daemon, 9);
    assert_eq!((counter(&status, "messages"), counter(&status, "messages_expired")), (10, 1));
    daemon.end();
    let ttl = |id: &str| server.ask::<i64>(&format!("TTL rq:job:{id}"));
    let is = |id: &str, seconds: i64| {
        let left = ttl(id);
        assert!((seconds - 60..=seconds).contains(&left), "{id}: {left}");
    };
    for id in ["none", "fail-none"] {
        assert_eq!((ttl(id), server.ask::<u64>(&format!("EXISTS rq:results:{id}"))), (-2, 0), "{id}");
    }
    for id in ["ever", "fail-ever"] {
        assert_eq!((ttl(id), server.ask::<i64>(&format!("TTL rq:results:{id}"))), (-1, -1), "{id}");
    }
    is("short", 77);
    is("fail-short", 77);
    is("odd", 300);
    is("ours", 300);
    is("long", 3_153_600_000);
    assert_eq!(server.ask::<String>("ZSCORE rq:finished:kaneda ever"), "inf");
    assert_eq!(server.ask::<String>("ZSCORE rq:failed:kaneda fail-ever"), "-1");
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), 5);
    assert_eq!(server.ask::<u64>("ZCARD rq:failed:kaneda"), 2);
    assert_clean(&server);
}

#[test]
fn a_job_of_another_function_stays_where_it_is_and_rqs_worker_runs_it() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_others") else { return };
    // More of them than are looked at once, before, between and behind ours; one holds a class, which is not read.
    let script = format!(
        "import rq, redis, types, sys\n\
         sys.modules['shop'] = module = types.ModuleType('shop')\n\
         class User: pass\n\
         User.__module__, module.User = 'shop', User\n\
         queue = rq.Queue('kaneda', connection=redis.Redis.from_url('{}'))\n\
         for number in range(500):\n\
         \x20   queue.enqueue('shop.mail', number, job_id='mail-%d' % number)\n\
         \x20   if number % 100 == 0: queue.enqueue('{REPORT}', 'a', 'gauge', number, None, None)\n\
         queue.enqueue('{REPORT}', 'a', 'gauge', 500, None, None)\n\
         queue.enqueue('shop.mail', User(), job_id='user')",
        server.url
    );
    client::end(client::python(&["-c", &script]));
    let fields = |id: &str| server.ask::<BTreeMap<String, Vec<u8>>>(&format!("HGETALL rq:job:{id}"));
    let before: Vec<_> = ["mail-0", "mail-499", "user"].map(fields).into();
    let daemon = Daemon::start(&config(&server, ""));
    until_settled(&daemon, 6);
    // What comes when all was looked at is seen as well.
    push(&server, "kaneda", REPORT, "late", &NEW);
    until_settled(&daemon, 7);
    let mut left: Vec<_> = (0..500).map(|number| format!("mail-{number}")).collect();
    left.push("user".to_owned());
    assert_eq!(list(&server), left);
    assert_eq!(["mail-0", "mail-499", "user"].map(fields).to_vec(), before);
    let status = daemon.status();
    assert_eq!(counter(&status, "messages"), 7);
    daemon.end();

    // Its worker runs them, but for the class that it cannot find.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("done");
    let arguments = ["tests/queues/rq_worker.py", &server.url, "kaneda", file.to_str().unwrap(), "burst"];
    client::end(client::python(&arguments));
    let done = std::fs::read_to_string(&file).unwrap();
    assert_each_once(done.lines().map(str::to_owned).collect(), 500);
    assert_books(&books(&server, "kaneda"), 0, [0, 507, 1]);
}

#[test]
fn a_job_of_another_function_fails_if_told_so() {
    let Some(server) = Server::start("rq_letters") else { return };
    push(&server, "kaneda", "shop.mail", "other", &NEW);
    let daemon = Daemon::start(&config(&server, "other_jobs = 'dead_letter'"));
    until_settled(&daemon, 1);
    let (_, ended) = daemon.end();
    assert_eq!(server.ask::<String>("HGET rq:job:other status"), "failed");
    assert_eq!(
        (letters(&ended)[0]["id"].as_str(), letters(&ended)[0]["reason"].as_str()),
        (Some("other"), Some("other_task"))
    );
}

#[test]
fn a_daemon_that_is_killed_loses_nothing_and_stores_nothing_twice() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_kill") else { return };
    client::end(client::start(&["rq", &server.url, "kaneda", "3000"]));
    let killed = Daemon::start(&config(&server, "prefetch = 500"));
    killed.until_delivered("sqlite", 700);
    let ended = killed.kill();
    assert!(server.ask::<u64>("ZCARD rq:wip:kaneda") > 0, "it was killed too late");
    let daemon = Start::again(ended).daemon();
    daemon.until("the queue empty", |status| {
        counter(status, "messages_restored") > 0
            && list(&server).is_empty()
            && server.ask::<u64>("ZCARD rq:wip:kaneda") == 0
    });
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 3000);
    assert_books(&books(&server, "kaneda"), 0, [0, 3000, 0]);
}

#[test]
fn a_redis_that_is_killed_comes_back_with_all_that_was_not_settled() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_broker") else { return };
    client::end(client::start(&["rq", &server.url, "kaneda", "2000"]));
    let daemon = Daemon::start(&config(&server, "prefetch = 300"));
    daemon.until_delivered("sqlite", 300);
    server.restart();
    daemon.until("the queue empty", |_| {
        list(&server).is_empty() && server.ask::<u64>("ZCARD rq:wip:kaneda") == 0
    });
    daemon.until_delivered("sqlite", 2000);
    assert_clean(&server);
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 2000);
    assert_books(&books(&server, "kaneda"), 0, [0, 2000, 0]);
}

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

#[cfg(feature = "influxdb")]
#[test]
fn what_is_not_stored_at_the_end_is_back_in_the_queue_in_its_order() {
    let Some(server) = Server::start("rq_end") else { return };
    let ids: Vec<_> = (0..450).map(|number| format!("job-{number}")).collect();
    for (at, id) in ids.iter().enumerate() {
        // Old ones among new ones.
        push(&server, "kaneda", REPORT, id, if at % 3 == 0 { &[] } else { &NEW });
    }
    server.ask::<()>("HSET rq:job:job-7 ttl 1000");
    server.ask::<()>("EXPIRE rq:job:job-7 1000");
    // A store that is away, and nothing else that would keep them.
    let source = config(&server, "prefetch = 300");
    let source = source.strip_suffix(SQLITE).unwrap();
    let sink = "[[sink]]\ntype = 'influxdb'\nconnection_url = 'http://127.0.0.1:1'\ndatabase = 'k'\n";
    let daemon = Daemon::start(&format!("{}{source}{sink}", crate::process::NO_JOURNAL));
    daemon.until("all in hand", |_| server.ask::<u64>("ZCARD rq:wip:kaneda") == 300);
    assert_eq!(server.ask::<i64>("TTL rq:job:job-7"), -1);
    daemon.signal("TERM");
    assert!(crate::process::wait(|| server.ask::<u64>("ZCARD rq:wip:kaneda") == 0));
    daemon.ended();
    assert_eq!(list(&server), ids);
    assert_eq!(server.ask::<String>("HGET rq:job:job-0 status"), "queued");
    assert!(server.ask::<i64>("TTL rq:job:job-7") > 900);
    assert_eq!(server.ask::<Vec<String>>("SMEMBERS rq:workers"), [""; 0]);
    assert_clean(&server);
}

#[cfg(feature = "influxdb")]
#[test]
fn jobs_of_a_daemon_that_lives_are_left_to_it_and_of_one_that_was_killed_are_taken_up() {
    let Some(server) = Server::start("rq_two") else { return };
    for number in 0..20 {
        push(&server, "kaneda", REPORT, &format!("job-{number}"), &NEW);
    }
    let both = config(&server, "");
    let source = both.strip_suffix(SQLITE).unwrap();
    let sink = "[[sink]]\ntype = 'influxdb'\nconnection_url = 'http://127.0.0.1:1'\ndatabase = 'k'\n";
    let first = Daemon::start(&format!("{}{source}{sink}", crate::process::NO_JOURNAL));
    first.until("all in hand", |_| server.ask::<u64>("ZCARD rq:wip:kaneda") == 20);
    let second = Daemon::start(&both);
    push(&server, "kaneda", REPORT, "late", &NEW);
    let status = until_settled(&second, 1);
    assert_eq!((counter(&status, "messages"), counter(&status, "messages_restored")), (1, 0));
    assert_eq!(server.ask::<u64>("ZCARD rq:wip:kaneda"), 20);
    first.kill();
    let third = Daemon::start(&both);
    third.until("all taken up", |status| counter(status, "messages_restored") == 20);
    third.until("all stored", |status| {
        counter(status, "messages_acknowledged") + counter(&second.status(), "messages_acknowledged") == 21
    });
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), 21);
    second.end();
    third.end();
}
