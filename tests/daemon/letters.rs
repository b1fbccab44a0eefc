//! What a store refuses for good: a dead letter on disk, and the report again once the cause is gone.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::network::ask;
use crate::process::{Daemon, Ended, SQLITE, Start, count, sink, source};

/// Makes the store refuse every report whose name begins with `bad`.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON reports WHEN new.name LIKE 'bad%'
    BEGIN SELECT RAISE(ABORT, 'no bad reports here'); END";

const DEAD: &str = "kaneda-data/dead/sqlite.jsonl";

fn alter(daemon: &Daemon, sql: &str) {
    let store = rusqlite::Connection::open(daemon.path("reports.db")).unwrap();
    store.busy_timeout(crate::process::PATIENCE).unwrap();
    store.execute_batch(sql).unwrap();
}

/// A daemon whose store refuses bad reports.
fn daemon(config: &str) -> Daemon {
    let daemon = Daemon::start(&(config.to_owned() + &source("tcp") + SQLITE));
    send(&daemon, "first:1|c\n");
    daemon.until_delivered("sqlite", 1);
    alter(&daemon, REFUSE);
    daemon
}

/// Lines over TCP.
pub(crate) fn send(daemon: &Daemon, lines: &str) {
    TcpStream::connect(daemon.address("tcp")).unwrap().write_all(lines.as_bytes()).unwrap();
}

