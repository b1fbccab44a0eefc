//! Input that wants to do harm: it changes nothing but counters.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};

use serde_json::json;

use crate::process::{Daemon, PATIENCE, SQLITE, count, named, source};

/// Over IPv4.
const LONGEST_DATAGRAM: usize = 65_507;

/// Bytes without sense, always the same ones; no `!sync` among them that would be answered.
fn garbage(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

fn daemon() -> Daemon {
    Daemon::start(&(source("udp") + &source("tcp") + &source("http") + SQLITE))
}

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What it answers to `bytes` and `!sync` on a connection.
fn answer(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = connect(daemon);
    stream.write_all(bytes).unwrap();
    stream.write_all(b"\n!sync\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    answers
}

/// It still takes a good report, its memory is small, and it ends well with nothing but that report stored.
fn assert_unharmed(daemon: Daemon) {
    assert_eq!(answer(&daemon, b"good:1|c"), "ok 1 0\n");
    #[cfg(target_os = "linux")]
    assert!(daemon.peak_memory() < 64 << 20, "{} bytes", daemon.peak_memory());
    assert_eq!(daemon.stored(1, "name"), ["good"]);
}

#[test]
fn garbage_in_datagrams_is_counted() {
    let daemon = daemon();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let garbage = garbage(LONGEST_DATAGRAM);
    // All in one, then in pieces.
    socket.send_to(&garbage, daemon.address("udp")).unwrap();
    let udp = |status: &serde_json::Value| named(&status["sources"], "udp").clone();
    daemon.until("received", |status| udp(status)["datagrams"] == 1);
    for piece in garbage.chunks(100) {
        socket.send_to(piece, daemon.address("udp")).unwrap();
    }
    socket.send_to(b"last", daemon.address("udp")).unwrap();
    let sent = 2 + garbage.chunks(100).len() as u64;
    let status = daemon.until("received or dropped", |status| {
        count(&udp(status)["datagrams"]) + count(&udp(status)["kernel_drops"]) == sent
    });
    assert_eq!(status["lines"]["accepted"], 0, "{status:#}");
    assert!(count(&status["lines"]["rejected"]) > 0, "{status:#}");
    assert_unharmed(daemon);
}

#[test]
fn garbage_on_a_connection_is_counted() {
    let daemon = daemon();
    let garbage = garbage(64 * 1024);
    let answers = answer(&daemon, &garbage);
    let lines = garbage.split(|byte| *byte == b'\n').filter(|line| !matches!(*line, b"" | b"\r")).count();
    assert_eq!(answers, format!("ok 0 {lines}\n"));
    assert_unharmed(daemon);
}

#[test]
fn ten_thousand_bad_lines_are_counted_each_by_its_reason() {
    let daemon = daemon();
    let kinds = ["x", ":1|c", "a:1|zz", "a:1o|c", "a:1|c|@7", "{\"name\":", "_e{9,9}:a|b", "a:1|c|i:"];
    let expected = json!({
        "no_type": 1250, "no_name": 1250, "unknown_type": 1250, "bad_number": 1250,
        "bad_rate": 1250, "bad_json": 1250, "bad_length": 1250, "bad_id": 1250,
    });
    let lines: Vec<_> = kinds.iter().cycle().take(10_000).copied().collect();
    assert_eq!(answer(&daemon, lines.join("\n").as_bytes()), "ok 0 10000\n");
    assert_eq!(daemon.status()["lines"]["rejected"], expected);
    // They are told, but not each of them.
    assert!(daemon.said().lines().count() < 1000, "{}", daemon.said());
    assert_unharmed(daemon);
}

#[test]
fn a_very_long_line_is_refused_and_its_neighbours_are_taken() {
    let daemon = daemon();
    let line = [b"a:1|c\n".as_slice(), &[b'x'; 4 << 20], b"\nb:1|c"].concat();
    assert_eq!(answer(&daemon, &line), "ok 2 1\n");
    assert_eq!(daemon.status()["lines"]["rejected"], json!({ "line_too_long": 1 }));
    #[cfg(target_os = "linux")]
    assert!(daemon.peak_memory() < 64 << 20, "{} bytes", daemon.peak_memory());
    assert_eq!(daemon.stored(2, "name"), ["a", "b"]);
}

#[test]
fn connections_that_never_finish_what_they_began_keep_nobody_from_reporting() {
    let daemon = daemon();
    let mut open = Vec::new();
    for begun in ["", "half:1", "!syn", "{\"name\":\"a", "long:"] {
        for _ in 0..40 {
            let mut stream = connect(&daemon);
            stream.write_all(begun.as_bytes()).unwrap();
            if begun == "long:" {
                stream.write_all(&[b'1'; 3000]).unwrap();
            }
            open.push(stream);
        }
    }
    for request in ["POST /ing", "POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na:1"] {
        for address in [daemon.address("http"), daemon.admin()] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            open.push(stream);
        }
    }
    // More than the admin address has; those that ask for its pages are not kept out.
    for _ in 0..200 {
        open.push(TcpStream::connect(daemon.admin()).unwrap());
    }
    daemon.until("open", |status| named(&status["sources"], "tcp")["connections"] == 200);
    assert_unharmed(daemon);
}
