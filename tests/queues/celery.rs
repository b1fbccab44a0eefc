//! Celery on a real Redis: what the unchanged client sends is stored once, whoever dies in between.

use serde_json::Value;

use crate::client::{self, assert_each_once};
use crate::process::{Daemon, NO_JOURNAL, SQLITE, Start, count, named};
use crate::redis::Server;

fn config(server: &Server, keys: &str) -> String {
    format!("[[source]]\ntype = 'celery'\nbroker = '{}/0'\n{keys}\n{SQLITE}", server.url)
}

fn counter(status: &Value, name: &str) -> u64 {
    count(&named(&status["sources"], "celery")["counters"][name])
}

/// Nothing of the queue is left at the broker, neither in its list nor in the books.
fn assert_empty(server: &Server, queue: &str) {
    for command in [format!("LLEN {queue}"), "HLEN unacked".to_owned(), "ZCARD unacked_index".to_owned()] {
        assert_eq!(server.ask::<u64>(&command), 0, "{command}");
    }
}

#[test]
fn what_kaneda_reports_is_stored_with_the_id_of_its_task() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("celery_reports") else { return };
    client::end(client::start(&["celery", &server.url, "metrics"]));
    let daemon = Daemon::start(&config(&server, "queue_name = 'metrics'"));
    let status = daemon.until("all acknowledged", |status| counter(status, "messages_acknowledged") == 16);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (14, 2));
    assert_empty(&server, "metrics");
    let (_, ended) = daemon.end();
    client::compare(
        ended.rows(client::COLUMNS),
        &[r#"custom at - - - here {"at":"2026-01-02T03:04:05.000678"}"#, "gauge decimal 1.5 1.50 - here -"],
    );
    // Those that have no id of their own have that of the task: a UUID.
    let mut ids = ended.rows("id");
    ids.retain(|id| id != "2B75D750");
    assert!(ids.len() == 13 && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let text = std::fs::read_to_string(ended.path("kaneda-data/dead/source-celery.jsonl")).unwrap();
    let reasons: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["reason"].clone()).collect();
    assert_eq!(reasons, ["not_finite", "not_finite"]);
}

#[test]
fn a_daemon_that_is_killed_loses_nothing_and_stores_nothing_twice() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("celery_kill") else { return };
    // Without a journal their ids are all that is known of the messages.
    for journal in ["", NO_JOURNAL] {
        client::end(client::start(&["celery", &server.url, "", "3000"]));
        // Few at a time, so that it is not done with all of them by then.
        let config = config(&server, "visibility_timeout = '2s'\nprefetch = 20") + journal;
        let killed = Daemon::start(&config);
        killed.until("some acknowledged", |status| counter(status, "messages_acknowledged") > 300);
        let has_some = killed.stop_when(|| server.ask::<u64>("HLEN unacked") > 0);
        assert!(has_some, "it had nothing in hand");
        let ended = killed.kill();
        let daemon = Start::again(ended).daemon();
        daemon.until("the queue empty", |status| {
            counter(status, "messages_restored") > 0
                && server.ask::<u64>("LLEN celery") == 0
                && server.ask::<u64>("HLEN unacked") == 0
        });
        let (_, ended) = daemon.end();
        assert_each_once(ended.rows("cast(value as integer)"), 3000);
    }
}

#[test]
fn a_broker_that_is_killed_comes_back_with_all_that_was_not_acknowledged() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("celery_broker") else { return };
    client::end(client::start(&["celery", &server.url, "", "2000"]));
    let daemon = Daemon::start(&config(&server, "visibility_timeout = '2s'\nprefetch = 300"));
    daemon.until_delivered("sqlite", 300);
    server.restart();
    daemon.until("the queue empty", |_| {
        server.ask::<u64>("LLEN celery") == 0 && server.ask::<u64>("HLEN unacked") == 0
    });
    daemon.until_delivered("sqlite", 2000);
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 2000);
}

