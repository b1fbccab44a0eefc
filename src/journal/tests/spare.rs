//! Files that are given from one segment to another.

use std::fs;
use std::path::Path;

use super::super::inspect::inspect;
use super::super::segment::Beginning;
use super::*;

/// A log whose newest segment, just begun, is written over an old one, and that has another file for the next.
fn reusing(path: &Path, settings: Settings) -> Log<Folder> {
    let (mut log, _) = Log::open(Folder::open(path).unwrap(), settings, &[], &[]).unwrap();
    while log.segments().len() < 4 {
        append(&mut log);
    }
    log.reclaim().unwrap();
    while log.segments().len() < 2 {
        append(&mut log);
    }
    log.sync().unwrap();
    log
}

fn append(log: &mut Log<Folder>) {
    log.append(&[entry(log.written() + 1, 5)]).unwrap();
}

/// The lengths of the files whose names end so, in the order of the names.
fn lengths(path: &Path, end: &str) -> Vec<u64> {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> = files.filter(|file| file.file_name().to_str().unwrap().ends_with(end)).collect();
    files.sort_by_key(|file| file.file_name());
    files.iter().map(|file| file.metadata().unwrap().len()).collect()
}

fn sum(path: &Path, end: &str) -> u64 {
    lengths(path, end).iter().sum()
}

fn newest(path: &Path, log: &Log<Folder>) -> std::path::PathBuf {
    path.join(file_name(log.segments().last().unwrap().first))
}

#[test]
fn a_segment_that_is_done_with_gives_its_file_to_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reusing(dir.path(), SMALL);
    assert_eq!(lengths(dir.path(), ".spare").len(), 1);
    let path = newest(dir.path(), &log);
    let bytes = fs::read(&path).unwrap();
    assert!(matches!(Beginning::of(&bytes), Beginning::Header(header) if header.is_reused));
    // What the old one had is there still, and no reader finds it.
    assert!(bytes.len() as u64 >= SMALL.segment_size && log.segments()[1].bytes < 500);
    assert_eq!(read_all(&log, 0), (log.oldest().unwrap().first..=log.written()).collect::<Vec<_>>());
    assert_eq!(log.size(), sum(dir.path(), ".log") + sum(dir.path(), ".spare"));
    // Once it is closed, no longer.
    while log.segments().len() < 3 {
        append(&mut log);
    }
    let segments = log.segments();
    assert_eq!(lengths(dir.path(), ".log")[..2], [segments[0].bytes, segments[1].bytes]);
    assert_eq!(lengths(dir.path(), ".spare").len(), 0);
    assert_eq!(log.size(), sum(dir.path(), ".log"));
}

#[test]
fn what_is_left_of_another_segment_is_neither_torn_nor_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = reusing(dir.path(), SMALL);
    let (segments, written) = (log.segments(), log.written());
    let path = newest(dir.path(), &log);
    drop(log);
    // As `kaneda journal` finds it while a daemon runs.
    let found = inspect(Folder::look(dir.path()).unwrap()).unwrap();
    assert!(found.segments.iter().all(|(_, faults)| faults.is_empty()));
    assert_eq!(found.segments.iter().map(|(info, _)| info.clone()).collect::<Vec<_>>(), segments);
    let (log, recovery) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
    assert_eq!((recovery.last, recovery.torn_bytes, recovery.corrupt_entries), (written, 0, 0));
    assert_eq!(fs::metadata(path).unwrap().len(), segments[1].bytes);
    assert_eq!((lengths(dir.path(), ".spare").len(), log.size()), (0, recovery.bytes));
}

#[test]
fn damage_at_the_end_of_a_segment_that_was_closed_is_counted_though_its_file_was_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reusing(dir.path(), SMALL);
    let path = newest(dir.path(), &log);
    while log.segments().len() < 3 {
        append(&mut log);
    }
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(&path).unwrap();
    let last = whole.windows(8).rposition(|bytes| bytes == &whole[32..40]).unwrap();
    let damaged = [&whole[..last], &vec![0; whole.len() - last]].concat();
    fs::write(&path, damaged).unwrap();
    let (_, recovery) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
    assert_eq!(recovery.corrupt_entries, 1);
    let found = inspect(Folder::look(dir.path()).unwrap()).unwrap();
    assert_eq!(found.segments.iter().map(|(_, faults)| faults.len()).sum::<usize>(), 1);
}

