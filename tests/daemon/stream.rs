//! Reports over connections: framing, ends, and the answers to control lines.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::process::{Daemon, PATIENCE, SQLITE, count, named, source};

fn tcp() -> Daemon {
    Daemon::start(&(source("tcp") + SQLITE))
}

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.address("tcp")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn open_connections(status: &Value) -> u64 {
    count(&named(&status["sources"], "tcp")["connections"])
}

#[test]
fn lines_end_with_lf_or_crlf_and_the_last_one_may_lack_it_where_the_end_is_orderly() {
    let daemon = tcp();
    let mut stream = connect(&daemon);
    // A piece ends within a line, and between CR and LF.
    for piece in ["a:1", "|c\r", "\nb:2|c\nc:3", "|c"] {
        stream.write_all(piece.as_bytes()).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(daemon.stored(3, "name, value, text"), ["a 1 1", "b 2 2", "c 3 3"]);
}

#[test]
fn an_unterminated_last_line_is_not_taken_after_a_reset() {
    let daemon = tcp();
    let stream = connect(&daemon);
    (&stream).write_all(b"a:1|c\nb:2|c").unwrap();
    daemon.until_delivered("sqlite", 1);
    // To close now means to reset.
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    let status = daemon.until("the connection closed", |status| open_connections(status) == 0);
    assert_eq!(status["lines"]["received"], 1);
    assert_eq!(daemon.stored(1, "name"), ["a"]);
}

#[test]
fn control_lines_are_answered_in_order_also_several_in_flight() {
    let daemon = tcp();
    let mut stream = connect(&daemon);
    stream.write_all(b"!ping\n!sync\na:1|c\nb:2|c\n!sync\nbad\nc:3|c\n!sync\r\n!ping\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "pong\nok 0 0\nok 2 0\nok 1 1\npong\n");
    // What was answered is in the store: nothing has to be waited for.
    daemon.until_delivered("sqlite", 3);
    assert_eq!(daemon.rows("name"), ["a", "b", "c"]);
    assert_eq!(
        daemon.status()["lines"],
        json!({ "received": 9, "accepted": 3, "skipped": 5, "rejected": { "no_type": 1 } })
    );
    daemon.end();
}

#[test]
fn a_sync_speaks_for_its_connection_only() {
    let daemon = tcp();
    let (mut one, mut two) = (connect(&daemon), connect(&daemon));
    one.write_all(b"a:1|c\nbad\n").unwrap();
    two.write_all(b"b:1|c\n!sync\n").unwrap();
    two.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    two.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "ok 1 0\n");
    drop(one);
    assert_eq!(daemon.stored(2, "name"), ["a", "b"]);
}

#[test]
fn a_unix_socket_is_the_same() {
    let source = "[[source]]\ntype = 'unix'\nlisten = 'kaneda.sock'\n";
    let daemon = Daemon::start(&(source.to_owned() + SQLITE));
    let mut stream = UnixStream::connect(daemon.path("kaneda.sock")).unwrap();
    stream.write_all(b"a:1|c\r\nb:2|c\n!sync\nc:3|c").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "ok 2 0\n");
    assert_eq!(daemon.stored(3, "name, host"), ["a here", "b here", "c here"]);
}

#[test]
fn the_peer_of_a_connection_can_be_the_host() {
    let daemon = Daemon::start(&(source("tcp") + "hostname = 'peer'\n" + SQLITE));
    connect(&daemon).write_all(b"a:1|c\nb:1|c|h:other\n").unwrap();
    assert_eq!(daemon.stored(2, "name, host"), ["a 127.0.0.1", "b other"]);
}
