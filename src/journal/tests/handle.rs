//! The running journal, with its thread.

use std::sync::Once;
use std::thread;

use tokio::runtime;
use tokio::sync::Notify;

use super::*;
use crate::unit::Size;

struct Nobody;

impl Followers for Nobody {
    fn opened(&self, recovery: &Recovery, begin: &dyn Fn(u64)) {
        begin(recovery.last);
    }

    fn removed(&self, _: &[Head], _: u64, _: Why) -> u64 {
        0
    }
}

fn started(config: &Config) -> (tempfile::TempDir, Arc<Journal>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let files = move || Folder::open(&path);
    let begun = Journal::open(config, files, &["a".into()], &[], Arc::new(Notify::new())).unwrap();
    let journal = Arc::clone(&begun.journal);
    begun.start(Arc::new(Nobody)).unwrap();
    (dir, journal)
}

fn wait_until_passed(journal: &Journal, sequence: u64) {
    let mut passed = journal.passed();
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(passed.wait_for(|passed| *passed >= sequence)).unwrap();
}

#[test]
fn what_is_put_is_written_whether_the_thread_is_woken_or_looks_by_itself() {
    let (_dir, journal) = started(&Config::default());
    for sequence in journal.first()..journal.first() + 40 {
        journal.put(entry(sequence, 1).chunk, None, None);
        // Now and then it has all, and sleeps.
        if sequence % 4 == 0 {
            wait_until_passed(&journal, sequence);
        }
    }
    journal.end();
}

#[test]
fn room_that_is_held_for_later_makes_no_journal_full() {
    let config = Config { max_size: Size::from_mib(1), ..Config::default() };
    let (_dir, journal) = started(&config);
    let mut sequence = journal.first();
    let mut put = || {
        journal.put(entry(sequence, 2000).chunk, None, None);
        wait_until_passed(&journal, sequence);
        sequence += 1;
        sequence
    };
    let mut second = 0;
    while journal.counters().bytes.get() < 1_000_000 {
        let next = put();
        if second == 0 && journal.counters().bytes.get() > config.segment_bytes() {
            second = next;
        }
    }
    // The first of four segments is done with: its file waits for the fifth.
    journal.set_cursor(0, Told { cursor: Cursor::at(second), gone: 0 });
    while journal.view().closed.first().is_none_or(|(first, _)| *first < second) {
        thread::yield_now();
    }
    let before = journal.counters().bytes.get();
    while journal.counters().bytes.get() < before + 120_000 {
        put();
    }
    let view = journal.view();
    assert_eq!(view.room, Room::Yes);
    assert!(view.size < 1 << 20, "{}", view.size);
    journal.end();
}

/// Tells of what is not written yet when the first segment goes.
struct Ahead(Arc<Journal>, Once);

impl Followers for Ahead {
    fn opened(&self, recovery: &Recovery, begin: &dyn Fn(u64)) {
        begin(recovery.last);
    }

    fn removed(&self, _: &[Head], last: u64, _: Why) -> u64 {
        let totals = Totals { accepted: 5, delivered: 5, ..Totals::default() };
        let cursor = Cursor { totals, ..Cursor::at(last + 1000) };
        self.1.call_once(|| self.0.set_cursor(0, Told { cursor, gone: last }));
        0
    }
}

#[test]
fn what_a_sink_tells_of_entries_that_are_not_written_is_not_stored_when_a_segment_goes() {
    let config = Config { max_size: Size::from_mib(1), on_full: OnFull::DropOldest, ..Config::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let files = move || Folder::open(&path);
    let begun = Journal::open(&config, files, &["a".into()], &[], Arc::new(Notify::new())).unwrap();
    let journal = Arc::clone(&begun.journal);
    begun.start(Arc::new(Ahead(Arc::clone(&journal), Once::new()))).unwrap();
    let mut sequence = journal.first();
    while journal.counters().bytes.get() < 900_000 {
        journal.put(entry(sequence, 2000).chunk, None, None);
        wait_until_passed(&journal, sequence);
        sequence += 1;
    }
    // One entry, for which more than one segment has to go.
    journal.put(entry(sequence, 60_000).chunk, None, None);
    wait_until_passed(&journal, sequence);
    assert!(journal.counters().removed_segments.get() > 1);
    let stored = cursor::file::load(&Folder::look(dir.path()).unwrap(), "a").unwrap().unwrap();
    assert_eq!(stored.totals.delivered, 0);
    journal.end();
}

/// Opens it where the disk fails at first.
fn started_without_a_disk(dir: &tempfile::TempDir) -> Arc<Journal> {
    let path = dir.path().to_owned();
    let mut fails = true;
    let files = move || match std::mem::take(&mut fails) {
        true => {
            let error = std::io::Error::from_raw_os_error(libc::ENOSPC);
            Err(OpenError::Io { what: "the folder".to_owned(), error })
        }
        false => Folder::open(&path),
    };
    let begun =
        Journal::open(&Config::default(), files, &["a".into()], &[], Arc::new(Notify::new())).unwrap();
    assert!(!begun.journal.view().is_open);
    let journal = Arc::clone(&begun.journal);
    begun.start(Arc::new(Nobody)).unwrap();
    journal
}

#[test]
fn what_is_in_memory_has_numbers_above_all_on_disk_or_the_journal_stays_closed() {
    for (last, opens) in [(7, true), (1 << 55, false)] {
        let dir = tempfile::tempdir().unwrap();
        let files = Folder::open(dir.path()).unwrap();
        let (mut log, _) = Log::open(files, SMALL, &[], &[]).unwrap();
        let mut entry = entry(1, 1);
        let place = Position { sequence: last, bytes_before: 0 };
        Arc::get_mut(&mut entry.chunk).unwrap().set_position(place);
        log.append(&[entry]).unwrap();
        log.sync().unwrap();
        drop(log);
        let journal = started_without_a_disk(&dir);
        let is_first = |error: String| error.contains("No space left");
        assert!(is_first(journal.view().last_error.unwrap()));
        while !journal.is_working() && is_first(journal.view().last_error.unwrap()) {
            thread::yield_now();
        }
        assert_eq!(journal.is_working(), opens);
        let error = journal.view().last_error.unwrap();
        assert_eq!(error.contains("the clock was set back"), !opens, "{error}");
        assert_eq!(journal.view().durable, if opens { 7 } else { 0 });
        journal.end();
    }
}

#[test]
fn what_takes_a_person_is_a_refusal_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let _lock = Folder::open(dir.path()).unwrap();
    let path = dir.path().to_owned();
    let files = move || Folder::open(&path);
    let opened = Journal::open(&Config::default(), files, &[], &[], Arc::new(Notify::new()));
    assert!(matches!(opened, Err(OpenError::Locked)));
}
