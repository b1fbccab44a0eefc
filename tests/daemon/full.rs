//! A store that is away until the journal is full: what is taken then, what is not, and what becomes of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::network::ask;
use crate::process::{Daemon, PATIENCE, SQLITE, Start, count, sink, source, wait};

/// Lines that a client sends, far more than the journal has room for, and between two of its `!sync`.
const LINES: usize = 600;
const STEP: usize = 20;

/// The store is locked as long as it is kept: it takes nothing.
fn lock(daemon: &Daemon) -> rusqlite::Connection {
    let store = rusqlite::Connection::open(daemon.path("reports.db")).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.execute_batch("begin immediate").unwrap();
    store
}

/// Long enough that a journal of 1 MiB is full of some hundreds.
fn line(name: &str) -> String {
    format!("{name}:{}|e\n", "y".repeat(4000))
}

/// Sends lines of these names over a connection, with `!sync` between, and counts those that were answered.
fn client(daemon: &Daemon, what: &'static str) -> (thread::JoinHandle<()>, Arc<AtomicUsize>) {
    let stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let sender = thread::spawn(move || {
        let mut stream = stream;
        for start in (0..LINES).step_by(STEP) {
            let lines: String =
                (start..start + STEP).map(|number| line(&format!("{what}.{number}"))).collect();
            stream.write_all((lines + "!sync\n").as_bytes()).unwrap();
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert_eq!(answer, format!("ok {STEP} 0\n"));
            counted.fetch_add(STEP, Ordering::Release);
        }
    });
    (sender, answered)
}

#[test]
fn while_the_journal_is_full_nothing_is_taken_and_when_the_store_is_back_all_that_was_is_stored_once() {
    let small = "[journal]\nmax_size = '1MiB'\nmin_free = '1MiB'\n".to_owned();
    let sources = source("tcp") + &source("udp") + &source("http");
    let store = SQLITE.to_owned() + "retry_first = '10ms'\nretry_ceiling = '100ms'\ntimeout = '100ms'\n";
    // A body waits so long for room.
    let start = Start::with(&(small + &sources + &store)).variable("KANEDA_SYNC_TIMEOUT", "10s");
    let daemon = start.daemon();
    // The store has its table.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"first:1|c", daemon.address("udp")).unwrap();
    daemon.until_delivered("sqlite", 1);
    let store = lock(&daemon);

    let clients = ["one", "two"].map(|what| client(&daemon, what));
    daemon.until("full", |status| status["journal"]["state"] == "full");
    // Ring and backlog have more room than the journal.
    assert_eq!(count(&sink(&daemon.status(), "sqlite")["dropped"]), 0);
    let (code, answer) = ask(daemon.address("http"), "POST", "/ingest", &[], line("refused").as_bytes());
    assert_eq!(code, 503, "{answer}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for dropped in 1..=3 {
        socket.send_to(b"dropped:1|c", daemon.address("udp")).unwrap();
        daemon.until("dropped", |status| {
            sink(status, "sqlite")["dropped"] == json!({ "journal_full": dropped })
        });
    }
    let answered = || clients.iter().map(|(_, answered)| answered.load(Ordering::Acquire)).sum::<usize>();
    let before = answered();
    assert!(before < 2 * LINES, "they are held back");
    // Nobody is told of anything meanwhile, however often it is asked.
    let (code, _) = ask(daemon.address("http"), "POST", "/ingest", &[], line("refused").as_bytes());
    assert_eq!((code, answered()), (503, before));
    let (code, ready) = ask(daemon.admin(), "GET", "/ready", &[], b"");
    assert!(code == 503 && ready.contains("max_size"), "{ready}");

    store.execute_batch("rollback").unwrap();
    for (sender, _) in clients {
        sender.join().unwrap();
    }
    let mut code = 0;
    let is_taken = || {
        code = ask(daemon.address("http"), "POST", "/ingest", &[], line("again").as_bytes()).0;
        code == 200
    };
    assert!(wait(is_taken), "there is no room again: {code}");
    let all = 2 * LINES as u64 + 2;
    let status = daemon.until("nothing waits", |status| count(&sink(status, "sqlite")["waiting"]) == 0);
    let sink = sink(&status, "sqlite");
    assert_eq!((count(&sink["accepted"]), count(&sink["delivered"])), (all + 3, all), "{status:#}");
    let (_, ended) = daemon.end();
    let names = ended.rows("name");
    let own = |what: &str| (0..LINES).map(|number| format!("{what}.{number}")).collect::<Vec<_>>();
    let expected = [own("one"), own("two"), vec!["again".into(), "first".into()]].concat();
    assert_eq!(names.len(), expected.len());
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected.into_iter().collect());
}
