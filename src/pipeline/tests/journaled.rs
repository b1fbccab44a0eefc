//! The pipeline with a journal on disk, in real time: what is acknowledged, what is read again, and what a restart finds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;

use super::super::drain::Place;
use super::super::stream::Stream;
use super::*;
use crate::journal::{self, Folder, Journal, OnFull};
use crate::source::Lines;
use disk::{Disk, Gate, Trap, Unreadable};

mod carried;
mod disk;
mod failing;
mod full;
#[cfg(feature = "queue")]
mod known;
mod reading;
mod start;

/// A rig with a journal; a folder outlives it.
struct Kept {
    rig: Rig,
    fails: Arc<AtomicBool>,
    free: Arc<AtomicU64>,
    gate: Arc<Gate>,
    unreadable: Arc<Mutex<Unreadable>>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Kept {
    fn start(folder: &TempDir, store: &Arc<Store>, config: Config, journal: journal::Config) -> Kept {
        Kept::start_among(folder, store, config, journal, &["store"])
    }

    /// The journal has other sinks too, which never take anything.
    fn start_among(
        folder: &TempDir,
        store: &Arc<Store>,
        config: Config,
        journal: journal::Config,
        sinks: &[&str],
    ) -> Kept {
        Kept::start_on(Arc::default(), folder, store, config, journal, sinks)
    }

    /// The disk fails already.
    fn start_failing(folder: &TempDir, store: &Arc<Store>, config: Config, journal: journal::Config) -> Kept {
        Kept::start_on(Arc::new(AtomicBool::new(true)), folder, store, config, journal, &["store"])
    }

    fn start_on(
        fails: Arc<AtomicBool>,
        folder: &TempDir,
        store: &Arc<Store>,
        config: Config,
        journal: journal::Config,
        sinks: &[&str],
    ) -> Kept {
        let room = Arc::new(Notify::new());
        let free = Arc::new(AtomicU64::new(1 << 40));
        let (gate, unreadable, trap) = (Arc::default(), Arc::default(), Arc::default());
        let path = folder.path().to_owned();
        let disk = {
            let (fails, free, gate) = (Arc::clone(&fails), Arc::clone(&free), Arc::clone(&gate));
            let (unreadable, trap) = (Arc::clone(&unreadable), Arc::clone(&trap));
            move || {
                Ok(Disk {
                    folder: Folder::open(&path)?,
                    fails: Arc::clone(&fails),
                    free: Arc::clone(&free),
                    gate: Arc::clone(&gate),
                    unreadable: Arc::clone(&unreadable),
                    trap: Arc::clone(&trap),
                })
            }
        };
        let names: Vec<Arc<str>> = sinks.iter().map(|name| (*name).into()).collect();
        let begun = Journal::open(&journal, disk, &names, &["test".into()], Arc::clone(&room)).unwrap();
        let own = Arc::clone(&begun.journal);
        let ring = Ring::new(config.ring_bytes.bytes() as usize, config.batch_size(), Arc::clone(&room));
        let lane = Arc::new(Lane::new("store", "test", ring, config.when_full));
        let dispatch = Dispatch::new(vec![Arc::clone(&lane)], room).with_journal(Arc::clone(&own));
        let dispatch = Arc::new(dispatch);
        let ingest = Ingest::new(Arc::clone(&dispatch), Limits::default(), Duration::from_secs(30));
        let (stop, deadline) = watch::channel(None);
        let letters = Arc::new(Letters::default());
        let sink = Arc::new(Handle(Arc::clone(store)));
        let drain = Drain::new(Arc::clone(&lane), sink, config, Arc::clone(&letters) as _)
            .with_journal(Some(Place { journal: own, dispatch: Arc::clone(&dispatch), number: 0 }));
        let drain = tokio::spawn(drain.run(deadline));
        begun.start(dispatch).unwrap();
        Kept { rig: Rig { ingest, lane, letters, stop, drain }, fails, free, gate, unreadable, trap }
    }

    fn journal(&self) -> Arc<journal::Journal> {
        Arc::clone(self.rig.ingest.dispatch.journal().unwrap())
    }

    /// A connection to it.
    fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.rig.ingest), origin(), None)
    }

    /// Sends a chunk for each of `range`, a record each.
    fn send(&self, range: std::ops::Range<usize>) {
        for number in range {
            self.rig.send(&format!("n{number:06}:1|c"));
        }
    }

    fn terms(&self) -> ledger::Terms {
        self.rig.lane.ledger.terms()
    }

    /// Waits until the terms are as they should be.
    async fn until(&self, what: impl Fn(&ledger::Terms) -> bool) {
        let waiting = async {
            while !what(&self.terms()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(patience.is_ok(), "{:?}", self.terms());
    }

    /// Stops it at once, whatever the store does.
    async fn end(self) -> drain::Rest {
        let journal = self.journal();
        self.rig.ingest.dispatch.close();
        self.rig.stop.send(Some(Instant::now())).unwrap();
        let rest = self.rig.drain.await.unwrap();
        tokio::task::spawn_blocking(move || journal.end()).await.unwrap();
        assert!(self.rig.lane.ledger.terms().balance());
        rest
    }

    /// Dies without a word to the journal: the cursors and what is known stay as they were stored last.
    async fn die(self) {
        self.rig.drain.abort();
        let _aborted = self.rig.drain.await;
        // The thread of the journal ends with what it holds, and finds no file any more.
        let journal = Arc::clone(self.rig.ingest.dispatch.journal().unwrap());
        self.fails.store(true, Ordering::Release);
        tokio::task::spawn_blocking(move || journal.end()).await.unwrap();
    }
}

fn quick() -> Config {
    Config {
        flush_interval: unit::Duration::from_millis(1),
        retry_first: unit::Duration::from_millis(1),
        retry_ceiling: unit::Duration::from_millis(2),
        ..Config::default()
    }
}

/// Its ring and its backlog have room for a handful.
fn tight() -> Config {
    Config {
        ring_bytes: unit::Size::from_bytes(2000),
        backlog_bytes: unit::Size::from_bytes(2000),
        ..quick()
    }
}

fn journal() -> journal::Config {
    journal::Config {
        sync: journal::Sync::Interval(Duration::from_millis(5)),
        min_free: unit::Size::from_bytes(0),
        ..journal::Config::default()
    }
}

/// From now on the store takes nothing, for longer than any test.
fn away_for_long(store: &Store) {
    store.script.lock().unwrap().extend(vec![Step::Away; 1_000_000]);
}

/// From now on it takes all.
fn works(store: &Store) {
    store.script.lock().unwrap().clear();
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "never {what}");
}

