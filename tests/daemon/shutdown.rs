//! Signals: SIGTERM ends it without loss of what was acknowledged, SIGHUP opens files again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;

use crate::network::try_ask;
use crate::process::{Daemon, PATIENCE, SQLITE, count, sink, source};

/// Clients that report at the same time.
const CLIENTS: usize = 4;

/// Reports and asks `!sync` until the daemon ends; the names of what was acknowledged.
fn report_until_the_end(client: usize, to: SocketAddr, synced: &mpsc::Sender<()>) -> Vec<String> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut acknowledged = Vec::new();
    for round in 0.. {
        let names: Vec<_> = (0..50).map(|line| format!("client{client}.{round}.{line}")).collect();
        let lines: String = names.iter().map(|name| format!("{name}:1|c\n")).collect();
        let mut answer = String::new();
        let sent = stream.write_all(lines.as_bytes()).and_then(|()| stream.write_all(b"!sync\n"));
        match sent.and_then(|()| answers.read_line(&mut answer)) {
            Ok(_) if answer == "ok 50 0\n" => acknowledged.extend(names),
            Ok(0) | Err(_) => break,
            Ok(_) => {
                assert!(answer.starts_with("error the daemon is stopping"), "{answer}");
                break;
            }
        }
        let _nobody_counts_any_more = synced.send(());
    }
    acknowledged
}

#[test]
fn without_a_journal_nothing_is_said_of_one_at_the_end() {
    let daemon = Daemon::start(&(source("tcp") + SQLITE + "[journal]\nenabled = false\n"));
    let (said, _) = daemon.end();
    assert!(said.contains("stopped: every record") && !said.contains("in the journal"), "{said}");
}

#[test]
fn all_that_was_acknowledged_under_load_is_stored_when_it_has_ended() {
    let daemon = Daemon::start(&(source("tcp") + SQLITE));
    let to = daemon.address("tcp");
    let (synced, rounds) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let synced = synced.clone();
            std::thread::spawn(move || report_until_the_end(client, to, &synced))
        })
        .collect();
    for _ in 0..5 * CLIENTS {
        rounds.recv_timeout(PATIENCE).unwrap();
    }
    // All of them go on.
    let (said, ended) = daemon.end();
    let acknowledged: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let rows = ended.rows("name");
    let stored: BTreeSet<_> = rows.iter().collect();
    assert_eq!(stored.len(), rows.len(), "something is stored twice");
    assert!(acknowledged.len() >= 5 * CLIENTS * 50);
    let lost: Vec<_> = acknowledged.iter().filter(|name| !stored.contains(name)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(said.contains("stopped: every record that was taken was delivered"), "{said}");
}

#[test]
fn every_body_that_was_answered_with_200_under_load_is_stored_when_it_has_ended() {
    let daemon = Daemon::start(&format!("[[source]]\ntype = 'http'\n{SQLITE}"));
    let to = daemon.admin();
    let (answered, answers) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let answered = answered.clone();
            std::thread::spawn(move || {
                let mut stored = Vec::new();
                for round in 0.. {
                    let name = format!("client{client}.{round}");
                    match try_ask(to, "POST", "/ingest", &[], format!("{name}:1|c").as_bytes()) {
                        Ok((200, _)) => stored.push(name),
                        Ok((503, answer)) => assert!(answer.contains("stopping"), "{answer}"),
                        Ok((code, answer)) => panic!("{code}: {answer}"),
                        Err(_) => break,
                    }
                    let _nobody_counts_any_more = answered.send(());
                }
                stored
            })
        })
        .collect();
    for _ in 0..5 * CLIENTS {
        answers.recv_timeout(PATIENCE).unwrap();
    }
    let (_, ended) = daemon.end();
    let stored = ended.rows("name");
    for name in clients.into_iter().flat_map(|client| client.join().unwrap()) {
        assert_eq!(stored.iter().filter(|row| **row == name).count(), 1, "{name}");
    }
}

#[test]
fn datagrams_that_were_there_before_the_signal_are_stored() {
    let unixgram = "[[source]]\ntype = 'unixgram'\nlisten = 'kaneda.dgram'\n";
    let daemon = Daemon::start(&(source("udp") + unixgram + SQLITE));
    let (udp, unix) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UnixDatagram::unbound().unwrap());
    for _ in 0..100 {
        udp.send_to(b"udp:1|c", daemon.address("udp")).unwrap();
        unix.send_to(b"unix:1|c", daemon.path("kaneda.dgram")).unwrap();
    }
    // At once, so that the last of them are in the kernel still.
    daemon.signal("TERM");
    let (_, ended) = daemon.ended();
    let rows = ended.rows("name");
    let of = |name: &str| rows.iter().filter(|row| *row == name).count();
    assert_eq!((of("udp"), of("unix")), (100, 100));
}

#[test]
fn what_waits_for_its_flush_is_stored_at_the_end() {
    let store = "[[sink]]\ntype = 'sqlite'\npath = 'reports.db'\nflush_interval = '1h'\n";
    let daemon = Daemon::start(&(source("tcp") + store));
    TcpStream::connect(daemon.address("tcp")).unwrap().write_all(b"a:1|c\nb:1|c\n").unwrap();
    daemon.until("taken", |status| count(&sink(status, "sqlite")["waiting"]) == 2);
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("name"), ["a", "b"]);
}

#[test]
fn a_line_that_was_not_ended_by_then_is_not_taken() {
    let daemon = Daemon::start(&(source("tcp") + SQLITE));
    let mut stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.write_all(b"a:1|c\nb:1|c").unwrap();
    daemon.until_delivered("sqlite", 1);
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("name"), ["a"]);
    // The daemon has closed the connection, without an answer that was not asked for.
    let mut rest = String::new();
    let _reset = stream.read_to_string(&mut rest);
    assert_eq!(rest, "");
}

#[test]
fn a_rotated_log_is_opened_again_at_sighup_and_without_it() {
    let sink = "[[sink]]\ntype = 'log'\npath = 'reports.jsonl'\nflush_interval = '1ms'\n";
    let daemon = Daemon::start(&(source("tcp") + sink));
    let mut stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    let names = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(daemon.path(file)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        let name = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].clone();
        text.lines().map(|line| name(line).as_str().unwrap().to_owned()).collect()
    };
    stream.write_all(b"a:1|c\n").unwrap();
    daemon.until_delivered("log", 1);
    // As logrotate: move it away, then tell the daemon.
    std::fs::rename(daemon.path("reports.jsonl"), daemon.path("reports.jsonl.1")).unwrap();
    daemon.signal("HUP");
    daemon.until_said("SIGHUP: files are opened again");
    stream.write_all(b"b:1|c\n").unwrap();
    daemon.until_delivered("log", 2);
    assert_eq!((names("reports.jsonl.1"), names("reports.jsonl")), (vec!["a".into()], vec!["b".into()]));
    // And by those who do not tell.
    std::fs::rename(daemon.path("reports.jsonl"), daemon.path("reports.jsonl.2")).unwrap();
    stream.write_all(b"c:1|c\n").unwrap();
    daemon.until_delivered("log", 3);
    assert_eq!((names("reports.jsonl.2"), names("reports.jsonl")), (vec!["b".into()], vec!["c".into()]));
    daemon.end();
}
