//! What becomes of reports, and what RQ sees of it.

use super::{
    NEW, REPORT, assert_books, assert_clean, books, config, counter, letters, push, push_data, until_settled,
};
use crate::client;
use crate::process::{Daemon, count};
use crate::redis::Server;

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
fn failed_jobs_are_where_an_old_rq_looks_for_them_if_told_so() {
    let Some(server) = Server::start("rq_failed_queue") else { return };
    push_data(&server, "kaneda", "a", b"nothing of Python's", &[]);
    push(&server, "kaneda", REPORT, "b", &[]);
    let daemon = Daemon::start(&config(&server, "failed_queue = true"));
    until_settled(&daemon, 2);
    daemon.end();
    assert_eq!(server.ask::<Vec<String>>("LRANGE rq:queue:failed 0 -1"), ["a"]);
    assert_eq!(server.ask::<u64>("SISMEMBER rq:queues rq:queue:failed"), 1);
    assert_eq!(server.ask::<u64>("EXISTS rq:failed:kaneda"), 0);
    assert_eq!(server.ask::<String>("HGET rq:job:a status"), "failed");
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), 1);
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
    // What depends on a job, and what it depends on, goes with it.
    for key in ["job:short:dependents", "job::short:dependencies", "job:ever:dependents"] {
        server.ask::<()>(&format!("SADD rq:{key} other"));
        server.ask::<()>(&format!("EXPIRE rq:{key} 1000"));
    }
    // It was deleted, or its time was over.
    server.ask::<()>("RPUSH rq:queue:kaneda gone");
    let daemon = Daemon::start(&config(&server, "result_ttl = '300s'"));
    let status = until_settled(&daemon, 9);
    assert_eq!((counter(&status, "messages"), counter(&status, "messages_expired")), (10, 1));
    daemon.end();
    let ttl = |id: &str| server.ask::<i64>(&format!("TTL rq:job:{id}"));
    let dependencies = server.ask::<i64>("TTL rq:job::short:dependencies");
    assert!((1..=77).contains(&dependencies), "{dependencies}");
    assert_eq!(ttl("ever:dependents"), -1);
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
    is("short:dependents", 77);
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
