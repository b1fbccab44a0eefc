//! The journal is full, or what is in it too old.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_stops_streams_drops_datagrams_and_goes_on_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Hang]);
    let settings = journal::Config { max_size: unit::Size::from_mib(1), ..journal() };
    let kept = Kept::start(&folder, &store, tight(), settings);
    let big = format!("x:{}|e", "y".repeat(8000));
    let mut stream = kept.stream();
    let mut lines = 0;
    let flush = loop {
        stream.lines(format!("{big}\n").as_bytes());
        lines += 1;
        let mut flush = Box::pin(stream.flush());
        if tokio::time::timeout(Duration::from_secs(2), flush.as_mut()).await.is_err() {
            break flush;
        }
        drop(flush);
        // A disk that is slow lets 8 MiB wait in memory before.
        assert!(lines < 5000, "nothing holds it back");
    };
    // It may have been held up by the disk before.
    until("full", || kept.journal().view().room == journal::Room::Full).await;
    let before = kept.terms();
    assert_eq!(before.dropped, [0; 6], "{before:?}");
    kept.rig.send("lost:1|c");
    assert_eq!(kept.terms().dropped[ledger::Drop::JournalFull as usize], 1);
    store.go.notify_one();
    tokio::time::timeout(Duration::from_secs(30), flush).await.expect("there is room again");
    kept.until(|terms| terms.delivered == lines).await;
    assert_eq!(kept.end().await, drain::Rest::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_when_told_so_and_are_counted() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Hang]);
    let settings =
        journal::Config { max_size: unit::Size::from_mib(1), on_full: OnFull::DropOldest, ..journal() };
    let kept = Kept::start(&folder, &store, tight(), settings.clone());
    let big = format!("x:{}|e", "y".repeat(8000));
    for number in 0..400 {
        kept.rig.send(&format!("{number}{big}"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    kept.until(|terms| terms.dropped[ledger::Drop::JournalFull as usize] > 200).await;
    store.go.notify_one();
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.dropped[ledger::Drop::JournalLost as usize]), (400, 0), "{terms:?}");
    assert_eq!(store.values().len() as u64, terms.delivered);
    assert!(kept.journal().counters().removed_segments.get() > 0);
    kept.end().await;
}

/// What a sink has in memory only, since its segment went, is not taken for what is on disk: neither by a stop, which drops it,
/// nor by the start behind a crash, which finds it gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_before_a_sink_had_it_is_counted_over_a_stop_and_a_crash() {
    let big = format!("x:{}|e", "y".repeat(8000));
    let half =
        Config { ring_bytes: unit::Size::from_mib(1), backlog_bytes: unit::Size::from_mib(1), ..quick() };
    for (config, is_crash) in [(quick(), false), (quick(), true), (half.clone(), false), (half, true)] {
        let folder = TempDir::new().unwrap();
        let store = Store::with([]);
        away_for_long(&store);
        let settings =
            journal::Config { max_size: unit::Size::from_mib(1), on_full: OnFull::DropOldest, ..journal() };
        let kept = Kept::start(&folder, &store, config.clone(), settings.clone());
        for number in 0..400 {
            kept.rig.send(&format!("{number}{big}"));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let journal = kept.journal();
        until("written", || journal.view().durable >= 400).await;
        let terms = kept.terms();
        assert_eq!((terms.accepted, terms.delivered), (400, 0), "{terms:?}");
        let on_disk: u64 = 1 << 20;
        let left = if is_crash {
            drop(journal);
            kept.die().await;
            None
        } else {
            drop(journal);
            let rest = kept.end().await;
            assert!((rest.kept * 8000) as u64 <= on_disk && rest.dropped > 0, "{rest:?}");
            Some(rest)
        };

        let store = Store::with([]);
        let kept = Kept::start(&folder, &store, config, settings);
        // Some of it may be delivered already.
        let found = kept.terms();
        let waited = found.waiting + found.delivered;
        assert!(left.is_none_or(|left| left.kept as u64 == waited), "{found:?}");
        kept.until(|terms| terms.waiting == 0).await;
        let terms = kept.terms();
        assert_eq!(terms.accepted, 400, "{is_crash} {found:?} {terms:?}");
        assert!(terms.balance() && terms.delivered == waited, "{terms:?}");
        assert_eq!(store.values().len() as u64, terms.delivered);
        kept.end().await;
    }
}

