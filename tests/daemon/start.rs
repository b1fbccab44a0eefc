//! What it needs to start, what it says then, and where its configuration comes from.

use std::net::UdpSocket;

use crate::process::{Daemon, SQLITE, Start, source};

#[test]
fn a_memory_limit_that_is_too_small_is_refused_with_a_table_that_names_the_keys() {
    let config = source("udp") + &source("tcp") + SQLITE + "[limits]\nmemory_limit = '32MiB'\n";
    let (code, said) = Start::with(&config).refusal();
    assert_eq!(code, 1);
    for text in [
        "memory_limit = \"32MiB\" is less than",
        "the process itself",
        "source udp: receive_buffer, max_datagram, workers",
        "source tcp: max_connections, line_buffer",
        "sink sqlite: ",
        "ring_bytes",
        "raise memory_limit in [limits], or lower one of the keys",
    ] {
        assert!(said.contains(text), "no `{text}` in {said}");
    }
}

#[cfg(feature = "influxdb")]
#[test]
fn the_default_memory_limit_has_room_for_four_sinks() {
    let sources = source("udp") + &source("tcp") + "[[source]]\ntype = 'http'\n";
    let stores = "[[sink]]\ntype = 'influxdb'\nhost = '127.0.0.1'\n[[sink]]\ntype = 'null'\n\
                  [[sink]]\ntype = 'log'\n[[sink]]\ntype = 'sqlite'\npath = 'reports.db'\n";
    let daemon = Daemon::start(&(sources + stores));
    daemon.until_said("memory: the most that all buffers together may hold");
    daemon.end();
}

#[test]
fn without_a_configuration_it_says_what_runs_where_and_what_to_try() {
    let daemon = match Start::bare().go() {
        Ok(daemon) => daemon,
        Err((_, said)) if said.contains("in use") => {
            return eprintln!("skipped: port 8125 or 8126 is in use here: {said}");
        }
        Err((code, said)) => panic!("it ended with {code}: {said}"),
    };
    daemon.until_said("kaneda:   sqlite3 kaneda-data/reports.db 'select * from reports'\n");
    let said = daemon.said();
    let said = said.replace(&daemon.path("").display().to_string(), "");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("kaneda: ")).collect();
    assert_eq!(
        lines[..6],
        [
            "kaneda: source udp (udp) on 127.0.0.1:8125",
            "kaneda: source tcp (tcp) on 127.0.0.1:8125",
            "kaneda: source http (http) on 127.0.0.1:8126",
            "kaneda: sink sqlite (sqlite) to kaneda-data/reports.db",
            "kaneda: journal in kaneda-data/journal",
            "kaneda: admin on http://127.0.0.1:8126",
        ]
    );
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"signups:1|c", "127.0.0.1:8125").unwrap();
    daemon.until_delivered("sqlite", 1);
    assert!(daemon.path("kaneda-data/reports.db").exists());
    daemon.end();
}

#[test]
fn the_environment_goes_before_the_file_and_can_add_a_sink() {
    let udp = "[[source]]\ntype = 'udp'\nlisten = 'nowhere'\n[[sink]]\ntype = 'null'\n";
    let daemon = Start::with(udp)
        .variable("KANEDA_SOURCE_UDP_LISTEN", "127.0.0.1:0")
        .variable("KANEDA_HOSTNAME", "there")
        .variable("KANEDA_SINK_SQLITE_TYPE", "sqlite")
        .variable("KANEDA_SINK_SQLITE_PATH", "reports.db")
        .variable("KANEDA_SINK_SQLITE_FLUSH_INTERVAL", "10ms")
        .daemon();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"a:1|c", daemon.address("udp")).unwrap();
    assert_eq!(daemon.stored(1, "name, host"), ["a there"]);
}

#[test]
fn a_variable_that_is_no_key_is_a_mistake_that_names_the_nearest() {
    let start = Start::with(&(source("udp") + SQLITE)).variable("KANEDA_SINK_SQLITE_PAHT", "reports.db");
    let (code, said) = start.refusal();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("KANEDA_SINK_SQLITE_PAHT") && said.contains("KANEDA_SINK_SQLITE_PATH"), "{said}");
}

#[test]
fn an_address_that_is_taken_is_named_with_its_key_whatever_listens_there() {
    let unix = "[[source]]\ntype = 'unix'\nlisten = 'kaneda.sock'\n\
                [[source]]\ntype = 'unixgram'\nlisten = 'kaneda.dgram'\n";
    let sources = source("udp") + &source("tcp") + &source("http") + unix;
    let daemon = Daemon::start(&(sources + SQLITE));
    let sockets = ["udp", "tcp", "http"].map(|kind| (kind, daemon.address(kind).to_string()));
    let files = [("unix", "kaneda.sock"), ("unixgram", "kaneda.dgram")];
    let files = files.map(|(kind, name)| (kind, daemon.path(name).display().to_string()));
    for (kind, address) in sockets.into_iter().chain(files) {
        let source = format!("[[source]]\ntype = '{kind}'\nlisten = '{address}'\n");
        let (code, said) = Start::with(&(source + SQLITE)).refusal();
        assert_eq!(code, 1, "{said}");
        for text in [format!("source {kind}"), format!("listen = \"{address}\""), "address in use".into()] {
            assert!(said.contains(&text), "no `{text}` in {said}");
        }
    }
    let admin = daemon.admin().to_string();
    let start = Start::with(&(source("udp") + SQLITE)).variable("KANEDA_ADMIN_LISTEN", &admin);
    let (code, said) = start.refusal();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("[admin] listen = \"{admin}\"")), "{said}");
    daemon.end();
}
