//! The disk fails while a sink reads from the journal what its ring had no room for.

use super::*;
use crate::journal::Files;

/// Reports that wait in the journal only, on disk, but for the first ones.
const BACKLOG: usize = 500;

/// A sink that hangs, with a backlog in several segments.
async fn behind(config: Config) -> (TempDir, Arc<Store>, Kept) {
    let folder = TempDir::new().unwrap();
    let store = Store::with([Step::Hang]);
    let settings = journal::Config { segment_size: unit::Size::from_kib(4), ..journal() };
    let kept = Kept::start(&folder, &store, config, settings);
    let journal = kept.journal();
    // What is written at once is in one segment.
    for start in (0..BACKLOG).step_by(50) {
        kept.send(start..start + 50);
        until("durable", || journal.view().durable >= (start + 50) as u64).await;
    }
    assert!(segments(&folder).len() > 4, "{:?}", segments(&folder));
    (folder, store, kept)
}

/// The first sequence numbers of all segments.
fn segments(folder: &TempDir) -> Vec<u64> {
    let files = Folder::look(folder.path()).unwrap().list().unwrap();
    let mut firsts: Vec<u64> =
        files.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    firsts.sort_unstable();
    firsts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_disk_is_read_though_nothing_can_be_written() {
    let (folder, store, kept) = behind(tight()).await;
    let journal = kept.journal();
    kept.fails.store(true, Ordering::Release);
    // It finds no room in the ring, and gets on no disk: lost, and its sender hears of it.
    let mut first = kept.stream();
    first.lines(b"first:1|c\n");
    first.flush().await;
    away(&journal).await;
    // This one waits for room.
    let mut second = kept.stream();
    second.lines(b"second:1|c\n");
    {
        let mut flush = Box::pin(second.flush());
        let is_held = tokio::time::timeout(Duration::from_millis(50), flush.as_mut()).await.is_err();
        assert!(is_held, "what came before it is still to be read");
        store.go.notify_one();
        flush.await;
    }
    assert_eq!(second.sync().await.error, None);
    let error = first.sync().await.error.unwrap();
    assert!(error.contains("journal_lost"), "{error}");
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (502, 501), "{terms:?}");
    assert_eq!(terms.dropped[ledger::Drop::JournalLost as usize], 1, "{terms:?}");
    let mut stored = names(0..BACKLOG);
    stored.push("second".to_owned());
    assert_eq!(store.values(), stored);
    kept.fails.store(false, Ordering::Release);
    back(&journal).await;
    drop((first, second, journal));
    kept.end().await;

    let kept = Kept::start(&folder, &store, quick(), super::journal());
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered, terms.waiting), (502, 501, 0), "{terms:?}");
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_gives_nothing_for_a_while_costs_nothing() {
    let (_folder, store, kept) = behind(tight()).await;
    let journal = kept.journal();
    kept.fails.store(true, Ordering::Release);
    *kept.unreadable.lock().unwrap() = Unreadable::Everything;
    // Somebody has to find out that it takes nothing either.
    kept.send(BACKLOG..BACKLOG + 1);
    away(&journal).await;
    store.go.notify_one();
    // Far more often than a segment is tried that alone cannot be read.
    let failures = journal.counters().failures.get();
    until("tried again", || journal.counters().failures.get() > failures + 100).await;
    *kept.unreadable.lock().unwrap() = Unreadable::Nothing;
    kept.fails.store(false, Ordering::Release);
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (501, 500), "{terms:?}");
    // The one that was on no disk.
    assert_eq!(terms.dropped[ledger::Drop::JournalLost as usize], 1, "{terms:?}");
    assert_eq!(store.values(), names(0..BACKLOG));
    drop(journal);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_cannot_be_read_is_passed_over_and_counted_and_all_others_are_delivered() {
    let (folder, store, kept) = behind(tight()).await;
    let journal = kept.journal();
    let [first, last] = [2, 3].map(|index| segments(&folder)[index]);
    let last = last - 1;
    *kept.unreadable.lock().unwrap() = Unreadable::File(journal::file_name(first));
    store.go.notify_one();
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    let lost = last - first + 1;
    assert_eq!((terms.accepted, terms.delivered), (500, 500 - lost), "{terms:?}");
    assert_eq!(terms.dropped[ledger::Drop::JournalLost as usize], lost, "{terms:?}");
    let (first, last) = (first as usize - 1, last as usize);
    assert_eq!(store.values(), [names(0..first), names(last..BACKLOG)].concat());
    assert!(journal.counters().failures.get() > 0);
    // What comes now goes its usual way.
    kept.send(BACKLOG..BACKLOG + 10);
    kept.until(|terms| terms.delivered == 510 - lost).await;
    drop(journal);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_while_the_disk_gives_nothing_leaves_all_for_the_next_start() {
    // It is tried once, and not again before the end.
    let hour = unit::Duration::from_secs(3600);
    let config = Config { retry_first: hour, retry_ceiling: hour, ..tight() };
    let (folder, store, kept) = behind(config).await;
    *kept.unreadable.lock().unwrap() = Unreadable::Everything;
    let journal = kept.journal();
    let failures = journal.counters().failures.get();
    store.go.notify_one();
    until("tried", || journal.counters().failures.get() > failures).await;
    drop(journal);
    let rest = kept.end().await;
    assert!(rest.dropped == 0 && rest.kept > BACKLOG / 2, "{rest:?}");

    let kept = Kept::start(&folder, &store, tight(), super::journal());
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (500, 500), "{terms:?}");
    assert_eq!(store.values(), names(0..BACKLOG));
    kept.end().await;
}