/// What came while the disk hung is written at one go, and there is less room than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_segment_that_fills_the_journal_goes_too() {
    for on_full in [OnFull::Stop, OnFull::DropOldest] {
        let folder = TempDir::new().unwrap();
        let store = Store::with([]);
        let settings = journal::Config { max_size: unit::Size::from_mib(1), on_full, ..journal() };
        let kept = Kept::start(&folder, &store, quick(), settings);
        kept.gate.close(true);
        kept.send(0..1);
        until("hanging", || kept.gate.is_reached()).await;
        for number in 1..200 {
            kept.rig.send(&format!("{number}:{}|e", "y".repeat(8000)));
        }
        kept.gate.close(false);
        kept.until(|terms| terms.waiting == 0).await;
        let journal = kept.journal();
        until("written", || journal.view().durable >= 200).await;
        until("room again", || journal.view().size < 1 << 20 && journal.view().room == journal::Room::Yes)
            .await;
        kept.send(0..1);
        kept.until(|terms| terms.accepted == 201 && terms.waiting == 0).await;
        let terms = kept.terms();
        assert_eq!(terms.delivered + terms.dropped[ledger::Drop::JournalFull as usize], 201, "{terms:?}");
        if on_full == OnFull::Stop {
            assert_eq!((terms.delivered, journal.counters().removed_segments.get()), (201, 0), "{terms:?}");
        }
        drop(journal);
        kept.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_goes_undelivered_and_is_counted() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Hang]);
    let settings = journal::Config {
        max_age: unit::Duration::from_secs(1),
        segment_size: unit::Size::from_kib(64),
        ..journal()
    };
    let kept = Kept::start(&folder, &store, tight(), settings);
    // Far more than is read at once.
    for number in 0..100 {
        kept.rig.send(&format!("{number}:{}|e", "y".repeat(8000)));
    }
    // All that is in no memory, the last ones too, though nothing comes behind them.
    let in_memory = |terms: &ledger::Terms| terms.waiting - kept.rig.lane.feed().records();
    kept.until(|terms| terms.waiting == in_memory(terms)).await;
    let terms = kept.terms();
    let gone = terms.dropped[ledger::Drop::JournalAge as usize];
    assert!(gone > 50 && gone + terms.waiting == 100, "{terms:?}");
    store.go.notify_one();
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.dropped[ledger::Drop::JournalLost as usize]), (100, 0), "{terms:?}");
    assert_eq!(store.values().len() as u64, terms.delivered);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_not_configured_any_more_keeps_its_records_until_there_is_no_room() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let settings = journal::Config { max_size: unit::Size::from_mib(1), ..journal() };
    let kept = Kept::start_among(&folder, &store, quick(), settings.clone(), &["store", "gone"]);
    kept.send(0..10);
    kept.until(|terms| terms.delivered == 10).await;
    kept.end().await;

    let kept = Kept::start(&folder, &store, quick(), settings);
    let journal = kept.journal();
    let mut stream = kept.stream();
    let big = format!("x:{}|e\n", "y".repeat(8000));
    // More than there is room for: the other sink's records go, and nobody is held up for long.
    for _ in 0..300 {
        stream.lines(big.as_bytes());
        tokio::time::timeout(Duration::from_secs(30), stream.flush()).await.expect("it is not held up");
    }
    kept.until(|terms| terms.delivered == 310).await;
    // The store has all before the journal does.
    let counters = journal.counters();
    until("counted what the other sink lost", || {
        counters.removed_of_orphans.get() >= 10 && counters.removed_segments.get() > 0
    })
    .await;
    assert!(counters.removed_of_orphans.get() <= 310);
    drop((stream, journal));
    kept.end().await;
}
