//! Records that were carried, over restarts.

use std::fs;

use super::*;
use crate::journal::{Begin, Cursor, Entry, Log, Settings, Undecided};
use crate::pipeline::carry;
use crate::pipeline::ring::Parcel;
use crate::pipeline::window::Window;
use crate::record::{Chunk, OpenChunk, Position};

fn chunk(name: &str) -> Chunk {
    let mut open = OpenChunk::new(origin());
    open.begin_read(1_795_374_000_000_000_000);
    let line = format!("{name}:1|c");
    open.append(format!("{line}\n").as_bytes());
    let (bytes, table) = open.parts();
    crate::protocol::parse(
        &bytes[..line.len()],
        Dialect::Kaneda,
        &crate::protocol::Limits::NONE,
        &mut |record| table.push(&record, bytes, 0),
    )
    .unwrap();
    open.close().unwrap()
}

fn entry(mut chunk: Chunk, sequence: u64, carries: Option<u64>) -> Entry {
    chunk.set_position(Position { sequence, bytes_before: 1000 * sequence });
    Entry { chunk: Arc::new(chunk), carries }
}

/// A journal in which record 1 was carried to entry 4, and a crash came before any cursor said so.
fn crashed(folder: &TempDir) {
    let settings = Settings { segment_size: 1 << 20 };
    let sinks = [("store", Begin::Start)];
    let (mut log, _) = Log::open(Folder::open(folder.path()).unwrap(), settings, &sinks, &[]).unwrap();
    let first = entry(chunk("w"), 1, None);
    let copy = carry::chunk(&first.chunk, &[0], &"store".into()).unwrap();
    let others = ["n000002", "n000003"].map(chunk);
    let [second, third] = others;
    log.append(&[first, entry(second, 2, None), entry(third, 3, None), entry(copy, 4, Some(1))]).unwrap();
    log.sync().unwrap();
    log.put_cursor("store", &Cursor::at(1)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_a_restart_found_void_is_not_taken_for_what_is_left_by_the_next() {
    let folder = TempDir::new().unwrap();
    crashed(&folder);
    // The record is stored from where it came first, and then the store is away.
    let store = Store::with([Step::Deliver]);
    away_for_long(&store);
    let config = Config { batch_max_records: 1.try_into().unwrap(), ..quick() };
    let kept = Kept::start(&folder, &store, config.clone(), journal());
    assert_eq!(kept.terms().accepted, 3);
    kept.until(|terms| terms.delivered == 1).await;
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 2 });

    works(&store);
    let kept = Kept::start(&folder, &store, config, journal());
    assert_eq!(kept.terms().accepted, 3);
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (3, 3), "{terms:?}");
    assert_eq!(store.values(), ["n000002", "n000003", "w"]);
    kept.end().await;
}

/// As [`crashed`], but record 2 was carried to entry 4, and where it came first it cannot be read any more.
fn damaged(folder: &TempDir, cursor: &Cursor) {
    let settings = Settings { segment_size: 1 << 20 };
    let sinks = [("store", Begin::Start)];
    let (mut log, _) = Log::open(Folder::open(folder.path()).unwrap(), settings, &sinks, &[]).unwrap();
    let [first, second, third] = ["n000001", "w", "n000003"].map(chunk);
    let second = entry(second, 2, None);
    let copy = carry::chunk(&second.chunk, &[0], &"store".into()).unwrap();
    log.append(&[entry(first, 1, None), second, entry(third, 3, None), entry(copy, 4, Some(2))]).unwrap();
    log.sync().unwrap();
    log.put_cursor("store", cursor).unwrap();
    drop(log);
    let segment = folder.path().join("00000000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let at = memchr::memmem::find(&bytes, b"w:1|c\n").unwrap();
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_whose_first_entry_is_damaged_is_delivered_from_its_copy_and_is_not_lost() {
    // Nothing was decided before the crash, or all but this record.
    let only = 0..1;
    let undecided = vec![Undecided { sequence: 2, records: Vec::from([only]) }];
    let mut late = Cursor { undecided, ..Cursor::at(4) };
    (late.totals.accepted, late.totals.delivered) = (2, 2);
    for (cursor, stored) in [(Cursor::at(1), &["n000001", "n000003", "w"][..]), (late, &["w"])] {
        let folder = TempDir::new().unwrap();
        damaged(&folder, &cursor);
        let store = Store::with([]);
        away_for_long(&store);
        for _ in 0..2 {
            let kept = Kept::start(&folder, &store, quick(), journal());
            let terms = kept.terms();
            assert_eq!((terms.accepted, terms.dropped), (3, [0; 6]), "{terms:?}");
            assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: stored.len() });
        }
        works(&store);
        for _ in 0..2 {
            let kept = Kept::start(&folder, &store, quick(), journal());
            kept.until(|terms| terms.waiting == 0).await;
            let terms = kept.terms();
            assert_eq!((terms.accepted, terms.delivered), (3, 3), "{terms:?}");
            assert_eq!(store.values(), stored);
            kept.end().await;
        }
    }
}

