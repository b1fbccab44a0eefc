//! A steady load with a random fault every now and then: nothing is lost, and memory, files and disk stay as they are.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// What may happen between the daemon and its store.
const FAULTS: [Fault; 5] = [
    Fault::Away,
    Fault::HalfReply,
    Fault::Hang,
    Fault::LoseReply,
    Fault::Answer { to: "", status: 503, body: "overloaded" },
];

/// Faults in an order that the seed decides, without end: every kind comes up before one comes up again, so that a short
/// soak has all of them too.
struct Faults {
    random: u64,
    left: Vec<Fault>,
}

impl Faults {
    fn new(seed: u64) -> Faults {
        Faults { random: seed, left: Vec::new() }
    }

    fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

impl Iterator for Faults {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            self.left = FAULTS.to_vec();
        }
        let at = self.below(self.left.len());
        Some(self.left.swap_remove(at))
    }
}

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

    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = setting("KANEDA_PROOF_SEED", nanos.into());
    println!("KANEDA_PROOF_SEED={seed} gives these faults again");
    let end = Instant::now() + Duration::from_secs(setting("KANEDA_PROOF_SOAK", 5));
    for fault in Faults::new(seed) {
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

#[test]
fn every_kind_of_fault_comes_up_before_one_comes_up_again_in_an_order_that_the_seed_decides() {
    let orders: Vec<Vec<Fault>> = (0..20).map(|seed| Faults::new(seed).take(15).collect()).collect();
    for order in &orders {
        for kind in FAULTS {
            assert!(order.chunks(FAULTS.len()).all(|some| some.contains(&kind)), "{order:?}");
        }
    }
    assert_eq!(orders[7], Faults::new(7).take(15).collect::<Vec<_>>());
    assert!(orders.iter().any(|order| order[..5] != orders[0][..5]));
    assert!(orders.iter().any(|order| order[..5] != order[5..10]));
}
