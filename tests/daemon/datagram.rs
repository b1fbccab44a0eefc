//! Reports in datagrams: UDP over IPv4 and IPv6, Unix datagram sockets; and what holds for every source.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use crate::process::{Daemon, SQLITE, Start, source};

/// Sends datagrams to the source `udp`.
fn send(daemon: &Daemon, datagrams: &[&str]) {
    let to = daemon.address("udp");
    let socket = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), to).unwrap();
    }
}

#[test]
fn every_line_of_a_datagram_is_stored_and_a_bad_one_harms_none() {
    let daemon = Daemon::start(&(source("udp") + SQLITE));
    send(&daemon, &["signups:1|c|#plan:pro\nbad\n\nload:0.75|g|@0.5\r\n", "deploy.done:v42|event"]);
    let status = daemon.until_delivered("sqlite", 3);
    assert_eq!(
        status["lines"],
        serde_json::json!({ "received": 5, "accepted": 3, "skipped": 1, "rejected": { "no_type": 1 } })
    );
    assert_eq!(
        daemon.stored(3, "metric, name, value, text, tags, host, rate, extra"),
        [
            r#"counter signups 1 1 ["plan:pro"] here - -"#,
            "event deploy.done - v42 - here - -",
            "gauge load 0.75 0.75 - here 0.5 -",
        ]
    );
}

#[test]
fn udp_over_ipv6_is_the_same() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return eprintln!("skipped: no IPv6 here");
    }
    let source = "[[source]]\ntype = 'udp'\nlisten = '[::1]:0'\nhostname = 'peer'\n";
    let daemon = Daemon::start(&(source.to_owned() + SQLITE));
    send(&daemon, &["signups:1|c"]);
    assert_eq!(daemon.stored(1, "name, host"), ["signups ::1"]);
}

#[test]
fn a_unix_datagram_socket_is_the_same() {
    let source = "[[source]]\ntype = 'unixgram'\nlisten = 'kaneda.dgram'\n";
    let daemon = Daemon::start(&(source.to_owned() + SQLITE));
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"a:1|c\nb:2|c", daemon.path("kaneda.dgram")).unwrap();
    socket.send_to(b"c:3|c", daemon.path("kaneda.dgram")).unwrap();
    assert_eq!(daemon.stored(3, "name, value"), ["a 1", "b 2", "c 3"]);
}

#[test]
fn a_datagram_that_was_cut_is_told_in_the_log() {
    let source = "[[source]]\ntype = 'unixgram'\nlisten = 'kaneda.dgram'\nmax_datagram = '8B'\n";
    let daemon = Daemon::start(&(source.to_owned() + SQLITE));
    UnixDatagram::unbound().unwrap().send_to(b"a:1|c\nb:2|c", daemon.path("kaneda.dgram")).unwrap();
    daemon.until_said("datagrams were cut: raise `max_datagram`");
    assert_eq!(daemon.stored(1, "name, value"), ["a 1"]);
}

#[test]
fn a_repeated_id_of_a_client_replaces_and_the_last_to_arrive_stays() {
    let daemon = Daemon::start(&(source("udp") + SQLITE));
    send(&daemon, &["queue:1|g|i:x\nqueue:2|g|i:x\nqueue:9|g|i:y"]);
    daemon.until_delivered("sqlite", 3);
    send(&daemon, &["queue:3|g|i:x", "queue:4|g"]);
    assert_eq!(daemon.stored(5, "value"), ["3", "4", "9"]);
}

#[test]
fn the_host_is_the_lines_own_else_what_the_source_is_configured_to_say() {
    for (hostname, expected) in [("peer", "127.0.0.1"), ("edge-7", "edge-7")] {
        let source = source("udp") + &format!("hostname = '{hostname}'\n");
        let daemon = Daemon::start(&(source + SQLITE));
        send(&daemon, &["a:1|c\nb:1|c|h:other"]);
        assert_eq!(daemon.stored(2, "name, host"), [format!("a {expected}"), "b other".to_owned()]);
    }
}

#[test]
fn in_the_dialect_of_statsd_a_signed_gauge_is_a_change_and_a_line_holds_several_metrics() {
    let daemon = Daemon::start(&(source("udp") + "dialect = 'statsd'\n" + SQLITE));
    send(&daemon, &["queue:+3|g\nqueue:-2|g\nqueue:7|g\npage:1|c:312|ms"]);
    assert_eq!(
        daemon.stored(5, "metric, name, value, extra"),
        [
            "counter page 1 -",
            "gauge queue -2 {\"delta\":true}",
            "gauge queue 3 {\"delta\":true}",
            "gauge queue 7 -",
            "timing page 312 -",
        ]
    );
}

#[test]
fn without_that_dialect_a_signed_gauge_is_a_value() {
    let daemon = Daemon::start(&(source("udp") + SQLITE));
    send(&daemon, &["queue:-2|g"]);
    assert_eq!(daemon.stored(1, "value, extra"), ["-2 -"]);
}

#[test]
fn a_second_daemon_on_the_same_port_does_not_start_and_names_the_key() {
    let first = Daemon::start(&(source("udp") + SQLITE));
    let address = first.address("udp");
    let second = format!("[[source]]\ntype = 'udp'\nlisten = '{address}'\n{SQLITE}");
    let (code, said) = Start::with(&second).refusal();
    assert_ne!(code, 0);
    let wanted = format!("listen = \"{address}\"");
    assert!(said.contains(&wanted) && said.contains("address in use"), "{said}");
    send(&first, &["a:1|c"]);
    assert_eq!(first.stored(1, "name"), ["a"]);
}
