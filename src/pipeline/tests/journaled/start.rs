//! The disk of the journal fails at the start.

use super::*;

/// Above what a journal comes to by counting.
const IN_MEMORY: u64 = 1 << 50;

/// So many reports wait in a journal, whose store takes all again.
async fn waiting(reports: usize) -> (TempDir, Arc<Store>) {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    away_for_long(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    kept.send(0..reports);
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: reports });
    works(&store);
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_in_memory_and_when_the_disk_works_the_past_is_delivered_once() {
    let (folder, store) = waiting(3).await;
    let kept = Kept::start_failing(&folder, &store, quick(), journal());
    let journal = kept.journal();
    let view = journal.view();
    assert_eq!((view.room, view.is_open), (journal::Room::Away, false));
    assert!(view.last_error.unwrap().contains("Input/output error"));
    assert_eq!(journal.counters().failures.get(), 1);
    let mut stream = kept.stream();
    let mut say = async |lines: &str| {
        stream.lines(lines.as_bytes());
        stream.flush().await;
        stream.sync().await
    };
    // The sink's verdict is the answer.
    assert_eq!(say("a:1|c\n").await.error, None);
    assert_eq!(store.values(), ["a"]);
    assert_eq!(journal.counters().not_written.get(), 1);
    assert_eq!(kept.terms().accepted, 1);

    kept.fails.store(false, Ordering::Release);
    back(&journal).await;
    assert_eq!(kept.terms().accepted, 4);
    kept.until(|terms| terms.delivered == 4).await;
    assert_eq!(store.values(), ["a", "n000000", "n000001", "n000002"]);
    away_for_long(&store);
    assert_eq!(say("b:1|c\n").await.error, None);
    until("on disk", || journal.view().durable >= IN_MEMORY).await;
    let durable = journal.view().durable;
    drop((stream, journal));
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 1 });

    works(&store);
    let kept = Kept::start(&folder, &store, quick(), self::journal());
    assert!(kept.journal().first() > durable, "no number is used twice");
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (5, 5), "{terms:?}");
    assert_eq!(store.values().len(), 5);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_memory_and_in_the_journal_when_the_disk_works_is_delivered_once_each() {
    for config in [quick(), tight()] {
        let folder = TempDir::new().unwrap();
        let store = Store::with([]);
        // Of the past some is decided, in any order.
        store.script.lock().unwrap().extend(vec![Step::Each; 20]);
        away_for_long(&store);
        let kept = Kept::start(&folder, &store, tight(), journal());
        for start in (0..300).step_by(20) {
            kept.send(start..start + 20);
            kept.rig.send("r:1|c\nw:1|c");
        }
        kept.end().await;

        let kept = Kept::start_failing(&folder, &store, config.clone(), journal());
        kept.send(300..400);
        let dropped: u64 = kept.terms().dropped.iter().sum();
        kept.fails.store(false, Ordering::Release);
        back(&kept.journal()).await;
        kept.send(400..500);
        let terms = kept.terms();
        assert_eq!((terms.accepted, terms.dropped.iter().sum()), (530, dropped), "{terms:?}");
        works(&store);
        kept.until(|terms| terms.waiting == 0).await;
        let of_numbers = |name: &String| name.starts_with('n');
        let stored: Vec<_> = store.values().into_iter().filter(of_numbers).collect();
        assert_eq!(stored.len() as u64, 500 - dropped);
        let has_all = |range: std::ops::Range<usize>| names(range).iter().all(|name| stored.contains(name));
        assert!(has_all(0..300) && has_all(400..500));
        let terms = kept.terms();
        assert_eq!(terms.delivered + terms.rejected.values().sum::<u64>() + dropped, 530, "{terms:?}");
        kept.end().await;

        let kept = Kept::start(&folder, &store, config, journal());
        assert_eq!(kept.terms(), terms);
        kept.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_under_load_loses_nothing_and_counts_nothing_twice() {
    let (folder, store) = waiting(2000).await;
    let config = Config { batch_max_records: 7.try_into().unwrap(), ..quick() };
    let kept = Kept::start_failing(&folder, &store, config, journal());
    let journal = kept.journal();
    kept.fails.store(false, Ordering::Release);
    let (mut sent, mut behind) = (2000, 0);
    // Some in memory, the others behind the past.
    while behind < 1000 {
        kept.send(sent..sent + 10);
        behind += if journal.is_working() { 10 } else { 0 };
        sent += 10;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (sent as u64, sent as u64), "{terms:?}");
    assert_eq!(store.values(), names(0..sent));
    drop(journal);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dies_after_the_switch_has_lost_nothing_of_the_past() {
    let (folder, store) = waiting(500).await;
    // It stores what is in memory, and then a part of the past, one by one.
    let config = Config { batch_max_records: 1.try_into().unwrap(), ..tight() };
    let kept = Kept::start_failing(&folder, &store, config, journal());
    kept.send(500..501);
    kept.until(|terms| terms.delivered == 1).await;
    store.script.lock().unwrap().extend(vec![Step::Deliver; 50]);
    away_for_long(&store);
    kept.fails.store(false, Ordering::Release);
    kept.until(|terms| terms.delivered > 30).await;
    kept.die().await;
    works(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    kept.until(|terms| terms.waiting == 0).await;
    assert_eq!(store.values(), names(0..501));
    let terms = kept.terms();
    assert!(terms.accepted == terms.delivered && [500, 501].contains(&terms.accepted), "{terms:?}");
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ends_before_the_disk_works_drops_what_is_in_memory_and_leaves_the_past() {
    let (folder, store) = waiting(3).await;
    away_for_long(&store);
    let kept = Kept::start_failing(&folder, &store, quick(), journal());
    kept.send(3..5);
    assert_eq!(kept.end().await, drain::Rest { dropped: 2, kept: 0 });
    works(&store);
    let kept = Kept::start(&folder, &store, quick(), journal());
    kept.until(|terms| terms.delivered == 3).await;
    assert_eq!(store.values(), names(0..3));
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_may_fail_again_after_the_switch() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let kept = Kept::start_failing(&folder, &store, quick(), journal());
    let journal = kept.journal();
    for round in 0..3 {
        let first = round * 10;
        kept.send(first..first + 5);
        kept.fails.store(false, Ordering::Release);
        back(&journal).await;
        kept.send(first + 5..first + 9);
        kept.fails.store(true, Ordering::Release);
        kept.send(first + 9..first + 10);
        away(&journal).await;
    }
    kept.until(|terms| terms.delivered == 30).await;
    assert_eq!(store.values(), names(0..30));
    drop(journal);
    kept.end().await;
}
