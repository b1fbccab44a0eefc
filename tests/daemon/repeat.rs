//! The client that `protocol.md` shows: whatever breaks, each of its reports is stored, once.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::process::{Daemon, SQLITE, Start, source};

const SPECIFICATION: &str = include_str!("../../protocol.md");

/// Reports that the client sends, some at a time.
const REPORTS: usize = 400;

/// Reports, and says each answer.
const MAIN: &str = r#"
import sys

reporter = Reporter(port=int(sys.argv[1]))
for number in range(400):
    reporter.report(f"report-{number}:1|c")
    if number % 10 == 9:
        print(reporter.flush(), flush=True)
"#;

#[test]
fn the_client_of_the_specification_loses_nothing_when_the_daemon_is_killed() {
    let (socket, port) = port();
    let config = format!("[[source]]\ntype = 'tcp'\nlisten = '127.0.0.1:{port}'\n{SQLITE}{}", source("udp"));
    drop(socket);
    let mut daemon = Daemon::start(&config);
    let text = SPECIFICATION.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let mut python = Command::new("python3")
        .args(["-", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all([text, MAIN].concat().as_bytes()).unwrap();
    for kills in 1..4 {
        daemon.until_delivered("sqlite", kills * 50);
        daemon = Start::again(daemon.kill()).daemon();
    }
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(answers.lines().all(|answer| answer == "ok 10 0"), "{answers}");
    assert_eq!(answers.lines().count(), REPORTS / 10);
    daemon.until("nothing waits", |status| status["sinks"][0]["waiting"] == 0);
    let (_, ended) = daemon.end();
    let mut names = ended.rows("name");
    names.sort();
    let mut sent: Vec<_> = (0..REPORTS).map(|number| format!("report-{number}")).collect();
    sent.sort();
    assert_eq!(names, sent);
}

/// A port that was free a moment ago: the daemon has to get the same one again.
fn port() -> (std::net::TcpListener, u16) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}
