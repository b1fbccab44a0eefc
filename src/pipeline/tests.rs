//! The drain side against a store that does as it is told. The clock is tokio's paused one, and every step recounts.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::datagram::Datagram;
use super::drain::{Config, Drain};
use super::letter::{DeadLetter, Letter};
use super::ring::Ring;
use super::*;
use crate::protocol::Limits;
use crate::record::{Batch, Dialect, Identity, Origin, Received};
use crate::sink::{Answer, Outcome, Rejection, Sink, Verdict};
use crate::source::Datagrams;
use crate::unit;

mod burial;
mod journaled;
#[cfg(feature = "queue")]
mod queue;
mod replay;
mod room;
mod trouble;

/// A store in memory.
#[derive(Default)]
struct Store {
    /// What the next calls do; then everything is delivered.
    script: Mutex<VecDeque<Step>>,
    /// Values by id. Our ids are ignored when they are there, a client's replace.
    rows: Mutex<BTreeMap<String, String>>,
    /// The ids of ours in the order in which they were stored first.
    order: Mutex<Vec<String>>,
    /// Sizes of the batches it was given.
    batches: Mutex<Vec<usize>>,
    /// What it says of each record that it refuses by itself, and which one that is.
    detail: Mutex<String>,
    /// Lets a call that hangs go on.
    go: Notify,
}

#[derive(Debug, Clone)]
enum Step {
    /// Everything is stored.
    Deliver,
    /// Nothing is stored: try again.
    Away,
    /// Everything is stored, and the answer is lost.
    Forget,
    /// Records whose value is in the set are rejected; while there is one, the batch is refused as a whole.
    Refuse,
    /// One verdict each: values that begin with `r` are rejected, those with `w` wait once.
    Each,
    /// As `Each`, from now on; but a batch of those that wait is refused as a whole.
    Stuck,
    /// Nothing until told.
    Hang,
    /// It takes so many records before the time of an attempt is over, from now on; of more none.
    Slow(usize),
    Panic,
}

impl Store {
    fn with(script: impl IntoIterator<Item = Step>) -> Arc<Self> {
        let store = Store::default();
        store.script.lock().unwrap().extend(script);
        Arc::new(store)
    }

    fn put(&self, received: &Received<'_>) {
        let value = text(received);
        let mut rows = self.rows.lock().unwrap();
        match received.identity {
            Identity::Client(id) => rows.insert(id.decode().into_owned(), value),
            Identity::Own(id) => {
                let id = id.to_string();
                if !rows.contains_key(&id) {
                    self.order.lock().unwrap().push(id.clone());
                }
                Some(rows.entry(id).or_insert(value).clone())
            }
        };
    }

    /// What is to be done next; what is from now on stays so.
    fn step(&self) -> Step {
        let mut script = self.script.lock().unwrap();
        let step = script.pop_front().unwrap_or(Step::Deliver);
        if let Step::Refuse | Step::Stuck | Step::Slow(_) = step {
            script.push_front(step.clone());
        }
        step
    }

    /// The ids under which `value` is stored.
    fn ids_of(&self, value: &str) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.iter().filter(|(_, stored)| *stored == value).map(|(id, _)| id.clone()).collect()
    }

    fn values(&self) -> Vec<String> {
        let mut values: Vec<_> = self.rows.lock().unwrap().values().cloned().collect();
        values.sort();
        values
    }
}

fn text(received: &Received<'_>) -> String {
    received.record.name.decode().into_owned()
}

fn no(reason: &'static str) -> Rejection {
    Rejection { reason, detail: String::new() }
}

/// `Arc<Store>` cannot be a sink by itself.
struct Handle(Arc<Store>);

impl Sink for Handle {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let store = &self.0;
            store.batches.lock().unwrap().push(batch.len());
            let store_all = || batch.records().for_each(|record| store.put(&record));
            match store.step() {
                Step::Deliver => {
                    store_all();
                    Outcome::Delivered
                }
                Step::Away => Outcome::Retry("away".into()),
                Step::Forget => {
                    store_all();
                    Outcome::Retry("no answer".into())
                }
                Step::Panic => panic!("as told"),
                Step::Hang => {
                    store.go.notified().await;
                    store_all();
                    Outcome::Delivered
                }
                Step::Slow(most) => {
                    if batch.len() > most {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        return Outcome::Retry("no answer".into());
                    }
                    store_all();
                    Outcome::Delivered
                }
                Step::Refuse => {
                    if batch.records().any(|record| text(&record).starts_with('r')) {
                        return Outcome::Refused(no("bad"));
                    }
                    store_all();
                    Outcome::Delivered
                }
                Step::Stuck if batch.records().all(|record| text(&record).starts_with('w')) => {
                    Outcome::Retry("stuck".into())
                }
                Step::Each | Step::Stuck => Outcome::Each(
                    batch
                        .records()
                        .map(|record| match text(&record).as_bytes()[0] {
                            b'r' if !store.detail.lock().unwrap().is_empty() => {
                                let mut detail = format!("{:012}", record.position);
                                detail.push_str(&store.detail.lock().unwrap()[12..]);
                                Verdict::Rejected(Rejection { detail, ..no("bad") })
                            }
                            b'r' => Verdict::Rejected(no("bad")),
                            b'w' => Verdict::Retry("wait".into()),
                            _ => {
                                store.put(&record);
                                Verdict::Delivered
                            }
                        })
                        .collect(),
                ),
            }
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

#[derive(Default)]
struct Letters(Mutex<Vec<String>>);

impl DeadLetter for Letters {
    fn bury(&self, _sink: &str, letters: Arc<[Letter]>) -> Answer<'_, ()> {
        let names = letters.iter().map(|letter| text(&letter.chunk.received(letter.index)));
        self.0.lock().unwrap().extend(names);
        Box::pin(async {})
    }
}

