//! `kaneda send` and `kaneda check --connect` against a running daemon: what they print, and how they end.

use std::process::{Command, Stdio};

use crate::network::closed_port;
use crate::process::{Daemon, SQLITE, source};

/// Runs the command; its exit status and what it printed.
fn kaneda(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaneda"));
    let output = command.args(arguments).env_clear().stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn send_tells_what_became_of_the_lines_over_each_transport() {
    let unix = "[[source]]\ntype = 'unix'\nlisten = 'kaneda.sock'\n\
                [[source]]\ntype = 'unixgram'\nlisten = 'kaneda.dgram'\n";
    let sources = source("udp") + &source("tcp") + &source("http") + unix;
    let daemon = Daemon::start(&(sources + SQLITE));
    let path = |name| daemon.path(name).display().to_string();
    let address = |name| daemon.address(name).to_string();
    for (name, to, expected) in [
        ("tcp", format!("tcp://{}", address("tcp")), "ok 2 0\n"),
        ("unix", format!("unix://{}", path("kaneda.sock")), "ok 2 0\n"),
        ("http", format!("http://{}", address("http")), "ok 2 0\n"),
        ("udp", format!("udp://{}", address("udp")), "sent 2; no answer on this transport\n"),
        ("unixgram", format!("unixgram://{}", path("kaneda.dgram")), "sent 2; no answer on this transport\n"),
    ] {
        let (first, second) = (format!("{name}.first:1|c"), format!("{name}.second:2|c"));
        let sent = kaneda(&["send", "--to", &to, &first, &second]);
        assert_eq!(sent, (0, expected.to_owned(), String::new()), "{to}");
    }
    let mut expected: Vec<_> = ["http", "tcp", "udp", "unix", "unixgram"]
        .iter()
        .flat_map(|name| [format!("{name}.first 1"), format!("{name}.second 2")])
        .collect();
    expected.sort();
    assert_eq!(daemon.stored(10, "name, value"), expected);
}

#[test]
fn send_ends_with_1_where_a_line_is_refused_or_nobody_listens() {
    let daemon = Daemon::start(&(source("tcp") + &source("http") + SQLITE));
    let (tcp, http) = (daemon.address("tcp"), daemon.address("http"));
    assert_eq!(
        kaneda(&["send", "--to", &format!("tcp://{tcp}"), "a:1|c", "bad"]),
        (1, "ok 1 1\n".into(), String::new())
    );
    let (code, out, _) = kaneda(&["send", "--to", &format!("http://{http}"), "b:1|c", "bad"]);
    assert_eq!((code, out.lines().next()), (1, Some("ok 1 1")), "{out}");
    assert!(out.contains("no_type"), "{out}");
    assert_eq!(daemon.stored(2, "name"), ["a", "b"]);
    let (_held, port) = closed_port();
    let (code, out, err) = kaneda(&["send", "--to", &format!("tcp://127.0.0.1:{port}"), "a:1|c"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with(&format!("kaneda: tcp://127.0.0.1:{port}: nothing was sent: ")), "{err}");
}

#[test]
fn health_ends_with_0_while_it_runs() {
    let daemon = Daemon::start(&(source("tcp") + SQLITE));
    let url = format!("http://{}/health", daemon.admin());
    assert_eq!(kaneda(&["health", "--url", &url]), (0, "alive\n".into(), String::new()));
    daemon.end();
}

#[test]
fn check_tries_a_store_that_a_daemon_writes_to() {
    let daemon = Daemon::start(&(source("tcp") + SQLITE));
    let file = daemon.path("check.toml");
    let config = format!("[[sink]]\ntype = 'sqlite'\npath = '{}'\n", daemon.path("reports.db").display());
    std::fs::write(&file, source("tcp") + &config).unwrap();
    let (code, out, err) = kaneda(&["check", "--connect", "-c", file.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("  sink sqlite: can be reached and written to\n"), "{out}");
    daemon.end();
}
