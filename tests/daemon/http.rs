//! Reports as bodies of requests: what is answered, and that a body is taken whole or not at all.

use std::io::Write;

use serde_json::{Value, json};

use crate::network::ask;
use crate::process::{Daemon, SQLITE, count, sink};

/// With more keys of the source.
fn http(keys: &str) -> Daemon {
    Daemon::start(&format!("[[source]]\ntype = 'http'\nlisten = '127.0.0.1:0'\n{keys}{SQLITE}"))
}

fn post(daemon: &Daemon, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let (code, answer) = ask(daemon.address("http"), "POST", "/ingest", headers, body);
    (code, serde_json::from_str(&answer).unwrap())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Refused, and nothing of it is taken.
#[track_caller]
fn assert_refused(daemon: &Daemon, code: u16, names: &str, headers: &[(&str, &str)], body: &[u8]) {
    let (answered, answer) = post(daemon, headers, body);
    assert_eq!(answered, code, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains(names), "{answer}");
    assert_eq!(daemon.status()["lines"]["received"], 0);
}

#[test]
fn a_body_is_answered_once_it_is_stored_with_the_lines_that_were_refused() {
    let daemon = http("");
    let body = "a:1|c|#x\nbad\n\nb:nan|g\n{\"name\":\"c\",\"metric\":\"event\",\"value\":\"v42\"}";
    let (code, answer) = post(&daemon, &[], body.as_bytes());
    assert_eq!((code, &answer["accepted"], &answer["rejected"]), (200, &json!(2), &json!(2)), "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    let told: Vec<_> = errors.iter().map(|error| (&error["line"], &error["code"])).collect();
    assert_eq!(told, [(&json!(2), &json!("no_type")), (&json!(4), &json!("bad_number"))]);
    assert!(errors.iter().all(|error| error["reason"].is_string()), "{answer}");
    // Nothing has to be waited for.
    daemon.until_delivered("sqlite", 2);
    assert_eq!(daemon.rows("metric, name, value, text"), ["counter a 1 1", "event c - v42"]);
    daemon.end();
}

#[test]
fn a_source_without_an_address_is_on_the_admin_listener() {
    let daemon = Daemon::start(&format!("[[source]]\ntype = 'http'\n{SQLITE}"));
    assert_eq!(daemon.address("http"), daemon.admin());
    let (code, _) = ask(daemon.admin(), "POST", "/ingest", &[], b"a:1|c");
    assert_eq!(code, 200);
    let status = daemon.status();
    let opened = &status["sources"][0]["counters"]["connections_opened"];
    assert!(count(opened) >= 2, "{status:#}");
    assert_eq!(daemon.stored(1, "name, host"), ["a here"]);
}

#[test]
fn the_peer_of_a_request_can_be_the_host() {
    let daemon = http("hostname = 'peer'\n");
    assert_eq!(post(&daemon, &[], b"a:1|c\nb:1|c|h:other").0, 200);
    assert_eq!(daemon.stored(2, "name, host"), ["a 127.0.0.1", "b other"]);
}

#[test]
fn a_packed_body_is_unpacked() {
    let daemon = http("");
    let (code, answer) = post(&daemon, &[("Content-Encoding", "gzip")], &gzip(b"a:1|c\nb:2|c\n"));
    assert_eq!((code, &answer["accepted"]), (200, &json!(2)), "{answer}");
    assert_eq!(daemon.stored(2, "name, value"), ["a 1", "b 2"]);
}

#[test]
fn a_body_that_is_too_long_unpacked_or_packed_in_an_unknown_way_is_refused_whole() {
    let daemon = http("max_body = '1KiB'\n");
    let bomb = gzip("a:1|c\n".repeat(10_000).as_bytes());
    assert!(bomb.len() < 1024);
    assert_refused(&daemon, 413, "`max_body`", &[("Content-Encoding", "gzip")], &bomb);
    assert_refused(&daemon, 413, "`max_body`", &[], "a:1|c\n".repeat(200).as_bytes());
    assert_refused(&daemon, 415, "gzip or deflate", &[("Content-Encoding", "br")], b"a:1|c");
    let half = &gzip(b"a:1|c\nb:2|c\n")[..20];
    assert_refused(&daemon, 400, "Content-Encoding", &[("Content-Encoding", "gzip")], half);
    daemon.end();
}

#[test]
fn without_the_token_nothing_is_taken() {
    let daemon = http("token = 'open sesame'\n");
    assert_refused(&daemon, 401, "`token`", &[], b"a:1|c");
    assert_refused(&daemon, 401, "`token`", &[("Authorization", "Bearer open")], b"a:1|c");
    let (code, _) = post(&daemon, &[("Authorization", "Bearer open sesame")], b"a:1|c");
    assert_eq!(code, 200);
    let (said, _) = daemon.end();
    assert!(!said.contains("sesame"), "{said}");
}

#[test]
fn a_page_of_another_site_cannot_send_unless_it_is_listed() {
    let daemon = http("allowed_hosts = ['kaneda.test']\nallowed_origins = ['https://app.test']\n");
    assert_refused(&daemon, 403, "`allowed_hosts`", &[("Host", "evil.test")], b"a:1|c");
    assert_refused(&daemon, 403, "`allowed_origins`", &[("Origin", "https://evil.test")], b"a:1|c");
    for header in [("Host", "kaneda.test"), ("Origin", "https://app.test"), ("Host", "127.0.0.1")] {
        assert_eq!(post(&daemon, &[header], b"a:1|c").0, 200, "{header:?}");
    }
    assert_eq!(daemon.stored(3, "name"), ["a", "a", "a"]);
}

#[test]
fn a_body_that_is_sent_again_with_its_key_stores_nothing_twice() {
    let daemon = http("");
    let body = b"a:1|c\nb:1:2|ms\n";
    for (key, expected) in [("order-1", 3), ("order-1", 3), ("order-2", 6)] {
        let (code, answer) = post(&daemon, &[("Idempotency-Key", key)], body);
        assert_eq!((code, &answer["accepted"]), (200, &json!(2)), "{answer}");
        daemon.until("nothing waits", |status| count(&sink(status, "sqlite")["waiting"]) == 0);
        assert_eq!(daemon.rows("id").len(), expected, "{key}");
    }
    // An id of ours that is there is ignored: what was stored first stays.
    assert_eq!(post(&daemon, &[("Idempotency-Key", "order-1")], b"a:7|c").0, 200);
    assert_eq!(daemon.stored(10, "name, value"), ["a 1", "a 1", "b 1", "b 1", "b 2", "b 2"]);
}

#[test]
fn a_client_does_not_wait_for_the_flush_interval() {
    let sink = "[[sink]]\ntype = 'sqlite'\npath = 'reports.db'\nflush_interval = '1h'\n";
    let daemon = Daemon::start(&format!("[[source]]\ntype = 'http'\n{sink}"));
    assert_eq!(ask(daemon.admin(), "POST", "/ingest", &[], b"a:1|c").0, 200);
    daemon.until_delivered("sqlite", 1);
    daemon.end();
}
