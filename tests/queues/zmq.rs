//! ZeroMQ: the application binds, the daemon connects.

use std::ops::Range;

use serde_json::Value;

use crate::client;
use crate::network::closed_port;
use crate::process::{Daemon, SQLITE, Start, count, named};

/// An address that nobody listens at but who is told it, as long as the first is kept.
fn free() -> (socket2::Socket, String) {
    let (held, port) = closed_port();
    (held, format!("tcp://127.0.0.1:{port}"))
}

fn config(keys: &str) -> String {
    format!("[[source]]\ntype = 'zmq'\n{keys}\n{SQLITE}")
}

fn counter(status: &Value, name: &str) -> u64 {
    count(&named(&status["sources"], "zmq")["counters"][name])
}

/// The dead letters, one a line.
fn letters(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_kaneda_reports_is_stored_and_what_no_store_takes_is_a_dead_letter() {
    if !client::have() {
        return;
    }
    let (_held, url) = free();
    let daemon = Daemon::start(&config(&format!("connection_url = '{url}'")));
    client::end(client::start(&["zmq", &url]));
    let status = daemon.until("all messages", |status| counter(status, "messages") == 14);
    assert_eq!(counter(&status, "messages_taken"), 12);
    assert_eq!(counter(&status, "messages_unread"), 2);
    daemon.until_delivered("sqlite", 12);
    let (_, ended) = daemon.end();
    client::compare(ended.rows(client::COLUMNS), &[]);
    let text = std::fs::read_to_string(ended.path("kaneda-data/dead/source-zmq.jsonl")).unwrap();
    let letters = letters(&text);
    assert_eq!(letters.len(), 2);
    for (letter, value) in letters.iter().zip(["NaN", "Infinity"]) {
        assert_eq!((&letter["source"], &letter["reason"]), (&"zmq".into(), &"not_finite".into()));
        assert!(letter["message"].as_str().unwrap().contains(&format!("\"value\": {value}")), "{letter}");
    }
}

#[test]
fn an_application_that_starts_again_is_connected_to_again() {
    if !client::have() {
        return;
    }
    let (_held, url) = free();
    let daemon = Daemon::start(&config(&format!("connection_url = '{url}'")));
    for round in 1..=3 {
        client::end(client::start(&["zmq", &url, "", "100"]));
        daemon.until_delivered("sqlite", round * 100);
        let source = |status: &Value| count(&named(&status["sources"], "zmq")["connections"]);
        daemon.until("the connection gone", |status| source(status) == 0);
    }
    assert_eq!(counter(&daemon.status(), "connections_opened"), 3);
    daemon.end();
}

#[test]
fn what_was_read_before_an_application_went_away_is_stored_at_once() {
    if !client::have() {
        return;
    }
    let (_held, url) = free();
    // By that time alone it would not be.
    let daemon = Daemon::start(&config(&format!("connection_url = '{url}'\nmax_latency = '1h'")));
    client::end(client::python(&["tests/queues/zmq_stream.py", &url, "5", "10", "0"]));
    daemon.until_delivered("sqlite", 5);
    let (_, ended) = Start::again(daemon.kill()).daemon().end();
    assert_eq!(ended.rows("name").len(), 5);
}

#[test]
fn two_applications_are_drained_by_one_source_and_the_daemon_can_bind() {
    if !client::have() {
        return;
    }
    let ((_first, first), (_second, second)) = (free(), free());
    let daemon = Daemon::start(&config(&format!("connection_url = ['{first}', '{second}']")));
    let clients = [client::start(&["zmq", &first, "", "50"]), client::start(&["zmq", &second, "", "70"])];
    clients.into_iter().for_each(|child| drop(client::end(child)));
    daemon.until_delivered("sqlite", 120);
    daemon.end();

    let daemon = Daemon::start(&config("connection_url = 'tcp://127.0.0.1:0'\nbind = true"));
    let status = daemon.status();
    let url = named(&status["sources"], "zmq")["listen"].as_str().unwrap();
    let script = format!(
        "import zmq; context = zmq.Context(); socket = context.socket(zmq.PUSH); socket.connect('{url}')\n\
         for message in [{{'name': 'a', 'metric': 'gauge', 'value': 1}}, {{'name': ''}}, [1]]: socket.send_json(message)\n\
         socket.send_multipart([b'{{}}', b'{{}}']); socket.close(); context.term()"
    );
    client::end(client::python(&["-c", &script]));
    daemon.until("all messages", |status| counter(status, "messages") == 4);
    daemon.until_delivered("sqlite", 1);
    let (_, ended) = daemon.end();
    let text = std::fs::read_to_string(ended.path("kaneda-data/dead/source-zmq.jsonl")).unwrap();
    let reasons: Vec<_> = letters(&text).iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(reasons, ["no_name", "bad_arguments", "bad_envelope"]);
}

#[test]
fn an_application_with_heartbeats_stays_connected_over_a_unix_socket() {
    if !client::have() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("ipc://{}", folder.path().join("kaneda.ipc").display());
    for bind in [true, false] {
        let daemon = Daemon::start(&config(&format!("connection_url = '{url}'\nbind = {bind}")));
        // It hangs up on who does not answer in time.
        let script = format!(
            "import zmq; from zmq.utils.monitor import recv_monitor_message\n\
             context = zmq.Context(); socket = context.socket(zmq.PUSH)\n\
             socket.set(zmq.HEARTBEAT_IVL, 50); socket.set(zmq.HEARTBEAT_TIMEOUT, 2000)\n\
             monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)\n\
             socket.{}('{url}')\n\
             recv_monitor_message(monitor)\n\
             assert not monitor.poll(3000), recv_monitor_message(monitor)\n\
             socket.send_json({{'name': 'a', 'metric': 'gauge', 'value': 1}})\n\
             socket.disable_monitor(); monitor.close(0); socket.close(); context.term()",
            if bind { "connect" } else { "bind" }
        );
        client::end(client::python(&["-c", &script]));
        daemon.until_delivered("sqlite", 1);
        assert_eq!(counter(&daemon.status(), "connections_opened"), 1);
        daemon.end();
    }
}

/// What may be in flight, as `docs/queues.md` says, in reports whose messages have so many bytes.
fn bound(message: usize) -> usize {
    const HIGH_WATER_MARK: usize = 1000;
    let kernel = ["tcp_wmem", "tcp_rmem"].map(|name| {
        let limits = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        limits.split_whitespace().last().unwrap().parse::<usize>().unwrap()
    });
    let (sent_at_once, read, open, journal) = (8 << 10, 64 << 10, 64 << 10, 16 << 20);
    HIGH_WATER_MARK + (kernel.iter().sum::<usize>() + sent_at_once + read + open + journal).div_ceil(message)
}

/// The reports that are lost when the daemon is killed while an application sends so many, each of so many bytes, with so
/// many seconds between them, and how many it had stored before, at least. It is killed when it has taken the `after`th.
fn lost_at_a_kill(reports: usize, bytes: usize, pause: &str, after: u64) -> (Range<usize>, usize) {
    let (_held, url) = free();
    let log = "[[sink]]\ntype = 'log'\npath = 'reports.jsonl'\nflush_interval = '10ms'\n";
    let daemon = Daemon::start(&format!("[[source]]\ntype = 'zmq'\nconnection_url = '{url}'\n{log}"));
    let numbers = [reports.to_string(), bytes.to_string()];
    let application = client::python(&["tests/queues/zmq_stream.py", &url, &numbers[0], &numbers[1], pause]);
    daemon.until("connected", |status| counter(status, "connections_opened") == 1);
    // Without a pause: all may be taken within a few of them.
    let status = loop {
        let status = daemon.status();
        if counter(&status, "messages") >= after {
            break status;
        }
    };
    let delivered = count(&named(&status["sinks"], "log")["delivered"]) as usize;
    let daemon = Start::again(daemon.kill()).daemon();
    client::end(application);
    daemon.until("all read", |status| {
        counter(status, "connections_opened") == 1
            && count(&named(&status["sources"], "zmq")["connections"]) == 0
    });
    let (_, ended) = daemon.end();
    let mut stored = vec![false; reports];
    for line in std::fs::read_to_string(ended.path("reports.jsonl")).unwrap().lines() {
        // One may have been under way at the kill; it was written again.
        let Ok(report) = serde_json::from_str::<Value>(line) else { continue };
        stored[report["value"].as_str().unwrap().trim_end_matches('.').parse::<usize>().unwrap()] = true;
    }
    let mut missing = (0..reports).filter(|number| !stored[*number]);
    let first = missing.next().unwrap_or(reports);
    let lost = first..missing.next_back().unwrap_or(first) + usize::from(first < reports);
    let stored_between = lost.clone().filter(|number| stored[*number]).count();
    assert_eq!(stored_between, 0, "they were not in flight together: {lost:?}");
    (lost, delivered)
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_lost_at_a_kill_was_in_flight_and_is_no_more_than_stated() {
    if !client::have() {
        return;
    }
    // In all more than can be in flight.
    for (how, reports, bytes, pause, after) in
        [("as fast as it can", 60_000, 4096, "0", 2000), ("1000 a second at most", 3000, 100, "0.001", 500)]
    {
        let (lost, delivered) = lost_at_a_kill(reports, bytes, pause, after);
        let bound = bound(bytes);
        eprintln!(
            "killed while an application sent {reports} reports of {bytes} bytes, {how}: {} lost, of {bound} at most",
            lost.len()
        );
        assert!(lost.len() <= bound);
        assert!(lost.is_empty() || lost.start >= delivered, "it was stored: {lost:?}");
    }
}