/// The letters in a file.
pub(crate) fn letters(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `kaneda replay` with these arguments: its exit status and what it said.
pub(crate) fn replay(daemon: &Daemon, arguments: &[&str]) -> (i32, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_kaneda"))
        .args(["replay", "-c", "kaneda.toml"])
        .args(arguments)
        .env_clear()
        .env("KANEDA_ADMIN_LISTEN", daemon.admin().to_string())
        .current_dir(daemon.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap();
    (run.status.code().unwrap(), said)
}

/// Waits until the sink of that name has rejected so many records.
pub(crate) fn rejected(daemon: &Daemon, name: &str, records: u64) -> Value {
    daemon.until("rejected", |status| count(&sink(status, name)["rejected"]) >= records)
}

#[test]
fn a_refused_report_is_a_letter_and_after_a_replay_it_is_stored_once_as_it_would_have_been() {
    let daemon = daemon("");
    let lines = "good:1|c\nbad.own:5:-7|ms|@0.5|#a,b:c|c:ci-1\nbad.client:{\"x\":[1.50]}|k|m:sale|i:mine|T1795374000.250|h:web\n";
    send(&daemon, lines);
    let status = rejected(&daemon, "sqlite", 3);
    assert_eq!(sink(&status, "sqlite")["counters"]["letters_written"], 3, "{status:#}");
    let found = letters(&daemon.path(DEAD));
    assert_eq!(found.len(), 3);
    let mut ids = Vec::new();
    for letter in &found {
        assert_eq!(letter["sink"], "sqlite", "{letter}");
        assert!(letter["detail"].as_str().unwrap().contains("no bad reports here"), "{letter}");
        assert_eq!(letter["own_id"], letter["report"]["id"] != "mine", "{letter}");
        ids.push(letter["report"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(found[2]["report"]["timestamp"], "2026-11-22T19:00:00.250Z");

    // While the cause is there they are refused again, and no second letter is written.
    let (code, said) = replay(&daemon, &[DEAD]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("{DEAD}:1: rejected: sink sqlite rejected a report: ")), "{said}");
    assert!(said.ends_with("0 delivered, 3 rejected\n"), "{said}");
    let status = rejected(&daemon, "sqlite", 6);
    let counters = &sink(&status, "sqlite")["counters"];
    assert_eq!((&counters["letters_written"], &counters["letters_repeated"]), (&3.into(), &3.into()));
    assert_eq!(status["counters"]["letters_replayed"], 3);
    assert_eq!(letters(&daemon.path(DEAD)).len(), 3);

    alter(&daemon, "DROP TRIGGER refuse");
    for _ in 0..2 {
        assert_eq!(replay(&daemon, &[DEAD]), (0, "3 delivered\n".to_owned()));
    }
    let rows = daemon.rows("id, metric, name, value, tags, host, rate, extra");
    let row = |start: usize| rows.iter().find(|row| row.starts_with(&ids[start])).unwrap();
    assert_eq!(rows.len(), 5, "{rows:?}");
    let same =
        |value| format!("timing bad.own {value} [\"a\",\"b:c\"] here 0.5 {{\"container_id\":\"ci-1\"}}");
    assert_eq!(*row(0), format!("{} {}", ids[0], same("5")));
    assert_eq!(*row(1), format!("{} {}", ids[1], same("-7")));
    assert_eq!(*row(2), "mine sale bad.client - - web - {\"x\":[1.50]}");
    let times = daemon.rows("id, time");
    assert!(times.contains(&"mine 1795374000250000000".to_owned()), "{times:?}");
    for (letter, id) in found.iter().zip(&ids[..2]) {
        let received: jiff::Timestamp = letter["received"].as_str().unwrap().parse().unwrap();
        assert!(times.contains(&format!("{id} {}", received.as_nanosecond())), "{times:?}");
    }
    daemon.end();
}

#[test]
fn what_cannot_be_replayed_is_named_by_its_line() {
    let daemon = daemon("");
    send(&daemon, "bad:1|c\n");
    rejected(&daemon, "sqlite", 1);
    alter(&daemon, "DROP TRIGGER refuse");
    let letter = std::fs::read_to_string(daemon.path(DEAD)).unwrap();
    let other = letter.replace("\"sink\":\"sqlite\"", "\"sink\":\"elsewhere\"").replace("-0\"", "-9\"");
    let wrong = letter.replace("\"value\":1", "\"value\":1e999");
    std::fs::write(daemon.path("mixed"), format!("{other}\n{wrong}{}\n{letter}", &letter[..50])).unwrap();
    let (code, said) = replay(&daemon, &["mixed"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "mixed:1: unknown sink: there is no sink `elsewhere`", "{said}");
    assert!(lines[1].starts_with("mixed:3: unreadable: "), "{said}");
    assert!(lines[2].starts_with("mixed:4: unreadable: this is no dead letter: "), "{said}");
    assert_eq!(lines[3], "1 delivered, 2 unreadable, 1 unknown sink");
    assert_eq!(replay(&daemon, &["--all", "mixed"]).1.lines().last(), Some("2 delivered, 2 unreadable"));
    let text = "{\"sink\":\"sqlite\",\"own_id\":false,\"report\":\"a:1|c|\"}\n";
    std::fs::write(daemon.path("text"), text).unwrap();
    assert_eq!(
        replay(&daemon, &["text"]).1.lines().next(),
        Some("text:1: unreadable: `report` is no object")
    );
    let (code, said) = replay(&daemon, &["nowhere"]);
    assert!(code == 1 && said.contains("nowhere: No such file"), "{said}");
    daemon.end();
}

#[test]
fn many_letters_are_replayed_in_pieces_and_each_once() {
    let daemon = daemon("");
    let values = vec!["1"; 500].join(":");
    send(&daemon, &format!("bad.many:{values}|c\n").repeat(3));
    rejected(&daemon, "sqlite", 1500);
    alter(&daemon, "DROP TRIGGER refuse");
    assert_eq!(replay(&daemon, &[DEAD]), (0, "1500 delivered\n".to_owned()));
    assert_eq!(daemon.rows("id").len(), 1501);
    daemon.end();
}

#[test]
fn a_letter_that_cannot_be_written_keeps_its_report_waiting_until_it_can() {
    // Where its folder should be there is a file.
    let config = "[limits]\nmax_tags = 99\n";
    let start = Start::with(
        &(config.to_owned() + &source("tcp") + SQLITE + "retry_first = '20ms'\nretry_ceiling = '20ms'\n"),
    );
    let daemon = start.daemon();
    send(&daemon, "first:1|c\n");
    daemon.until_delivered("sqlite", 1);
    alter(&daemon, REFUSE);
    std::fs::create_dir_all(daemon.path("kaneda-data")).unwrap();
    std::fs::write(daemon.path("kaneda-data/dead"), "").unwrap();
    send(&daemon, "bad:1|c\n");
    daemon.until("tried", |status| count(&sink(status, "sqlite")["counters"]["letters_failed"]) >= 2);
    send(&daemon, "good:1|c\n");
    let status = daemon.until_delivered("sqlite", 2);
    assert_eq!(
        (count(&sink(&status, "sqlite")["waiting"]), count(&sink(&status, "sqlite")["rejected"])),
        (1, 0)
    );
    assert_eq!(count(&sink(&status, "sqlite")["gauges"]["letters_waiting"]), 1);
    daemon.until_said("dead letters cannot be written");
    std::fs::remove_file(daemon.path("kaneda-data/dead")).unwrap();
    rejected(&daemon, "sqlite", 1);
    assert_eq!(letters(&daemon.path(DEAD)).len(), 1);
    daemon.end();
}

#[test]
fn a_letter_that_cannot_be_written_before_the_end_is_dropped_and_counted() {
    let daemon = Start::with(&(source("tcp") + SQLITE + "dead_letters = '/dev/null/letters'\n"))
        .variable("KANEDA_SHUTDOWN_TIMEOUT", "100ms")
        .daemon();
    send(&daemon, "first:1|c\n");
    daemon.until_delivered("sqlite", 1);
    alter(&daemon, REFUSE);
    send(&daemon, "bad:1|c\n");
    daemon.until("tried", |status| count(&sink(status, "sqlite")["counters"]["letters_failed"]) >= 1);
    let (said, _): (String, Ended) = daemon.end();
    assert!(said.contains("stopped at the deadline"), "{said}");
}

#[test]
fn replaying_is_guarded_as_ingest_is() {
    let daemon = Daemon::start(&("token = 'hunter2'\n".to_owned() + &source("tcp") + SQLITE));
    let post = |headers: &[(&str, &str)]| ask(daemon.admin(), "POST", "/replay", headers, b"{}").0;
    assert_eq!(post(&[]), 401);
    assert_eq!(post(&[("Authorization", "Bearer hunter2")]), 200);
    assert_eq!(post(&[("Authorization", "Bearer hunter2"), ("Host", "evil.test")]), 403);
    assert_eq!(post(&[("Authorization", "Bearer hunter2"), ("Origin", "http://evil.test")]), 403);
    assert_eq!(ask(daemon.admin(), "GET", "/replay", &[], b"").0, 405);
    std::fs::write(daemon.path("none"), "").unwrap();
    assert_eq!(replay(&daemon, &["none"]), (0, "0 delivered\n".to_owned()));
    std::fs::write(daemon.path("bad"), "{}\n").unwrap();
    // The token is in the configuration.
    assert!(replay(&daemon, &["bad"]).1.contains("bad:1: unreadable: "));
    daemon.end();
}

#[test]
fn the_letter_of_the_page_can_be_replayed() {
    let page = include_str!("../../docs/dead-letters.md");
    let letter = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let daemon = Daemon::start(&(source("tcp") + SQLITE));
    std::fs::write(daemon.path("page"), letter).unwrap();
    assert_eq!(replay(&daemon, &["page"]), (0, "1 delivered\n".to_owned()));
    let row = "019352ab00017000800000000000002a-1432 1795373998120394857 timing page.load 312 [\"page:home\"] web1 0.1";
    assert_eq!(daemon.rows("id, time, metric, name, value, tags, host, rate"), [row]);
    let settings = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    Daemon::start(&(source("tcp") + settings)).end();
    daemon.end();
}
