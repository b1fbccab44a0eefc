//! The disk of the journal fails, or is short of room.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_fails_it_goes_on_in_memory_and_comes_back_by_itself() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let kept = Kept::start(&folder, &store, quick(), journal());
    let journal = kept.journal();
    let mut stream = kept.stream();
    let mut say = async |lines: &str| {
        stream.lines(lines.as_bytes());
        stream.flush().await;
        stream.sync().await
    };
    assert_eq!(say("a:1|c\n").await.error, None);
    kept.fails.store(true, Ordering::Release);
    // The sinks' verdict is the answer, also of the chunk whose sync failed.
    assert_eq!(say("b:1|c\n").await.error, None);
    assert_eq!(say("c:1|c\n").await.error, None);
    away(&journal).await;
    assert!(journal.view().last_error.unwrap().contains("Input/output error"));
    assert_eq!(store.values(), ["a", "b", "c"]);
    kept.fails.store(false, Ordering::Release);
    back(&journal).await;
    away_for_long(&store);
    assert_eq!(say("d:1|c\n").await.error, None);
    drop((stream, journal));
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 1 });

    works(&store);
    let kept = Kept::start(&folder, &store, quick(), self::journal());
    kept.until(|terms| terms.waiting == 0).await;
    assert_eq!(store.values(), ["a", "b", "c", "d"]);
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (4, 4), "{terms:?}");
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_the_disk_failed_is_dropped_at_the_end_and_counted() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    away_for_long(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    kept.send(0..3);
    let journal = kept.journal();
    until("durable", || journal.view().durable >= 3).await;
    kept.fails.store(true, Ordering::Release);
    kept.send(3..4);
    away(&journal).await;
    kept.send(4..5);
    assert_eq!(kept.end().await, drain::Rest { dropped: 2, kept: 3 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_and_not_synced_counts_as_in_memory_only() {
    let folder = TempDir::new().unwrap();
    let kept = Kept::start(&folder, &Store::with([]), quick(), journal());
    *kept.trap.lock().unwrap() = Some(Trap { text: "n000000", fails_write: false });
    kept.send(0..1);
    away(&kept.journal()).await;
    assert_eq!(kept.journal().counters().not_written.get(), 1);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_little_free_on_the_disk_it_goes_on_in_memory() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let settings = journal::Config { min_free: unit::Size::from_mib(1), ..journal() };
    let kept = Kept::start(&folder, &store, quick(), settings);
    kept.free.store(1000, Ordering::Release);
    kept.send(0..1);
    away(&kept.journal()).await;
    assert!(kept.journal().view().last_error.unwrap().contains("min_free"));
    kept.send(1..2);
    kept.until(|terms| terms.delivered == 2).await;
    kept.free.store(1 << 30, Ordering::Release);
    back(&kept.journal()).await;
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let folder = TempDir::new().unwrap();
    let kept = Kept::start(&folder, &Store::with([]), quick(), journal());
    let gate = Arc::clone(&kept.gate);
    gate.close(true);
    kept.send(0..3);
    kept.until(|terms| terms.delivered == 3).await;
    let dispatch = Arc::clone(&kept.rig.ingest.dispatch);
    dispatch.close();
    assert!(!dispatch.end_journal(Instant::now() + Duration::from_millis(50)).await);
    gate.close(false);
    drop(dispatch);
    kept.end().await;
}