/// A dispatch with one lane and its drain running.
struct Rig {
    ingest: Arc<Ingest>,
    lane: Arc<Lane>,
    letters: Arc<Letters>,
    stop: watch::Sender<Option<Instant>>,
    drain: JoinHandle<drain::Rest>,
}

fn origin() -> Origin {
    Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "box".into() }
}

impl Rig {
    fn new(store: &Arc<Store>, config: Config) -> Rig {
        let letters = Arc::new(Letters::default());
        let rig = Rig::with(store, config, Arc::clone(&letters) as _);
        Rig { letters, ..rig }
    }

    fn with(store: &Arc<Store>, config: Config, keeper: Arc<dyn DeadLetter>) -> Rig {
        let room = Arc::new(Notify::new());
        let ring = Ring::new(config.ring_bytes.bytes() as usize, config.batch_size(), Arc::clone(&room));
        let lane = Arc::new(Lane::new("store", "test", ring, config.when_full));
        let dispatch = Dispatch::new(vec![Arc::clone(&lane)], room);
        let ingest = Ingest::new(dispatch, Limits::default(), Duration::from_secs(10));
        let (stop, deadline) = watch::channel(None);
        let sink = Arc::new(Handle(Arc::clone(store)));
        let drain = Drain::new(Arc::clone(&lane), sink, config, keeper);
        Rig { ingest, lane, letters: Arc::default(), stop, drain: tokio::spawn(drain.run(deadline)) }
    }

    fn datagrams(&self) -> Datagram {
        Datagram::new(Arc::clone(&self.ingest), origin())
    }

    fn send(&self, lines: &str) {
        let mut intake = self.datagrams();
        intake.begin_read(lines.len());
        intake.datagram(lines.as_bytes(), false, None);
        intake.flush();
    }

    /// As a stream does it.
    async fn submit(&self, lines: &str, receipt: &Receipt) {
        let mut intake = ingest::Intake::new(Arc::clone(&self.ingest), origin());
        intake.begin_read(lines.len() + 1);
        intake.take(lines.as_bytes(), |_| {});
        self.ingest.dispatch.submit(intake.close().into_iter().collect(), receipt).await;
    }

