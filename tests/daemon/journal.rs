//! The journal over starts: sinks that are gone, sinks that are new, and what is said of them.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use crate::process::{Daemon, Ended, Start, count, sink, source};

const STORE: &str =
    "[[sink]]\ntype = 'sqlite'\nname = 'sqlite'\npath = 'reports.db'\nflush_interval = '10ms'\n";
const OTHER: &str = "[[sink]]\ntype = 'sqlite'\nname = 'other'\npath = 'other.db'\nflush_interval = '10ms'\n";

fn send(daemon: &Daemon, lines: &[u8]) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(lines, daemon.address("udp")).unwrap();
}

/// Starts it again with these sinks, and more of `[journal]`.
fn again(ended: Ended, sinks: &str, journal: &str) -> Daemon {
    let config = format!(
        "hostname = 'here'\n[admin]\nlisten = '127.0.0.1:0'\n[journal]\nmin_free = '1MiB'\n{journal}{}{sinks}",
        source("udp")
    );
    std::fs::write(ended.path("kaneda.toml"), config).unwrap();
    Start::again(ended).daemon()
}

/// What a start said of a sink that is no more, and in how many lines.
fn said_of_orphans(said: &str) -> Vec<String> {
    let is_it = |line: &&str| line.contains("the journal keeps records for a sink that is not configured");
    said.lines().filter(is_it).map(str::to_owned).collect()
}

fn journal(words: &[&str], folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaneda"));
    let output = command.env_clear().arg("journal").args(words).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_sink_that_is_gone_is_told_of_at_every_start_until_it_is_forgotten() {
    let daemon =
        Daemon::start(&("[journal]\nmin_free = '1MiB'\n".to_owned() + &source("udp") + STORE + OTHER));
    send(&daemon, b"a:1|c\nb:1|c");
    daemon.until_delivered("sqlite", 2);
    daemon.until_delivered("other", 2);
    let (said, mut ended) = daemon.end();
    assert!(said_of_orphans(&said).is_empty(), "{said}");
    // What it had got is not kept for it; what comes now is.
    for records in [0, 3, 6] {
        let daemon = again(ended, STORE, "");
        send(&daemon, b"c:1|c\nd:1|c\ne:1|c");
        daemon.until_delivered("sqlite", records + 5);
        let told = said_of_orphans(&daemon.said());
        assert_eq!(told.len(), 1, "{told:?}");
        for word in [
            "WARN".to_owned(),
            "sink=\"other\"".into(),
            format!("records={records} "),
            "kaneda journal forget".into(),
        ] {
            assert!(told[0].contains(&word), "no `{word}` in {told:?}");
        }
        ended = daemon.end().1;
    }
    let folder = ended.path("kaneda-data/journal");
    let out = journal(&["forget", "other"], &folder);
    assert!(out.contains("for which 9 records waited; ") && !out.contains("; 0 bytes"), "{out}");
    let daemon = again(ended, STORE, "");
    let said = daemon.said();
    assert!(said_of_orphans(&said).is_empty(), "{said}");
    daemon.end();
}

#[test]
fn a_new_sink_gets_what_comes_or_all_that_is_there_as_new_sinks_says() {
    for (key, of_before) in [("", 0), ("new_sinks = 'end'\n", 0), ("new_sinks = 'start'\n", 2)] {
        let daemon = Daemon::start(&("[journal]\nmin_free = '1MiB'\n".to_owned() + &source("udp") + STORE));
        send(&daemon, b"a:1|c\nb:1|c");
        daemon.until_delivered("sqlite", 2);
        let (_, ended) = daemon.end();
        let daemon = again(ended, &(STORE.to_owned() + OTHER), key);
        send(&daemon, b"c:1|c");
        daemon.until_delivered("sqlite", 3);
        let status = daemon.until_delivered("other", of_before + 1);
        assert_eq!(count(&sink(&status, "other")["accepted"]), of_before + 1, "{key}");
        assert_eq!(count(&sink(&status, "sqlite")["accepted"]), 3, "{key}");
        let (_, ended) = daemon.end();
        // It is new only once.
        let daemon = again(ended, &(STORE.to_owned() + OTHER), "new_sinks = 'start'\n");
        send(&daemon, b"d:1|c");
        let status = daemon.until_delivered("other", of_before + 2);
        assert_eq!(count(&sink(&status, "other")["accepted"]), of_before + 2, "{key}");
        daemon.end();
    }
}
