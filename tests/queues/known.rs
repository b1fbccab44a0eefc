//! Messages that are stored, and whose broker did not hear it before the daemon was killed.

use serde_json::Value;

use crate::process::{Daemon, Start, count, named};
use crate::redis::Server;

/// As many as are taken at once: when the first acknowledgement fails all of them are taken.
const MESSAGES: u64 = 150;

fn counter(status: &Value, name: &str) -> u64 {
    count(&named(&status["sources"], "celery")["counters"][name])
}

/// A report as kombu puts it into its list.
fn push(server: &Server, number: u64) {
    let message = format!(
        r#"{{"body":"[[\"report-{number}\",\"gauge\",1,null,null],{{}},{{}}]","content-encoding":"utf-8","content-type":"application/json","headers":{{"task":"kaneda.tasks.celery.report","id":"task-{number}"}},"properties":{{"correlation_id":"task-{number}","delivery_tag":"tag-{number}","delivery_info":{{"exchange":"","routing_key":"celery"}},"body_encoding":null}}}}"#
    );
    redis::cmd("LPUSH").arg("celery").arg(message).exec(&mut server.connection()).unwrap();
}

/// The daemon's user: it may take, but whatever would make the broker forget a message is refused.
fn deafen(server: &Server) {
    assert_eq!(server.ask::<String>("ACL SETUSER kaneda on >word ~* &* +@all -hdel -zrem"), "OK");
}

fn names(daemon: &Daemon) -> Vec<String> {
    let text = std::fs::read_to_string(daemon.path("reports.jsonl")).unwrap_or_default();
    let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = text.lines().map(name).collect();
    names.sort();
    names
}

#[test]
fn what_was_stored_is_acknowledged_after_a_kill_and_not_stored_again_where_there_are_no_ids() {
    let Some(server) = Server::start("celery_known") else { return };
    deafen(&server);
    (0..MESSAGES).for_each(|number| push(&server, number));
    let broker = server.url.replace("redis://", "redis://kaneda:word@");
    // A log has no ids: whatever comes twice stands there twice.
    let config = format!(
        "[[source]]\ntype = 'celery'\nbroker = '{broker}/0'\nvisibility_timeout = '1s'\n\
         [[sink]]\ntype = 'log'\npath = 'reports.jsonl'\nflush_interval = '10ms'\n"
    );
    let daemon = Daemon::start(&config);
    // The cursor of the log is stored once a second: a crash would repeat what it does not say.
    daemon.until("all stored, and its cursor says so", |_| daemon.delivered_by_cursor("log") == MESSAGES);
    assert_eq!(counter(&daemon.status(), "messages_acknowledged"), 0);
    assert_eq!(server.ask::<u64>("HLEN unacked"), MESSAGES);
    let ended = daemon.kill();

    assert_eq!(server.ask::<String>("ACL SETUSER kaneda +hdel +zrem"), "OK");
    push(&server, MESSAGES);
    let daemon = Start::again(ended).daemon();
    let status =
        daemon.until("all acknowledged", |status| counter(status, "messages_acknowledged") == MESSAGES + 1);
    assert_eq!((counter(&status, "messages_known"), counter(&status, "messages_taken")), (MESSAGES, 1));
    daemon.until_delivered("log", MESSAGES + 1);
    let mut expected: Vec<_> = (0..=MESSAGES).map(|number| format!("report-{number}")).collect();
    expected.sort();
    assert_eq!(names(&daemon), expected);
    assert_eq!(server.ask::<u64>("HLEN unacked"), 0);
    daemon.end();
}