    /// Stops and waits for the end. Returns how many records were left.
    async fn end(self, within: Duration) -> usize {
        self.ingest.dispatch.close();
        self.stop.send(Some(Instant::now() + within)).unwrap();
        let left = self.drain.await.unwrap().dropped;
        assert!(self.lane.ledger.terms().balance());
        assert_eq!(self.lane.ledger.terms().waiting, 0);
        left
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_the_flush_interval_and_no_longer() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c");
    tokio::time::sleep(Duration::from_millis(990)).await;
    assert_eq!(store.values(), [""; 0]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.values(), ["a"]);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config { batch_max_records: 3.try_into().unwrap(), ..Config::default() });
    rig.send("a:1:2:3:4|c");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(*store.batches.lock().unwrap(), [3]);
    assert_eq!(rig.lane.ledger.terms().waiting, 1);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
    assert_eq!(*store.batches.lock().unwrap(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_limited_in_bytes_and_never_stuck_on_a_long_record() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config { batch_max_bytes: unit::Size::from_bytes(10), ..Config::default() });
    rig.send("a:1|c\nb:1|c\nccccccccccccccccccccccc:1|c\nd:1|c");
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
    assert_eq!(store.values().len(), 4);
    assert!(store.batches.lock().unwrap().len() > 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_five_minutes_at_100_datagrams_a_second_loses_nothing() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(300) {
        store.script.lock().unwrap().push_front(Step::Away);
        rig.send(&format!("api.requests.count:{sent}|c|#service:checkout,zone:eu-1"));
        sent += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let terms = rig.lane.ledger.terms();
    assert_eq!((terms.accepted, terms.delivered, terms.waiting), (sent, 0, sent));
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Retrying);
    store.script.lock().unwrap().clear();
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(store.rows.lock().unwrap().len() as u64, sent);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_row() {
    let store = Store::with([Step::Forget, Step::Forget]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c\nb:1|c");
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(store.values(), ["a", "b"]);
    assert_eq!(store.batches.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_split_until_only_the_bad_record_is_rejected() {
    let store = Store::with([Step::Refuse]);
    let rig = Rig::new(&store, Config::default());
    let (lane, letters) = (Arc::clone(&rig.lane), Arc::clone(&rig.letters));
    rig.send("a:1|c\nb:1|c\nr1:1|c\nc:1|c\nd:1|c\nr2:1|c\ne:1|c");
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(store.values(), ["a", "b", "c", "d", "e"]);
    assert_eq!(*letters.0.lock().unwrap(), ["r1", "r2"]);
    assert_eq!(lane.ledger.terms().rejected["bad"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_alone_holds_up_nobody() {
    let store = Store::with([Step::Each, Step::Each]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c\nw:1|c\nr:1|c");
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(store.values(), ["a"]);
    rig.send("b:1|c");
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert!(store.values().contains(&"b".to_owned()));
    let lane = Arc::clone(&rig.lane);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    let terms = lane.ledger.terms();
    assert_eq!((terms.delivered, terms.rejected["bad"]), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_loses_only_the_record_it_panics_on() {
    let store = Store::with([Step::Panic, Step::Deliver, Step::Panic]);
    let rig = Rig::new(&store, Config::default());
    let lane = Arc::clone(&rig.lane);
    rig.send("a:1|c\nb:1|c");
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(store.values(), ["a"]);
    assert_eq!(lane.ledger.terms().rejected["panic"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_dropped_and_counted() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    let lane = Arc::clone(&rig.lane);
    rig.send("a:1|c\nb:1|c");
    let start = Instant::now();
    assert_eq!(rig.end(Duration::from_secs(8)).await, 2);
    assert_eq!(start.elapsed().as_secs(), 8);
    assert_eq!(lane.ledger.terms().dropped[ledger::Drop::Shutdown as usize], 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_records_with_one_id_stays() {
    // The first is on its way when the others come, and its answer is lost: sent again it must not overwrite them.
    let store = Store::with([Step::Hang, Step::Forget, Step::Deliver]);
    let rig = Rig::new(&store, Config { concurrency: 4.try_into().unwrap(), ..Config::default() });
    rig.send("first:1|c|i:x");
    tokio::time::sleep(Duration::from_millis(1001)).await;
    rig.send("second:1|c|i:x\nother:1|c\nthird:1|c|i:x");
    rig.send("fourth:1|c|i:x");
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(store.values(), ["other"]);
    store.go.notify_one();
    let lane = Arc::clone(&rig.lane);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    let values: HashSet<_> = store.values().into_iter().collect();
    assert_eq!(values, HashSet::from(["other".to_owned(), "fourth".to_owned()]));
    assert_eq!(lane.ledger.terms().delivered, 5);
}

#[tokio::test(start_paused = true)]
async fn of_several_records_with_one_id_in_a_batch_only_the_last_is_sent() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c|i:x\nb:1|c\nc:1|c|i:x");
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(*store.batches.lock().unwrap(), [2]);
    assert_eq!(store.values().len(), 2);
    assert!(store.values().contains(&"c".to_owned()));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Deliver),
        2 => Just(Step::Away),
        2 => Just(Step::Forget),
        2 => Just(Step::Each),
        1 => Just(Step::Panic),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![6 => "[a-q]", 1 => "r", 1 => "w"];
    let id = prop_oneof![3 => Just(String::new()), 1 => "[xyz]".prop_map(|id| format!("|i:{id}"))];
    (name, 0..1000u32, id).prop_map(|(name, value, id)| format!("{name}{value}:{value}|c{id}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the store does, every record is decided once, and the last to arrive under an id is what stays.
    #[test]
    fn every_record_is_accounted_for(
        script in prop::collection::vec(step(), 0..12),
        chunks in prop::collection::vec(prop::collection::vec(line(), 1..8), 1..12),
        batch_max_records in 1usize..10,
        concurrency in 1usize..4,
        pause in 0u64..1500,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let store = Store::with(script);
            let concurrency = concurrency.try_into().unwrap();
            let batch_max_records = batch_max_records.try_into().unwrap();
            let rig = Rig::new(&store, Config { batch_max_records, concurrency, ..Config::default() });
            let (lane, letters) = (Arc::clone(&rig.lane), Arc::clone(&rig.letters));
            let mut last = BTreeMap::new();
            for chunk in &chunks {
                rig.send(&chunk.join("\n"));
                for line in chunk {
                    if let Some((name, id)) = line.split_once("|i:") {
                        last.insert(id.to_owned(), name.split(':').next().unwrap().to_owned());
                    }
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            prop_assert_eq!(rig.end(Duration::from_secs(3600)).await, 0);
            let terms = lane.ledger.terms();
            let sent: usize = chunks.iter().map(Vec::len).sum();
            prop_assert_eq!(terms.accepted, sent as u64);
            let rejected: u64 = terms.rejected.values().sum();
            prop_assert_eq!(terms.delivered + rejected, sent as u64);
            prop_assert_eq!(letters.0.lock().unwrap().len() as u64, rejected);
            // An id whose last record was rejected keeps an earlier one; else the last one is there.
            let buried = letters.0.lock().unwrap().clone();
            let rows = store.rows.lock().unwrap().clone();
            for (id, name) in last {
                prop_assert!(rows.get(&id) == Some(&name) || buried.contains(&name));
            }
            Ok(())
        })?;
    }
}
