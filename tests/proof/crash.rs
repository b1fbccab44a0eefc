//! `kill -9` at random moments: what was acknowledged is in every store, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::load::{Known, Target, Unacknowledged, tcp, udp};
use crate::process::{SQLITE, Start, count, source};
use crate::setting;
use crate::stores::Stores;

/// Milliseconds that a round lasts at most.
const ROUND: u64 = 900;

#[test]
fn what_was_acknowledged_is_in_every_store_once_whenever_the_daemon_is_killed() {
    let rounds = setting("KANEDA_PROOF_ROUNDS", 3);
    let stores = Stores::start("crash");
    let config = [&source("tcp"), &source("udp"), SQLITE, &stores.config()].concat();
    let target = Arc::new(Target::default());
    let clients = [
        (tcp(&target, "repeating", Unacknowledged::Repeat), true),
        (tcp(&target, "insisting", Unacknowledged::Repeat), true),
        (tcp(&target, "forgetting", Unacknowledged::Forget), false),
        (udp(&target, "datagram", Duration::from_millis(2)), false),
    ];
    let mut daemon = Start::with(&config).daemon();
    for round in 0..rounds {
        target.set(&daemon);
        // Any moment will do, and every run has others.
        let nanos =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        std::thread::sleep(Duration::from_millis(u64::from(nanos / 1000) % ROUND));
        daemon = Start::again(daemon.kill()).daemon();
        daemon.until_said("the daemon did not end in order");
        let torn = daemon.status()["journal"]["counters"]["torn_bytes"].clone();
        println!("round {}: a torn end of {torn} bytes", round + 1);
    }
    target.set(&daemon);
    std::thread::sleep(Duration::from_millis(200));
    target.stop();
    let known: Vec<(Known, bool)> =
        clients.into_iter().map(|(client, repeats)| (client.join().unwrap(), repeats)).collect();

    let sinks = 1 + stores.count();
    let status = daemon.until("nothing waits", |status| {
        let sinks = status["sinks"].as_array().unwrap();
        sinks.iter().all(|sink| count(&sink["waiting"]) == 0)
    });
    let (_, ended) = daemon.end();
    let mut found = vec![("sqlite", ended.rows("name"))];
    found.extend(stores.names());
    assert_eq!(found.len(), sinks);
    for sink in status["sinks"].as_array().unwrap() {
        println!("{}: {} accepted, {} delivered", sink["name"], sink["accepted"], sink["delivered"]);
    }
    for (store, names) in found {
        let sink = crate::process::sink(&status, store);
        assert_eq!((count(&sink["dropped"]), count(&sink["rejected"])), (0, 0), "{store}: {sink:#}");
        assert_eq!(sink["counters"]["miscounts"], 0);
        let mut times: HashMap<&str, usize> = HashMap::new();
        for name in &names {
            *times.entry(name).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{store} has {} twice: {:?}", twice.len(), &twice[..twice.len().min(5)]);
        for (known, repeats) in &known {
            let lost: Vec<_> =
                known.acknowledged.iter().filter(|name| !times.contains_key(name.as_str())).collect();
            let some = &lost[..lost.len().min(5)];
            assert!(
                lost.is_empty(),
                "{store} lost {} that were acknowledged: {some:?}.. {sink:#}",
                lost.len()
            );
            if *repeats {
                assert_eq!(known.sent.len(), known.acknowledged.len());
            }
        }
        let sent: usize = known.iter().map(|(known, _)| known.sent.len()).sum();
        let acknowledged: usize = known.iter().map(|(known, _)| known.acknowledged.len()).sum();
        assert!(times.keys().all(|name| known.iter().any(|(known, _)| known.sent.contains(*name))));
        // What was acknowledged was counted. A store may have more: what it was given before a sync, and a kill took from the journal.
        assert!(count(&sink["delivered"]) >= acknowledged as u64, "{acknowledged} acknowledged: {sink:#}");
        println!(
            "{store}: {rounds} kills, {sent} reports sent, {acknowledged} acknowledged, {} stored, each once",
            names.len()
        );
    }
}
