//! ZeroMQ: the application binds, the daemon connects.

use std::net::TcpListener;

use serde_json::Value;

use crate::client;
use crate::process::{Daemon, SQLITE, count, named};

/// An address that nobody listens at.
fn free() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("tcp://{address}")
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
    let url = free();
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
    let url = free();
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
fn two_applications_are_drained_by_one_source_and_the_daemon_can_bind() {
    if !client::have() {
        return;
    }
    let (first, second) = (free(), free());
    let daemon = Daemon::start(&config(&format!("connection_url = ['{first}', '{second}']")));
    let clients = [client::start(&["zmq", &first, "", "50"]), client::start(&["zmq", &second, "", "70"])];
    clients.into_iter().for_each(|child| drop(client::end(child)));
    daemon.until_delivered("sqlite", 120);
    daemon.end();

    let url = free();
    let daemon = Daemon::start(&config(&format!("connection_url = '{url}'\nbind = true")));
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