#[test]
fn a_python_worker_beside_the_daemon_shares_its_queue_without_loss() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("celery_shared") else { return };
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let mut worker =
        client::python(&["tests/queues/celery_worker.py", &server.url, "shared", done.to_str().unwrap()]);
    while !done.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(worker.try_wait().unwrap().is_none(), "Celery's worker has ended");
    }
    // Few at once, so that the daemon is not done before the other has begun.
    let daemon = Daemon::start(&config(&server, "queue_name = 'shared'\nprefetch = 20"));
    let by_worker =
        || std::fs::read_to_string(&done).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    client::end(client::start(&["celery", &server.url, "shared", "1000"]));
    daemon.until("all done", |status| {
        counter(status, "messages_acknowledged") + by_worker().len() as u64 == 1000
            && server.ask::<u64>("HLEN unacked") == 0
    });
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_empty(&server, "shared");
    let (_, ended) = daemon.end();
    let by_daemon = ended.rows("cast(value as integer)");
    assert!(!by_daemon.is_empty() && !by_worker().is_empty());
    assert_each_once([by_daemon, by_worker()].concat(), 1000);
}

/// A message of kombu's, as it is in its list.
fn message(task: &str, id: &str, headers: &str) -> String {
    format!(
        r#"{{"body":"[[\"{id}\",\"gauge\",1,null,null],{{}},{{}}]","content-encoding":"utf-8","content-type":"application/json","headers":{{"task":"{task}","id":"{id}"{headers}}},"properties":{{"correlation_id":"{id}","delivery_tag":"tag-{id}","delivery_info":{{"exchange":"","routing_key":"celery"}},"body_encoding":null}}}}"#
    )
}

const REPORT: &str = "kaneda.tasks.celery.report";

fn push(server: &Server, list: &str, message: &str) {
    redis::cmd("LPUSH").arg(list).arg(message).exec(&mut server.connection()).unwrap();
}

/// So many messages, the first of them the first to be taken.
fn push_many(server: &Server, many: usize, headers: &str) {
    let messages: Vec<_> =
        (0..many).map(|number| message(REPORT, &format!("report-{number}"), headers)).collect();
    for messages in messages.chunks(1000) {
        redis::cmd("LPUSH").arg("celery").arg(messages).exec(&mut server.connection()).unwrap();
    }
}

