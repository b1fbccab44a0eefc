//! A store is away for minutes: nothing is lost, memory is bounded, and the other store does not notice.

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
const RATE: u64 = 20_000;
/// What the daemon may hold, by default.
const MEMORY_LIMIT: u64 = 256 << 20;

#[test]
fn an_outage_of_one_store_loses_nothing_and_holds_up_nobody() {
    let Some(store) = Faulty::start("outage") else { return };
    let config = [&source("tcp"), &source("udp"), SQLITE, &store.config()].concat();
    let daemon = Daemon::start(&config);
    let target = Arc::new(Target::default());
    target.set(&daemon);
    let client = steady(&target, "load", RATE);
    daemon.until_delivered("influxdb", RATE / 2);

    store.set(Fault::Away);
    let outage = Duration::from_secs(setting("KANEDA_PROOF_OUTAGE", 5));
    sleep(outage);
    let status = daemon.status();
    let (away, other) =
        (count(&sink(&status, "influxdb")["waiting"]), count(&sink(&status, "sqlite")["waiting"]));
    println!(
        "after {outage:?} at {RATE} a second: {away} wait for the store that is away, {other} for the other"
    );
    // It stores what comes, behind by no more than it takes to store it.
    assert!(other < 5 * RATE, "the other store is held up: {status:#}");

    store.set(Fault::None);
    let back = Instant::now();
    let waiting = |status: &Value| count(&sink(status, "influxdb")["waiting"]);
    let mut left = away;
    while left >= RATE {
        // Some always wait, for their batch or for an answer.
        let is_less = |now: u64| now < RATE || now + RATE <= left;
        left = waiting(&daemon.until("less behind", |status| is_less(waiting(status))));
    }
    let behind = back.elapsed();
    println!("caught up {away} records in {behind:?}, with {RATE} a second still coming");
    target.stop();
    let sent = client.join().unwrap();
    let status = daemon.until("all stored", |status| {
        ["influxdb", "sqlite"].iter().all(|name| count(&sink(status, name)["delivered"]) == sent)
    });
    for name in ["influxdb", "sqlite"] {
        let sink = sink(&status, name);
        assert_eq!((count(&sink["dropped"]), count(&sink["rejected"])), (0, 0), "{sink:#}");
        assert_eq!(sink["counters"]["miscounts"], 0);
    }
    assert_eq!(store.points(), sent);
    let peak = daemon.peak_memory();
    println!("{sent} reports; the daemon held {} MiB at most", peak >> 20);
    assert!(peak < MEMORY_LIMIT);
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("count(*)"), [sent.to_string()]);
}
