//! A log on a pipe that nobody reads: what waits for it, and what does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use crate::process::{Daemon, NO_JOURNAL, PATIENCE, SQLITE, Start, count, sink, source};

/// More than the pipe, the ring and the backlog of `LOG` hold.
const LINES: u64 = 100_000;

/// A log on standard output that has little room.
const LOG: &str =
    "[[sink]]\ntype = 'log'\nflush_interval = '1ms'\nring_bytes = '64KiB'\nbacklog_bytes = '64KiB'\n";

/// Sends [`LINES`] and `!sync`; returns the answer.
fn send(daemon: &Daemon) -> JoinHandle<String> {
    let mut stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    std::thread::spawn(move || {
        let lines: String = (0..LINES).map(|line| format!("report.number:{line}|g\n")).collect();
        stream.write_all(lines.as_bytes()).unwrap();
        stream.write_all(b"!sync\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// Reads to the end; returns the values in it.
fn read(pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u64>> {
    std::thread::spawn(move || {
        let value = |line: String| {
            let document: serde_json::Value = serde_json::from_str(&line).unwrap();
            document["value"].as_u64().unwrap()
        };
        BufReader::new(pipe).lines().map(|line| value(line.unwrap())).collect()
    })
}

#[test]
fn with_drop_the_other_store_goes_on_and_the_loss_is_counted() {
    let config = format!("{NO_JOURNAL}{}{SQLITE}{LOG}when_full = 'drop'\n", source("tcp"));
    let mut daemon = Start::with(&config).pipe().daemon();
    let answer = send(&daemon);
    let status = daemon.until_delivered("sqlite", LINES);
    let log = sink(&status, "log");
    let reasons = log["dropped"].as_object().unwrap();
    assert!(count(&log["dropped"]) > 0 && count(&log["waiting"]) > 0, "{status:#}");
    assert!(reasons.keys().all(|reason| reason == "ring_full" || reason == "backlog_full"), "{status:#}");
    assert_eq!(sink(&status, "sqlite")["dropped"], serde_json::json!({}));
    let lines = read(daemon.stdout());
    let status = daemon.until("the pipe was read", |status| count(&sink(status, "log")["waiting"]) == 0);
    let delivered = count(&sink(&status, "log")["delivered"]);
    let answer = answer.join().unwrap();
    assert!(answer.starts_with("error sink log dropped"), "{answer}");
    let (_, ended) = daemon.end();
    let lines = lines.join().unwrap();
    assert_eq!(lines.len() as u64, delivered);
    assert!(lines.is_sorted_by(|one, next| one < next), "a line twice, or out of order");
    assert_eq!(ended.rows("value").len() as u64, LINES);
}

#[test]
fn with_wait_the_stream_is_held_back_and_nothing_is_lost() {
    let config = format!("{NO_JOURNAL}{}{SQLITE}{LOG}", source("tcp"));
    let mut daemon = Start::with(&config).pipe().daemon();
    let answer = send(&daemon);
    let status = daemon.until("held back", |status| count(&sink(status, "log")["waiting"]) > 0);
    assert!(count(&status["lines"]["accepted"]) < LINES, "{status:#}");
    assert!(!answer.is_finished());
    let lines = read(daemon.stdout());
    assert_eq!(answer.join().unwrap(), format!("ok {LINES} 0\n"));
    let status = daemon.status();
    for name in ["sqlite", "log"] {
        assert_eq!(sink(&status, name)["delivered"], LINES, "{status:#}");
        assert_eq!(sink(&status, name)["dropped"], serde_json::json!({}), "{status:#}");
    }
    daemon.end();
    assert_eq!(lines.join().unwrap(), (0..LINES).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_never_comes_does_not_keep_it_from_ending() {
    let config = format!("{NO_JOURNAL}{}[[sink]]\ntype = 'log'\nflush_interval = '1ms'\n", source("tcp"));
    let start = Start::with(&config).variable("KANEDA_SHUTDOWN_TIMEOUT", "200ms").pipe();
    let mut daemon = start.daemon();
    let _unread = daemon.stdout();
    let mut stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.write_all("report.number:1|g\n".repeat(10_000).as_bytes()).unwrap();
    // A pipe holds a few hundred lines.
    daemon.until("stuck", |status| count(&sink(status, "log")["waiting"]) > 5_000);
    let (said, _) = daemon.end();
    assert!(said.contains("stopped at the deadline: these records were left"), "{said}");
}