#[test]
fn a_message_for_another_task_is_left_to_others_unless_told() {
    let Some(server) = Server::start("celery_others") else { return };
    let other = message("shop.mail", "other", "");
    push(&server, "celery", &other);
    push(&server, "celery", &message(REPORT, "report", ""));
    let daemon = Daemon::start(&config(&server, ""));
    daemon.until("the other back", |status| counter(status, "messages_returned") > 1);
    daemon.until("the report acknowledged", |status| counter(status, "messages_acknowledged") == 1);
    daemon.end();
    assert_eq!(server.ask::<Vec<String>>("LRANGE celery 0 -1"), [other]);
    assert_eq!(server.ask::<u64>("HLEN unacked"), 0);

    let daemon = Daemon::start(&config(&server, "other_tasks = 'dead_letter'"));
    daemon.until("it acknowledged", |status| counter(status, "messages_acknowledged") == 1);
    let (_, ended) = daemon.end();
    assert_empty(&server, "celery");
    let text = std::fs::read_to_string(ended.path("kaneda-data/dead/source-celery.jsonl")).unwrap();
    assert!(text.contains(r#""id":"other","reason":"other_task""#), "{text}");
}

#[test]
fn times_priorities_and_messages_that_are_none_are_as_celery_has_them() {
    let Some(server) = Server::start("celery_odd") else { return };
    push(&server, "celery", &message(REPORT, "over", r#","expires":"2020-01-01T00:00:00+00:00""#));
    push(&server, "celery", &message(REPORT, "future", r#","eta":"2200-01-01T00:00:00+00:00""#));
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(2);
    push(&server, "celery", &message(REPORT, "soon", &format!(r#","eta":"{soon}""#)));
    push(&server, "celery\u{6}\u{16}9", &message(REPORT, "urgent", ""));
    push(&server, "celery", "nothing of kombu's");
    let daemon = Daemon::start(&config(&server, ""));
    let status =
        daemon.until("all but one acknowledged", |status| counter(status, "messages_acknowledged") == 4);
    assert_eq!((counter(&status, "messages_expired"), counter(&status, "messages_unread")), (1, 1));
    assert!(jiff::Timestamp::now() >= soon);
    let held: Vec<String> = server.ask("HVALS unacked");
    assert!(held.len() == 1 && held[0].contains("future"), "{held:?}");
    let (_, ended) = daemon.end();
    let mut names = ended.rows("name");
    names.sort();
    assert_eq!(names, ["soon", "urgent"]);
    // What it held at its end is back in the queue.
    let left: Vec<String> = server.ask("LRANGE celery 0 -1");
    assert!(left.len() == 1 && left[0].contains("future"), "{left:?}");
    assert_eq!(server.ask::<u64>("HLEN unacked"), 0);
}

#[test]
fn what_another_worker_has_left_comes_back_and_other_queues_are_not_touched() {
    let Some(server) = Server::start("celery_left") else { return };
    let ours = format!(r#"[{}, "", "celery"]"#, message(REPORT, "ours", ""));
    let theirs = format!(r#"[{}, "", "mail"]"#, message("shop.mail", "theirs", ""));
    let mut connection = server.connection();
    for (tag, entry) in [("tag-ours", ours), ("tag-theirs", theirs)] {
        redis::cmd("HSET").arg("unacked").arg(tag).arg(entry).exec(&mut connection).unwrap();
        redis::cmd("ZADD").arg("unacked_index").arg(1).arg(tag).exec(&mut connection).unwrap();
    }
    let daemon = Daemon::start(&config(&server, ""));
    let status = daemon.until("ours acknowledged", |status| counter(status, "messages_acknowledged") == 1);
    assert_eq!(counter(&status, "messages_restored"), 1);
    daemon.until_delivered("sqlite", 1);
    daemon.end();
    assert_eq!(server.ask::<Vec<String>>("HKEYS unacked"), ["tag-theirs"]);
}

#[test]
fn connections_that_die_leave_no_message_behind() {
    const REPORTS: u64 = 10_000;
    let Some(server) = Server::start("celery_cut") else { return };
    push_many(&server, REPORTS as usize, "");
    // What is left in the books comes back in an hour.
    let daemon = Daemon::start(&config(&server, "prefetch = 1000"));
    for least in [0, 2000, 4000] {
        daemon.until("some more taken", |status| counter(status, "messages_taken") > least);
        server.ask::<u64>("CLIENT KILL TYPE normal");
    }
    let status =
        daemon.until("all acknowledged", |status| counter(status, "messages_acknowledged") == REPORTS);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_known")), (REPORTS, 0));
    assert_empty(&server, "celery");
    daemon.end();
}

#[test]
fn a_redis_that_hangs_as_the_daemon_ends_has_all_that_is_not_stored() {
    const REPORTS: usize = 10_000;
    let Some(server) = Server::start("celery_hang") else { return };
    push_many(&server, REPORTS, "");
    let daemon = Daemon::start(&config(&server, "prefetch = 1000"));
    daemon.until("some taken", |status| counter(status, "messages_taken") > 1000);
    assert_eq!(server.ask::<String>("CLIENT PAUSE 1000"), "OK");
    let (_, ended) = daemon.end();
    assert_eq!(server.ask::<u64>("HLEN unacked"), 0);
    assert_eq!(ended.rows("id").len() + server.ask::<usize>("LLEN celery"), REPORTS);
}

#[test]
fn what_goes_back_at_the_end_is_in_its_order() {
    let Some(server) = Server::start("celery_order") else { return };
    push_many(&server, 450, r#","eta":"2200-01-01T00:00:00+00:00""#);
    let before: Vec<String> = server.ask("LRANGE celery 0 -1");
    let daemon = Daemon::start(&config(&server, ""));
    daemon.until("all put aside", |_| server.ask::<u64>("LLEN celery") == 0);
    daemon.end();
    assert_eq!(server.ask::<Vec<String>>("LRANGE celery 0 -1"), before);
    assert_eq!(server.ask::<u64>("HLEN unacked"), 0);
}
