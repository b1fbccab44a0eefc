//! A store that is away: what the pages, HTTP, the end and `check` say of it.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use serde_json::{Value, json};

use crate::network::{ask, closed_port};
use crate::process::{Daemon, NO_JOURNAL, SQLITE, Start, count, sink, source};

/// A daemon with an InfluxDB at `port`, where nobody listens, beside its other stores. It does not wait long for it at its end,
/// and a body waits with `patience` for room and the disk.
fn daemon(config: &str, port: u16, patience: &str) -> Daemon {
    let away =
        format!("[[sink]]\ntype = 'influxdb'\nhost = '127.0.0.1'\nport = {port}\nflush_interval = '1ms'\n");
    let start = Start::with(&(config.to_owned() + &away));
    start.variable("KANEDA_SYNC_TIMEOUT", patience).variable("KANEDA_SHUTDOWN_TIMEOUT", "100ms").daemon()
}

#[test]
fn a_store_that_is_away_is_named_and_makes_it_unready_only_where_that_was_asked_for() {
    let (_held, port) = closed_port();
    for (requires, expected) in [("", 200), ("ready_requires = ['sinks']\n", 503)] {
        let daemon = daemon(&(requires.to_owned() + &source("tcp") + SQLITE), port, "1m");
        let ready = || {
            let (code, body) = ask(daemon.admin(), "GET", "/ready", &[], b"");
            (code, serde_json::from_str::<Value>(&body).unwrap())
        };
        assert_eq!(ready().0, 200);
        TcpStream::connect(daemon.address("tcp")).unwrap().write_all(b"a:1|c\n").unwrap();
        // One store is away: the other one takes its records.
        daemon.until_delivered("sqlite", 1);
        daemon.until("in trouble", |status| sink(status, "influxdb")["state"] == "retrying");
        let (code, body) = ready();
        assert_eq!(code, expected, "{body}");
        let troubled = &body["sinks_in_trouble"];
        assert_eq!(troubled.as_array().unwrap().len(), 1, "{body}");
        assert_eq!(troubled[0]["name"], "influxdb");
        assert!(troubled[0]["last_error"].as_str().unwrap().contains(&port.to_string()), "{body}");
        assert_eq!(ask(daemon.admin(), "GET", "/health", &[], b""), (200, "alive\n".into()));
        assert_eq!(count(&sink(&daemon.status(), "influxdb")["waiting"]), 1);
        daemon.end();
    }
}

#[test]
fn a_body_that_was_taken_and_is_not_stored_in_time_is_answered_with_202() {
    let (_held, port) = closed_port();
    let daemon = daemon(&(NO_JOURNAL.to_owned() + "[[source]]\ntype = 'http'\n" + SQLITE), port, "200ms");
    assert_eq!(ask(daemon.admin(), "POST", "/ingest", &[], b"first:1|c").0, 202);
    daemon.until("in trouble", |status| sink(status, "influxdb")["state"] == "retrying");
    let (code, answer) = ask(daemon.admin(), "POST", "/ingest", &[], b"a:1|c\nbad");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((code, &answer["accepted"], &answer["rejected"]), (202, &json!(1), &json!(1)), "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("influxdb"), "{answer}");
    assert_eq!(daemon.stored(2, "name"), ["a", "first"]);
}

#[test]
fn a_body_is_answered_with_200_once_it_is_on_disk_and_a_restart_keeps_it() {
    let (_held, port) = closed_port();
    let daemon = daemon(&("[[source]]\ntype = 'http'\n".to_owned() + SQLITE), port, "1m");
    let (code, answer) = ask(daemon.admin(), "POST", "/ingest", &[], b"a:1|c");
    assert_eq!((code, &*answer), (200, r#"{"accepted":1,"rejected":0,"errors":[]}"#));
    // The end may find no time to write it.
    daemon.until("its cursor says so", |_| daemon.delivered_by_cursor("sqlite") == 1);
    let (said, ended) = daemon.end();
    assert!(said.contains("are in the journal, for the next start"), "{said}");
    let daemon = Start::again(ended).daemon();
    let status = daemon.status();
    let waits = |name: &str| count(&sink(&status, name)["waiting"]);
    assert_eq!((waits("influxdb"), waits("sqlite")), (1, 0), "{status:#}");
    assert_eq!(sink(&status, "sqlite")["delivered"], 1, "totals are kept: {status:#}");
    daemon.signal("KILL");
}

#[test]
fn a_full_journal_takes_no_body_and_no_datagram_and_says_so() {
    let (_held, port) = closed_port();
    let small = "[journal]\nmax_size = '1MiB'\n[[source]]\ntype = 'http'\n".to_owned();
    let daemon = daemon(&(small + &source("udp")), port, "5s");
    // Ring and backlog of the store that is away are larger than the journal: what stops is the journal.
    let body = format!("x:{}|e\n", "y".repeat(60_000));
    let mut taken = 0;
    while ask(daemon.admin(), "POST", "/ingest", &[], body.as_bytes()).0 == 200 {
        taken += 1;
        assert!(taken < 100, "it is never full");
    }
    let (code, answer) = ask(daemon.admin(), "POST", "/ingest", &[], b"a:1|c");
    assert_eq!(code, 503, "{answer}");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"lost:1|c", daemon.address("udp")).unwrap();
    let status = daemon.until("dropped", |status| count(&sink(status, "influxdb")["dropped"]) > 0);
    assert_eq!(sink(&status, "influxdb")["dropped"], json!({"journal_full": 1}));
    assert_eq!(sink(&status, "influxdb")["waiting"], taken, "nothing of what was refused was taken");
    assert_eq!(status["journal"]["state"], "full");
    let (code, ready) = ask(daemon.admin(), "GET", "/ready", &[], b"");
    assert!(code == 503 && ready.contains("max_size"), "{ready}");
    daemon.end();
}

#[test]
fn what_cannot_be_stored_before_the_deadline_is_told() {
    let (_held, port) = closed_port();
    let daemon = daemon(&(NO_JOURNAL.to_owned() + &source("tcp")), port, "1m");
    TcpStream::connect(daemon.address("tcp")).unwrap().write_all(b"a:1|c\nb:1|c\n").unwrap();
    daemon.until("in trouble", |status| {
        let sink = sink(status, "influxdb");
        count(&sink["waiting"]) == 2 && sink["state"] == "retrying"
    });
    let (said, _) = daemon.end();
    let left = said
        .lines()
        .find(|line| line.contains("stopped at the deadline"))
        .unwrap_or_else(|| panic!("{said}"));
    assert!(left.contains("records=2"), "{left}");
}

#[test]
fn check_ends_with_1_where_a_store_is_away_and_names_it() {
    let (_held, port) = closed_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("check.toml");
    let config = format!("[[sink]]\ntype = 'influxdb'\nhost = '127.0.0.1'\nport = {port}\n");
    std::fs::write(&file, source("tcp") + &config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaneda"));
    let output = command.args(["check", "--connect", "-c"]).arg(&file).env_clear().output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    let told = out.lines().find(|line| line.starts_with("  sink influxdb: ")).unwrap();
    assert!(told.contains(&port.to_string()), "{told}");
}
