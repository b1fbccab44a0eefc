//! Clients as they are, unchanged, over real sockets; what they sent is what lies in SQLite.
//!
//! `scripts/test-tools.sh` gets them. Without one its test says that it is skipped, or fails where
//! `KANEDA_TEST_REQUIRE_CLIENTS` is set.

#![allow(clippy::unwrap_used)]

#[path = "../daemon/network.rs"]
mod network;
#[path = "../daemon/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use process::{Daemon, SQLITE, source};

const REQUIRED: &str = "KANEDA_TEST_REQUIRE_CLIENTS";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What is compared of each report.
const COLUMNS: &str = "metric, name, value, text, tags, host";

/// Listens to UDP, stores into SQLite.
fn daemon() -> Daemon {
    Daemon::start(&(source("udp") + SQLITE))
}

/// Whether `program` is there.
fn have(program: &Path) -> bool {
    let on_path = || Command::new("which").arg(program).stdout(Stdio::null()).status().unwrap().success();
    if program.exists() || on_path() {
        return true;
    }
    let name = program.display();
    assert!(std::env::var_os(REQUIRED).is_none(), "{name} is needed: run scripts/test-tools.sh");
    eprintln!("skipped: no {name} here; scripts/test-tools.sh gets it");
    false
}

fn run(program: &Path, arguments: &[&str], daemon: &Daemon) {
    let port = daemon.address("udp").port().to_string();
    let output = Command::new(program)
        .args(arguments)
        .arg(port)
        .current_dir(ROOT)
        // Node finds modules here, whatever folder the script is in.
        .env("NODE_PATH", Path::new(ROOT).join("target/clients/node_modules"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn python() -> PathBuf {
    Path::new(ROOT).join("target/clients/python/bin/python")
}

#[test]
fn bash_reports_without_any_program() {
    let daemon = daemon();
    let script = r"printf 'deploy.done:v42|event|#env:prod' > /dev/udp/127.0.0.1/$0
                   echo 'signups:1|c' > /dev/udp/127.0.0.1/$0";
    run(Path::new("bash"), &["-c", script], &daemon);
    assert_eq!(
        daemon.stored(2, COLUMNS),
        ["counter signups 1 1 - here", r#"event deploy.done - v42 ["env:prod"] here"#]
    );
}

#[test]
fn both_netcats_report_from_a_pipe() {
    for netcat in ["nc.openbsd", "nc.traditional"] {
        if !have(Path::new(netcat)) {
            continue;
        }
        let daemon = daemon();
        let script = format!("echo 'load:0.75|g' | {netcat} -u -w1 127.0.0.1 $0");
        run(Path::new("bash"), &["-c", &script], &daemon);
        assert_eq!(daemon.stored(1, COLUMNS), ["gauge load 0.75 0.75 - here"], "{netcat}");
    }
}

#[test]
fn statsd_of_pypi() {
    if !have(&python()) {
        return;
    }
    let daemon = daemon();
    run(&python(), &["tests/clients/statsd_client.py"], &daemon);
    assert_eq!(
        daemon.stored(6, COLUMNS),
        [
            "counter app.hits -2 -2 - here",
            "counter app.hits 1 1 - here",
            "gauge app.queue 17 17 - here",
            "set app.users - alice - here",
            "timing app.page 312 312.000000 - here",
            "timing app.page 5 5.000000 - here",
        ]
    );
}

#[test]
fn datadog_of_pypi() {
    if !have(&python()) {
        return;
    }
    let daemon = daemon();
    run(&python(), &["tests/clients/datadog_client.py"], &daemon);
    assert_eq!(
        daemon.stored(7, COLUMNS),
        [
            r#"counter page.views 1 1 ["page:home","env:prod"] here"#,
            r#"distribution answer.time 0.25 0.25 ["env:prod"] here"#,
            "event Deployed: web - version 42\nby ann [\"by:ann\",\"env:prod\"] here",
            r#"gauge queue.size 17.5 17.5 ["env:prod"] here"#,
            r#"histogram upload.size 1234 1234 ["env:prod"] here"#,
            r#"service_check db.up 1 1 ["env:prod"] db1"#,
            r#"set users - alice ["env:prod"] here"#,
        ]
    );
}

#[test]
fn aiodogstatsd_of_pypi() {
    if !have(&python()) {
        return;
    }
    let daemon = daemon();
    run(&python(), &["tests/clients/aiodogstatsd_client.py"], &daemon);
    assert_eq!(
        daemon.stored(5, COLUMNS),
        [
            r#"counter shop.orders 1 1 ["env:prod"] here"#,
            r#"counter shop.stock -3 -3 ["env:prod"] here"#,
            r#"gauge shop.queue 4 4 ["env:prod","name:mail"] here"#,
            r#"histogram shop.basket 12.5 12.5 ["env:prod"] here"#,
            r#"timing shop.checkout 81 81 ["env:prod"] here"#,
        ]
    );
}

#[test]
fn hot_shots_of_npm() {
    if !have(&Path::new(ROOT).join("target/clients/node_modules/hot-shots")) {
        return;
    }
    let daemon = daemon();
    run(Path::new("node"), &["tests/clients/hot_shots_client.js"], &daemon);
    assert_eq!(
        daemon.stored(7, COLUMNS),
        [
            r#"counter node.requests 1 1 ["env:prod"] here"#,
            r#"counter node.slots -2 -2 ["env:prod"] here"#,
            r#"event restart - after an update ["env:prod"] here"#,
            r#"gauge node.heap 93.5 93.5 ["env:prod"] here"#,
            r#"service_check node.cache 0 0 ["env:prod"] here"#,
            r#"set node.visitors - bob ["env:prod"] here"#,
            r#"timing node.render 42 42 ["env:prod","view:list"] here"#,
        ]
    );
}
