//! A broker that is away: every page says so, and nobody else is kept from reporting.

use serde_json::Value;

use crate::network::{ask, closed_port};
use crate::process::{Daemon, SQLITE, named};

fn get(daemon: &Daemon, page: &str) -> (u16, String) {
    ask(daemon.admin(), "GET", page, &[], b"")
}

#[test]
fn a_broker_that_is_away_is_named_and_makes_nothing_unready() {
    let (_held, port) = closed_port();
    let sources: &[(&str, String)] = &[
        #[cfg(feature = "celery")]
        ("celery", format!("broker = 'redis://:secret@127.0.0.1:{port}/0'")),
        #[cfg(feature = "amqp")]
        ("celery", format!("broker = 'amqp://someone:secret@127.0.0.1:{port}//'")),
        #[cfg(feature = "rq")]
        ("rq", format!("redis_url = 'redis://:secret@127.0.0.1:{port}/0'")),
        #[cfg(feature = "zmq")]
        ("zmq", format!("connection_url = 'tcp://127.0.0.1:{port}'")),
    ];
    for (kind, key) in sources {
        let daemon = Daemon::start(&format!("[[source]]\ntype = '{kind}'\n{key}\n{SQLITE}"));
        let status =
            daemon.until("in trouble", |status| named(&status["sources"], kind)["state"] == "retrying");
        let error = named(&status["sources"], kind)["last_error"].as_str().unwrap();
        assert!(error.contains(&port.to_string()) && !error.contains("secret"), "{error}");
        let (code, body) = get(&daemon, "/ready");
        let ready: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &ready["queues_in_trouble"][0]["name"]), (200, &Value::from(*kind)), "{body}");
        let (_, metrics) = get(&daemon, "/metrics");
        let line = format!("kaneda_source_up{{source=\"{kind}\",type=\"{kind}\"}} 0");
        assert!(metrics.lines().any(|is| is == line), "{line} is not in\n{metrics}");
        daemon.end();
    }
}

#[cfg(feature = "celery")]
#[test]
fn a_broker_that_comes_back_is_well_again() {
    let Some(server) = crate::redis::Server::start("away_and_back") else { return };
    let daemon =
        Daemon::start(&format!("[[source]]\ntype = 'celery'\nbroker = '{}/0'\n{SQLITE}", server.url));
    let opened = |status: &Value, times| {
        let source = named(&status["sources"], "celery");
        source["state"] == "ok" && crate::process::count(&source["counters"]["connections_opened"]) >= times
    };
    let status = daemon.until("connected", |status| opened(status, 1));
    assert!(named(&status["sources"], "celery")["last_error"].is_null(), "{status}");
    server.restart();
    let status = daemon.until("connected again", |status| opened(status, 2));
    assert!(named(&status["sources"], "celery")["last_error"].is_string(), "{status}");
    let (_, body) = get(&daemon, "/ready");
    assert!(!body.contains("queues_in_trouble"), "{body}");
    daemon.end();
}