/// Waits until it has noticed that the disk fails.
async fn away(journal: &journal::Journal) {
    until("noticed", || !journal.is_working()).await;
}

/// Waits until it is on disk again.
async fn back(journal: &journal::Journal) {
    until("working again", || journal.is_working()).await;
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("n{number:06}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_disk_is_acknowledged_though_the_store_is_away_and_a_restart_delivers_it() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    away_for_long(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut stream = kept.stream();
    stream.lines(b"a:1|c\nb:1|c\nnonsense\n");
    stream.flush().await;
    let synced = stream.sync().await;
    assert_eq!((synced.accepted, synced.rejected, synced.error), (2, 1, None));
    drop(stream);
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 2 });
    assert_eq!(store.values(), [""; 0]);

    works(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    assert_eq!(kept.terms().accepted, 2);
    kept.until(|terms| terms.delivered == 2).await;
    assert_eq!(store.values(), ["a", "b"]);
    assert_eq!(kept.end().await, drain::Rest::default());

    let kept = Kept::start(&folder, &store, quick(), journal());
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered, terms.waiting), (2, 2, 0));
    assert_eq!(kept.end().await, drain::Rest::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_the_ring_is_read_from_the_journal_in_order_and_once() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Hang]);
    let config = Config { batch_max_records: 7.try_into().unwrap(), ..tight() };
    let kept = Kept::start(&folder, &store, config, journal());
    kept.send(0..500);
    assert_eq!(kept.terms().dropped.iter().sum::<u64>(), 0);
    store.go.notify_one();
    // More comes while it catches up, and some finds room in the ring again, and some does not.
    for start in (500..3000).step_by(50) {
        kept.send(start..start + 50);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kept.until(|terms| terms.delivered == 3000).await;
    assert_eq!(store.values(), names(0..3000));
    // In the order of their coming: the ids of ours ascend with the chunks.
    let order = store.order.lock().unwrap().clone();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.len(), 3000);
    assert_eq!(kept.end().await, drain::Rest::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_it_all_delivers_each_record_once() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let mut sent = 0;
    for round in 0..6 {
        store.script.lock().unwrap().extend(vec![Step::Each; 20]);
        let kept = Kept::start(&folder, &store, tight(), journal());
        for _ in 0..10 {
            kept.send(sent..sent + 40);
            sent += 40;
            // Some are refused for good, and some for the moment.
            kept.rig.send(&format!("r{round}:1|c\nw{round}:1|c"));
            tokio::time::sleep(Duration::from_millis(round)).await;
        }
        kept.end().await;
    }
    works(&store);
    let kept = Kept::start(&folder, &store, tight(), journal());
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!(terms.accepted, sent as u64 + 6 * 10 * 2, "{terms:?}");
    assert_eq!(terms.dropped.iter().sum::<u64>(), 0, "{terms:?}");
    let stored: Vec<_> = store.values().into_iter().filter(|name| name.starts_with('n')).collect();
    assert_eq!(stored, names(0..sent));
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_refused_for_the_moment_holds_no_segment() {
    stuck(quick()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_while_the_sink_reads_from_the_journal() {
    stuck(tight()).await;
}

/// One record stays refused, while far more is stored than the journal has room for.
async fn stuck(config: Config) {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Stuck]);
    let settings = journal::Config {
        segment_size: unit::Size::from_kib(16),
        max_size: unit::Size::from_mib(1),
        ..journal()
    };
    let kept = Kept::start(&folder, &store, config.clone(), settings.clone());
    kept.rig.send("w:5|c|T1600000000|#a:b");
    let before = kept.terms().accepted;
    let mut sent = 0;
    // Far more than `max_size`.
    while sent < 30_000 {
        let lines: Vec<_> = (sent..sent + 100).map(|number| format!("n{number:06}:1|c")).collect();
        kept.rig.send(&lines.join("\n"));
        sent += 100;
        kept.until(|terms| terms.delivered + 2000 > sent as u64).await;
    }
    kept.until(|terms| terms.delivered == sent as u64).await;
    let journal = kept.journal();
    // Cursors are stored about once a second; then the old segments go.
    let small = async {
        while journal.counters().carried.get() == 0 || journal.view().closed.len() > 4 {
            kept.send(0..1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), small).await.expect("segments are deleted");
    let terms = kept.terms();
    assert_eq!((terms.dropped.iter().sum::<u64>(), terms.waiting), (0, 1), "{terms:?}");
    drop(journal);
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 1 });

    let id = store.ids_of("w");
    works(&store);
    let kept = Kept::start(&folder, &store, config.clone(), settings);
    kept.until(|terms| terms.waiting == 0).await;
    assert_eq!(kept.terms().accepted, before + terms.delivered);
    assert_eq!(store.ids_of("w").len(), 1, "{id:?}");
    kept.end().await;
}
