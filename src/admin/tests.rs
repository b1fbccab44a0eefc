//! The pages over a real socket, with a status made up.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::status::{Lines, Sink, Source, Status, counts};

/// A daemon of whom only the status is there.
struct Pretended(Mutex<Status>, Result<(), String>);

impl Observed for Pretended {
    fn status(&self) -> Status {
        self.0.lock().unwrap().clone()
    }

    fn taking(&self) -> Result<(), String> {
        self.1.clone()
    }
}

fn status() -> Status {
    Status {
        version: "1.2.3",
        uptime_seconds: 5,
        sources: vec![Source {
            name: "udp".into(),
            kind: "udp",
            listen: "127.0.0.1:8125".into(),
            datagrams: 3,
            counters: counts([("connections_opened", 9), ("idle_closed", 2)]),
            ..Source::default()
        }],
        lines: Lines { received: 4, accepted: 2, skipped: 1, rejected: counts([("no_type", 1)]) },
        records: 2,
        sinks: vec![Sink {
            name: "store".into(),
            kind: "sqlite",
            durability: "on disk".into(),
            accepted: 2,
            delivered: 1,
            waiting: 1,
            dropped: counts([("ring_full", 0)]),
            ..Sink::default()
        }],
        ..Status::default()
    }
}

/// Status code and body of a GET.
async fn get_page(pages: Router, path: &str) -> (u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, pages).await });
    let mut connection = TcpStream::connect(address).await.unwrap();
    let host = format!("Host: {address}\r\n");
    let head = if path.contains("\r\n") { path.to_owned() } else { format!("{path} HTTP/1.1\r\n{host}") };
    let request = format!("GET {head}Connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    server.abort();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn pages(status: Status, taking: Result<(), String>, ready_requires: Vec<Requirement>) -> Router {
    let config = Config { ready_requires, ..Config::default() };
    router(Arc::new(Pretended(Mutex::new(status), taking)), &config, LOOPBACK)
}

const LOOPBACK: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1));

#[tokio::test]
async fn pages_of_other_sites_cannot_read_what_the_daemon_says_of_itself() {
    for (head, expected) in [
        ("Host: evil.test\r\n", 403),
        ("Host: localhost\r\nOrigin: http://evil.test\r\n", 403),
        ("Host: localhost:8126\r\n", 200),
        ("Host: known.test\r\nOrigin: http://app.test\r\n", 200),
    ] {
        let config = Config {
            allowed_hosts: vec!["known.test".into()],
            allowed_origins: vec!["http://app.test".into()],
            ..Config::default()
        };
        let pages = router(Arc::new(Pretended(Mutex::new(status()), Ok(()))), &config, LOOPBACK);
        for path in ["/", "/ready", "/metrics", "/status"] {
            let request = format!("{path} HTTP/1.1\r\n{head}");
            assert_eq!(get_page(pages.clone(), &request).await.0, expected, "{request}");
        }
        let request = format!("/health HTTP/1.1\r\n{head}");
        assert_eq!(get_page(pages, &request).await.0, 200, "{request}");
    }
}