#[test]
fn a_record_stands_in_its_last_copy_that_is_durable() {
    let mut window = Window::default();
    window.push(Parcel { chunk: entry(chunk("w"), 1, None).chunk, part: None });
    let mut stands = |carried: Option<u64>, durable| {
        if let Some(carried) = carried {
            window.carry(1, carried);
        }
        let (next, undecided, decided) = window.position(60, |sequence| sequence <= durable);
        assert_eq!(next, 60);
        (undecided.iter().map(|undecided| undecided.sequence).collect::<Vec<_>>(), decided)
    };
    assert_eq!(stands(Some(40), 39), (vec![1], vec![]));
    assert_eq!(stands(None, 40), (vec![40], vec![]));
    // It does not go back to where it came first.
    assert_eq!(stands(Some(70), 69), (vec![40], vec![]));
    // From `next` on what is left is found without the cursor, but for what is decided.
    assert_eq!(stands(None, 70), (vec![], vec![]));
    assert_eq!(stands(Some(80), 80), (vec![], vec![70]));
}

/// The disk begins to fail as the record `w`, which the store refuses for the moment, is carried. Gives the number of all
/// records.
async fn fails_as_it_is_carried(kept: &Kept, fails_write: bool) -> u64 {
    let journal = kept.journal();
    *kept.trap.lock().unwrap() = Some(Trap { text: r#""name":"w""#, fails_write });
    kept.rig.send("w:1|c");
    let mut sent = 0;
    until("carried", || {
        // No faster than the disk takes them: what it has no room for is dropped.
        if journal.view().durable + 500 > sent as u64 {
            kept.send(sent..sent + 50);
            sent += 50;
        }
        !journal.is_working()
    })
    .await;
    assert_eq!(journal.counters().carried.get(), 1);
    kept.until(|terms| terms.waiting == 1).await;
    sent as u64 + 1
}

fn small() -> journal::Config {
    journal::Config { segment_size: unit::Size::from_kib(4), ..journal() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_carried_is_carried_when_the_disk_works_again() {
    for fails_write in [true, false] {
        let folder = TempDir::new().unwrap();
        let store = Store::with([Step::Stuck]);
        let kept = Kept::start(&folder, &store, quick(), small());
        let mut all = fails_as_it_is_carried(&kept, fails_write).await;
        let journal = kept.journal();
        kept.fails.store(false, Ordering::Release);
        until("working again", || journal.is_working()).await;
        let oldest = || journal.view().closed.first().copied();
        until("let go", || {
            kept.send(0..1);
            all += 1;
            journal.counters().carried.get() > 1 && oldest().is_none_or(|(first, _)| first > 1)
        })
        .await;
        drop(journal);
        kept.die().await;
        works(&store);
        for _ in 0..2 {
            let kept = Kept::start(&folder, &store, quick(), small());
            kept.until(|terms| terms.waiting == 0).await;
            let terms = kept.terms();
            assert_eq!(terms.dropped, [0; 6], "{terms:?}");
            assert_eq!(terms.accepted, terms.delivered, "{terms:?}");
            // What came last was on no disk yet when it died.
            assert!(terms.accepted <= all, "{all} {terms:?}");
            assert_eq!(store.ids_of("w").len(), 1);
            kept.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_while_it_cannot_be_carried_is_counted_once() {
    for (fails_write, is_orderly) in [(true, true), (true, false), (false, true), (false, false)] {
        let folder = TempDir::new().unwrap();
        let store = Store::with([Step::Stuck]);
        let kept = Kept::start(&folder, &store, quick(), small());
        let all = fails_as_it_is_carried(&kept, fails_write).await;
        works(&store);
        kept.until(|terms| terms.waiting == 0).await;
        let terms = kept.terms();
        assert_eq!((terms.accepted, terms.delivered), (all, all), "{terms:?}");
        if is_orderly {
            kept.fails.store(false, Ordering::Release);
            let journal = kept.journal();
            until("working again", || journal.is_working()).await;
            drop(journal);
            assert_eq!(kept.end().await, drain::Rest::default());
        } else {
            kept.die().await;
        }
        let kept = Kept::start(&folder, &store, quick(), small());
        kept.until(|terms| terms.waiting == 0).await;
        let terms = kept.terms();
        assert_eq!(terms.accepted, terms.delivered, "{terms:?}");
        // What came after the disk failed is on none, and known only if the cursor was stored.
        let expected = if is_orderly { all..=all } else { 2..=all };
        assert!(expected.contains(&terms.accepted), "{all} {terms:?}");
        assert_eq!(store.ids_of("w").len(), 1);
        kept.end().await;
    }
}
