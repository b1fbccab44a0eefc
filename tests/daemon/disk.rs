//! A disk that takes nothing when the daemon starts: here, because it may write no file.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use crate::network::ask;
use crate::process::{Daemon, PATIENCE, Start, count, sink, source};

/// To standard output, which is no file and has no limit.
const LOG: &str = "[[sink]]\ntype = 'log'\nflush_interval = '1ms'\n";

/// Sends lines and `!sync`, and gives the answer.
fn sent(daemon: &Daemon, lines: &str) -> String {
    let mut stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{lines}\n!sync\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn it_starts_in_memory_where_the_journal_cannot_be_written_and_goes_on_disk_by_itself() {
    let may_write_nothing = "trap '' XFSZ; ulimit -S -f 0; exec kaneda \"$@\"";
    let start = Start::with(&(source("tcp") + LOG)).below(&["/bin/sh", "-c", may_write_nothing, "sh"]);
    let mut daemon = start.pipe().daemon();
    let said = daemon.said();
    assert!(said.contains("kaneda: journal in kaneda-data/journal: in memory only: writing: File too large"));
    assert!(said.contains("the journal cannot be opened"), "{said}");
    let status = daemon.status();
    assert_eq!(status["journal"]["state"], "memory", "{status:#}");
    let (code, ready) = ask(daemon.admin(), "GET", "/ready", &[], b"");
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((code, &ready["journal"]["state"]), (200, &Value::from("memory")), "{ready}");
    assert!(ready["journal"]["last_error"].as_str().unwrap().contains("File too large"), "{ready}");
    let mut stored = BufReader::new(daemon.stdout()).lines();
    let mut next = || stored.next().unwrap().unwrap();
    assert_eq!(sent(&daemon, "a:1|c"), "ok 1 0\n");
    assert!(next().contains("\"a\""));
    let status = daemon.status();
    assert_eq!(count(&status["journal"]["counters"]["entries_not_written"]), 1, "{status:#}");

    daemon.may_write();
    daemon.until("on disk", |status| status["journal"]["state"] == "ok");
    daemon.until_said("the journal works again");
    assert_eq!(sent(&daemon, "b:1|c"), "ok 1 0\n");
    assert!(next().contains("\"b\""));
    let (_, ended) = daemon.end();
    let daemon = Start::again(ended).daemon();
    let status = daemon.status();
    let log = sink(&status, "log");
    assert_eq!((count(&log["delivered"]), count(&log["accepted"])), (2, 2), "{status:#}");
    let journal = Command::new(env!("CARGO_BIN_EXE_kaneda"))
        .args(["journal", "cat"])
        .arg(daemon.path("kaneda-data/journal"))
        .output()
        .unwrap();
    let journal = String::from_utf8(journal.stdout).unwrap();
    assert!(journal.contains("\"b\"") && !journal.contains("\"a\""), "{journal}");
    daemon.end();
}