#[tokio::test]
async fn the_status_has_the_members_that_others_rely_on() {
    let (code, body) = get_page(pages(status(), Ok(()), vec![]), "/status").await;
    assert_eq!(code, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "version": "1.2.3",
        "uptime_seconds": 5,
        "sources": [{
            "name": "udp", "type": "udp", "listen": "127.0.0.1:8125", "datagrams": 3, "bytes": 0,
            "kernel_drops": 0, "truncated": 0, "connections": 0,
            "counters": {"connections_opened": 9, "idle_closed": 2}
        }],
        "lines": {"received": 4, "accepted": 2, "skipped": 1, "rejected": {"no_type": 1}},
        "records": 2,
        "sinks": [{
            "name": "store", "type": "sqlite", "place": "", "durability": "on disk", "state": "ok", "last_error": null,
            "accepted": 2, "delivered": 1, "waiting": 1, "rejected": {}, "dropped": {}
        }]
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn metrics_say_the_same_and_follow_it() {
    let pretended = Arc::new(Pretended(Mutex::new(status()), Ok(())));
    let pages = router(pretended.clone(), &Config::default(), LOOPBACK);
    let (code, body) = get_page(pages.clone(), "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "kaneda_build_info{version=\"1.2.3\"} 1",
        "kaneda_lines_received_total 4",
        "kaneda_lines_rejected_total{reason=\"no_type\"} 1",
        "kaneda_source_datagrams_total{source=\"udp\",type=\"udp\"} 3",
        "kaneda_source_connections_opened_total{source=\"udp\",type=\"udp\"} 9",
        "kaneda_source_idle_closed_total{source=\"udp\",type=\"udp\"} 2",
        "kaneda_sink_delivered_total{sink=\"store\",type=\"sqlite\"} 1",
        "kaneda_sink_waiting{sink=\"store\",type=\"sqlite\"} 1",
        "kaneda_sink_up{sink=\"store\",type=\"sqlite\"} 1",
        "kaneda_sink_dropped_total{sink=\"store\",type=\"sqlite\",reason=\"ring_full\"} 0",
        "kaneda_sink_rejections_total{sink=\"store\",type=\"sqlite\"} 0",
        "# TYPE kaneda_sink_delivered_total counter",
        "# HELP kaneda_records_total Records parsed from the accepted lines",
    ] {
        assert!(body.lines().any(|is| is == line), "{line} is not in\n{body}");
    }
    {
        let mut status = pretended.0.lock().unwrap();
        status.sinks[0].delivered = 2;
        status.sinks[0].waiting = 0;
        status.sinks[0].state = status::State::Retrying;
    }
    let (_, body) = get_page(pages, "/metrics").await;
    for line in [
        "kaneda_sink_delivered_total{sink=\"store\",type=\"sqlite\"} 2",
        "kaneda_sink_waiting{sink=\"store\",type=\"sqlite\"} 0",
        "kaneda_sink_up{sink=\"store\",type=\"sqlite\"} 0",
    ] {
        assert!(body.lines().any(|is| is == line), "{line} is not in\n{body}");
    }
}

#[tokio::test]
async fn a_sink_in_trouble_is_named_but_makes_it_unready_only_on_request() {
    let mut troubled = status();
    troubled.sinks[0].state = status::State::Retrying;
    troubled.sinks[0].last_error = Some("disk full".into());
    let (code, body) = get_page(pages(troubled.clone(), Ok(()), vec![]), "/ready").await;
    assert_eq!(code, 200);
    assert_eq!(
        body,
        r#"{"ready":true,"sinks_in_trouble":[{"name":"store","state":"retrying","last_error":"disk full"}]}"#
    );
    let (code, body) = get_page(pages(troubled, Ok(()), vec![Requirement::Sinks]), "/ready").await;
    assert_eq!(code, 503);
    assert!(body.contains("\"store\""), "{body}");
    let (code, _) = get_page(pages(status(), Ok(()), vec![Requirement::Sinks]), "/ready").await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn a_queue_whose_broker_is_away_is_named_and_stays_ready() {
    let mut troubled = status();
    troubled.sources[0].state = Some(status::State::Retrying);
    troubled.sources[0].last_error = Some("refused".into());
    let pages = pages(troubled, Ok(()), vec![Requirement::Sinks]);
    let (code, body) = get_page(pages.clone(), "/ready").await;
    assert_eq!(code, 200);
    assert_eq!(
        body,
        r#"{"ready":true,"sinks_in_trouble":[],"queues_in_trouble":[{"name":"udp","state":"retrying","last_error":"refused"}]}"#
    );
    let (_, body) = get_page(pages, "/metrics").await;
    assert!(body.contains("kaneda_source_up{source=\"udp\",type=\"udp\"} 0"), "{body}");
}

#[tokio::test]
async fn a_daemon_that_takes_no_reports_is_alive_but_not_ready() {
    let stopping = pages(status(), Err("stopping".into()), vec![]);
    let (code, body) = get_page(stopping.clone(), "/ready").await;
    assert_eq!((code, body.as_str()), (503, r#"{"ready":false,"reason":"stopping","sinks_in_trouble":[]}"#));
    assert_eq!(get_page(stopping.clone(), "/health").await.0, 200);
    let (code, index) = get_page(stopping, "/").await;
    assert_eq!(code, 200);
    assert!(index.contains("/status"), "{index}");
}
