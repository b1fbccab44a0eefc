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
    // All that the journal has taken is for every sink. Their terms are read one after the other, so that the last datagrams
    // may be in some of them only, for a moment.
    let status = daemon.until("nothing waits, and every sink has accepted the same", |status| {
        let sinks = status["sinks"].as_array().unwrap();
        let accepted = &sinks[0]["accepted"];
        sinks.iter().all(|sink| count(&sink["waiting"]) == 0 && sink["accepted"] == *accepted)
    });
    let (said, ended) = daemon.end();
    // It counts what waits in another way too, each second and at its end.
    assert!(!said.contains("do not add up"), "{said}");
    let mut found = vec![("sqlite", ended.rows("name"))];
    found.extend(stores.names());
    assert_eq!(found.len(), sinks);
    let sent: u64 = known.iter().map(|(known, _)| known.sent.len() as u64).sum();
    let again: u64 = known.iter().map(|(known, _)| known.again).sum();
    let acknowledged: u64 = known.iter().map(|(known, _)| known.acknowledged.len() as u64).sum();
    for (store, names) in found {
        let sink = crate::process::sink(&status, store);
        assert_eq!((count(&sink["dropped"]), count(&sink["rejected"])), (0, 0), "{store}: {sink:#}");
        assert_eq!(sink["counters"]["miscounts"], 0);
        let (delivered, stored) = (count(&sink["delivered"]), names.len() as u64);
        assert_eq!(count(&sink["accepted"]), delivered, "{store}: {sink:#}");
        // What was acknowledged is counted, and nothing that was not sent is.
        assert!((acknowledged..=sent + again).contains(&delivered), "{store}: {sink:#}");
        // What is counted is stored; what came once more is counted each time, and stored once. A store may have more than
        // is counted: what it was given before it was on disk, and a kill took from the journal.
        assert!(stored + again >= delivered, "{store} has {stored}, and {again} came again: {sink:#}");
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
        assert!(times.keys().all(|name| known.iter().any(|(known, _)| known.sent.contains(*name))));
        println!(
            "{store}: {rounds} kills, {sent} reports sent, {again} of them sent again, {acknowledged} acknowledged, {delivered} \
             counted as delivered, {stored} stored, each once"
        );
    }
}