#[test]
fn an_entry_that_was_begun_over_another_segment_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reusing(dir.path(), SMALL);
    let (path, good) = (newest(dir.path(), &log), log.segments()[1].bytes as usize);
    let before = fs::read(&path).unwrap();
    append(&mut log);
    let (whole, end) = (fs::read(&path).unwrap(), log.segments()[1].bytes as usize);
    let written = log.written();
    drop(log);
    // Where the old one has the same bytes it is whole without them.
    let lines_end = good + whole[good..end].iter().rposition(|byte| *byte == b'\n').unwrap();
    let last = (good..=lines_end).rfind(|at| whole[*at] != before[*at]).unwrap();
    // It is told by its marker and its length.
    for length in std::iter::once(good).chain(good + 12..=last) {
        fs::write(&path, [&whole[..length], &before[length..]].concat()).unwrap();
        let (_, recovery) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
        let torn = if length == good { 0 } else { end - good };
        assert_eq!((recovery.torn_bytes, recovery.corrupt_entries), (torn as u64, 0), "{length}");
        assert_eq!((recovery.last, fs::metadata(&path).unwrap().len()), (written - 1, good as u64));
    }
}

#[test]
fn the_room_that_is_held_is_given_back_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reusing(dir.path(), SMALL);
    let entries: u64 = log.segments().iter().map(|segment| segment.bytes).sum();
    assert!(log.size() > entries + 1000);
    assert!(log.trim().unwrap());
    assert_eq!((log.size(), lengths(dir.path(), ".spare").len()), (entries, 0));
    assert_eq!(sum(dir.path(), ".log"), entries);
    assert!(!log.trim().unwrap());
    append(&mut log);
    assert_eq!(read_all(&log, log.written()), [log.written()]);
}

#[test]
fn two_files_are_kept_and_no_file_of_an_earlier_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
    while log.segments().len() < 5 {
        append(&mut log);
    }
    drop(log);
    let (mut log, _) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
    append(&mut log);
    log.reclaim().unwrap();
    assert_eq!(lengths(dir.path(), ".spare").len(), 0);
    while log.segments().len() < 5 {
        append(&mut log);
    }
    log.reclaim().unwrap();
    assert_eq!(lengths(dir.path(), ".spare").len(), 2);
    // Somebody removes one: it is not missed.
    let spares = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    spares
        .filter(|path| path.extension().is_some_and(|end| end == "spare"))
        .for_each(|path| fs::remove_file(path).unwrap());
    while log.segments().len() < 3 {
        append(&mut log);
    }
    log.sync().unwrap();
}

#[test]
fn who_reads_a_file_while_it_is_given_away_finds_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { segment_size: 2 << 20 };
    let (mut log, _) = Log::open(Folder::open(dir.path()).unwrap(), settings, &[], &[]).unwrap();
    let append = |log: &mut Log<Folder>| {
        log.append(&[entry(log.written() + 1, 9000)]).unwrap();
    };
    while log.segments().len() < 2 {
        append(&mut log);
    }
    // Another process, as `kaneda journal cat` is one.
    let found = inspect(Folder::look(dir.path()).unwrap()).unwrap();
    let mut reader = Reader::new(found.extent, 0);
    assert_eq!(sequences(&reader.read(1).unwrap()), [1]);
    log.reclaim().unwrap();
    while log.segments().len() < 3 {
        append(&mut log);
    }
    let block = reader.read(usize::MAX).unwrap();
    assert_eq!((block.corrupt_entries, block.corrupt_bytes, block.is_end), (0, 0, true));
    assert!(block.entries.len() > 2);
}
