//! A steady load with a fault every now and then: nothing is lost, and memory, files and disk stay as they are.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::{Target, steady};
use crate::process::{Daemon, SQLITE, count, sink, source};
use crate::proxy::Fault;
use crate::setting;
use crate::stores::Faulty;

/// Reports a second.
const RATE: u64 = 5_000;
/// What may be more at the end than at the beginning: buffers that were needed once.
const SLACK: u64 = 48 << 20;

/// What must not grow.
#[derive(Debug)]
struct Held {
    memory: u64,
    files: usize,
    journal: u64,
}

impl Held {
    fn by(daemon: &Daemon, status: &Value) -> Held {
        let journal = count(&status["journal"]["bytes"]);
        Held { memory: daemon.memory(), files: daemon.open_files(), journal }
    }
}

#[test]
fn under_a_steady_load_with_faults_nothing_is_lost_and_nothing_grows() {
    let Some(store) = Faulty::start("soak") else { return };
    let every = Duration::from_secs(setting("KANEDA_PROOF_FAULT", 2));
    let journal = "[journal]\nsegment_size = '1MiB'\n";
    let config = [&source("tcp"), &source("udp"), SQLITE, &store.config(), journal].concat();
    let daemon = Daemon::start(&config);
    let target = Arc::new(Target::default());
    target.set(&daemon);
    let client = steady(&target, "load", RATE);
    let calm = |status: &Value| count(&sink(status, "influxdb")["waiting"]) < 2 * RATE;
    daemon.until_delivered("influxdb", RATE);
    let first = Held::by(&daemon, &daemon.until("calm", calm));
    println!("at the start: {first:?}");

    let faults = [
        Fault::Away,
        Fault::HalfReply,
        Fault::Hang,
        Fault::LoseReply,
        Fault::Answer { to: "", status: 503, body: "overloaded" },
    ];
    let end = Instant::now() + Duration::from_secs(setting("KANEDA_PROOF_SOAK", 5));
    for fault in faults.iter().cycle() {
        if Instant::now() > end {
            break;
        }
        store.set(fault.clone());
        sleep(every / 2);
        store.set(Fault::None);
        sleep(every / 2);
        let status = daemon.status();
        println!(
            "after {fault:?}: {} wait, {:?}",
            sink(&status, "influxdb")["waiting"],
            Held::by(&daemon, &status)
        );
    }
    // Cursors are stored and segments deleted about once a second.
    let flat = |status: &Value| calm(status) && count(&status["journal"]["bytes"]) < 8 << 20;
    let last = Held::by(&daemon, &daemon.until("calm, and old segments are gone", flat));
    println!("at the end: {last:?}");
    assert!(last.memory < first.memory + SLACK, "memory grows");
    assert!(last.files <= first.files + 8, "files are left open");
    assert!(last.journal < 8 << 20, "segments are left over");

    target.stop();
    let sent = client.join().unwrap();
    let status = daemon.until("all stored", |status| {
        ["influxdb", "sqlite"].iter().all(|name| count(&sink(status, name)["delivered"]) == sent)
    });
    for name in ["influxdb", "sqlite"] {
        let sink = sink(&status, name);
        assert_eq!((count(&sink["dropped"]), count(&sink["rejected"])), (0, 0), "{sink:#}");
    }
    assert_eq!(store.points(), sent);
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("count(*)"), [sent.to_string()]);
    println!("{sent} reports, each stored once");
}
