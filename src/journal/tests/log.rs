//! What the log keeps, and for how long.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::super::checksum::crc32c;
use super::super::segment::VERSION;
use super::*;

fn open(path: &Path, sinks: &[(&str, Begin)]) -> (Log<Folder>, Recovery) {
    Log::open(Folder::open(path).unwrap(), SMALL, sinks, &[]).unwrap()
}

/// A log of entries 1 to `entries`, five records each, made durable.
fn filled(path: &Path, entries: u64) -> Log<Folder> {
    let (mut log, _) = open(path, &[("a", Begin::Start)]);
    for sequence in 1..=entries {
        log.append(&[entry(sequence, 5)]).unwrap();
    }
    log.sync().unwrap();
    log
}

fn undecided(sequence: u64, records: std::ops::Range<u32>) -> Undecided {
    Undecided { sequence, records: vec![records] }
}

#[test]
fn what_was_appended_is_there_after_a_restart_with_the_numbers_going_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, recovery) = open(dir.path(), &[("a", Begin::End)]);
    assert_eq!((recovery.last, log.written(), log.durable()), (0, 0, 0));
    log.append(&[entry(1, 2), entry(2, 3)]).unwrap();
    log.append(&[entry(5, 4)]).unwrap();
    assert_eq!((log.written(), log.durable()), (5, 0));
    log.sync().unwrap();
    assert_eq!(log.durable(), 5);
    drop(log);

    let (log, recovery) = open(dir.path(), &[("a", Begin::End), ("b", Begin::End), ("c", Begin::Start)]);
    assert_eq!((recovery.last, recovery.entries, log.written(), log.durable()), (5, 3, 5, 5));
    let waiting: Vec<_> = recovery.lanes.iter().map(|lane| (lane.cursor.next, lane.waiting)).collect();
    assert_eq!(waiting, [(1, 9), (6, 0), (0, 9)]);
    assert_eq!(read_all(&log, 0), [1, 2, 5]);
    assert_eq!((recovery.bytes, recovery.torn_bytes, recovery.corrupt_entries), (log.size(), 0, 0));
}

#[test]
fn a_cursor_says_what_is_left_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 6);
    let cursor = Cursor {
        next: 4,
        undecided: vec![undecided(2, 1..3)],
        totals: Totals { accepted: 13, delivered: 13, ..Totals::default() },
        ..Cursor::default()
    };
    log.put_cursor("a", &cursor).unwrap();
    drop(log);
    let (_, recovery) = open(dir.path(), &[("a", Begin::End)]);
    assert_eq!(recovery.lanes, [Lane { cursor, waiting: 2 + 15, missing: 0 }]);
}

#[test]
fn a_cursor_is_never_stored_beyond_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 2);
    log.append(&[entry(3, 1)]).unwrap();
    for cursor in [Cursor::at(4), Cursor { undecided: vec![undecided(3, 0..1)], ..Cursor::at(1) }] {
        assert_eq!(log.put_cursor("a", &cursor).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    log.put_cursor("a", &Cursor::at(3)).unwrap();
    log.sync().unwrap();
    log.put_cursor("a", &Cursor::at(4)).unwrap();
}

#[test]
fn numbers_that_only_a_cursor_or_a_queue_knows_are_not_used_again() {
    // A copy that is in no segment can be decided: its number would take another entry for decided.
    let cursors = [Cursor::at(10), Cursor { decided: vec![9], ..Cursor::at(4) }];
    let stored = cursors.map(|cursor| (Some(cursor), None));
    let known = known::Record { next: 10, messages: Vec::new() };
    for (cursor, known) in stored.into_iter().chain([(None, Some(known))]) {
        let dir = tempfile::tempdir().unwrap();
        let sinks = [("a", Begin::Start)];
        let files = Folder::open(dir.path()).unwrap();
        if let Some(cursor) = cursor {
            cursor::file::store(&files, "a", &cursor).unwrap();
        }
        if let Some(known) = known {
            known::file::store(&files, "q", &known).unwrap();
        }
        let (mut log, recovery) = Log::open(files, SMALL, &sinks, &["q"]).unwrap();
        assert_eq!((recovery.last, log.written()), (9, 9));
        assert_eq!(log.append(&[entry(9, 1)]).unwrap_err().kind(), ErrorKind::InvalidInput);
        log.append(&[entry(10, 1)]).unwrap();
        log.sync().unwrap();
        drop(log);
        let (_, recovery) = open(dir.path(), &sinks);
        assert_eq!((recovery.last, recovery.lanes[0].waiting), (10, 1));
    }
}

#[test]
fn numbers_that_do_not_ascend_are_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 3);
    for group in [vec![entry(3, 1)], vec![entry(5, 1), entry(5, 1)], vec![entry(6, 1), entry(4, 1)]] {
        assert_eq!(log.append(&group).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    log.append(&[entry(4, 1)]).unwrap();
    assert_eq!(read_all(&log, 0), [1, 2, 3, 4]);
}

#[test]
fn segments_that_every_cursor_has_passed_are_deleted_and_the_newest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 40);
    log.put_cursor("b", &Cursor::at(41)).unwrap();
    let segments = log.segments();
    assert!(segments.len() > 5);
    assert_eq!(log.reclaim().unwrap(), 0);
    let third = segments[2].clone();
    log.put_cursor("a", &Cursor { undecided: vec![undecided(third.last, 0..1)], ..Cursor::at(41) }).unwrap();
    assert_eq!(log.reclaim().unwrap(), segments[0].bytes + segments[1].bytes);
    assert_eq!(log.oldest().unwrap(), third);
    log.put_cursor("a", &Cursor::at(41)).unwrap();
    log.trim().unwrap();
    let before = log.size();
    let freed = log.reclaim().unwrap();
    log.trim().unwrap();
    assert_eq!(freed + log.size(), before);
    assert_eq!(log.segments(), segments[segments.len() - 1..]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + 2 + 1);
}

#[test]
fn a_cursor_without_a_sink_keeps_its_segments_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 20);
    log.put_cursor("a", &Cursor::at(3)).unwrap();
    drop(log);
    let (mut log, recovery) = open(dir.path(), &[("b", Begin::End)]);
    assert_eq!(recovery.orphans.len(), 1);
    assert_eq!((recovery.orphans[0].name.as_str(), recovery.orphans[0].records), ("a", 18 * 5));
    assert!(recovery.orphans[0].bytes > 18 * 100);
    assert_eq!(log.orphans().collect::<Vec<_>>(), ["a"]);
    log.reclaim().unwrap();
    assert!(read_all(&log, 0).contains(&3));
    assert_eq!(log.forget("b").unwrap_err().kind(), ErrorKind::NotFound);
    log.forget("a").unwrap();
    assert!(log.reclaim().unwrap() > 0);
    assert_eq!(log.segments().len(), 1);
    drop(log);
    assert!(open(dir.path(), &[("b", Begin::End)]).1.orphans.is_empty());
}

#[test]
fn the_oldest_segment_can_be_removed_whatever_cursors_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 12);
    let segments = log.segments();
    let heads = log.heads(segments[0].first).unwrap();
    assert_eq!(heads.iter().map(|head| u64::from(head.records)).sum::<u64>(), segments[0].records);
    assert_eq!(heads.iter().map(|head| head.bytes).sum::<u64>() + 48, segments[0].bytes);
    log.remove_oldest().unwrap();
    assert_eq!(log.oldest(), segments.get(1).cloned());
    assert_eq!(log.heads(segments[0].first).unwrap_err().kind(), ErrorKind::NotFound);
    // The last one too, and its numbers stay used.
    while log.segments().iter().any(|segment| segment.entries > 0) {
        log.remove_oldest().unwrap();
    }
    log.remove_oldest().unwrap();
    assert_eq!(log.segments().len(), 1);
    drop(log);
    assert!(open(dir.path(), &[]).1.last >= 12);
}

#[test]
fn what_an_unclean_stop_left_is_cut_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 3);
    let good = log.size();
    log.append(&[entry(4, 5)]).unwrap();
    drop(log);
    let path = dir.path().join("00000000000000000001.log");
    let whole = fs::read(&path).unwrap();
    for length in good..whole.len() as u64 {
        fs::write(&path, &whole[..length as usize]).unwrap();
        let (log, recovery) = open(dir.path(), &[("a", Begin::Start)]);
        assert_eq!((recovery.last, recovery.entries, recovery.torn_bytes), (3, 3, length - good));
        assert_eq!((recovery.corrupt_entries, recovery.bytes), (0, good));
        assert_eq!(fs::metadata(&path).unwrap().len(), good);
        drop(log);
        assert_eq!(open(dir.path(), &[("a", Begin::Start)]).1.torn_bytes, 0);
    }
}

#[test]
fn a_segment_without_a_whole_header_is_removed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 3));
    let path = dir.path().join("00000000000000000009.log");
    for bytes in [&b""[..], b"KANEDA", &[0; 4096]] {
        fs::write(&path, bytes).unwrap();
        let (_, recovery) = open(dir.path(), &[]);
        assert_eq!((recovery.torn_bytes, recovery.corrupt_entries), (bytes.len() as u64, 0));
        assert!(!path.exists());
    }
}

/// A power failure may give back what a failed sync left in doubt, and take the file that was begun behind it.
#[test]
fn a_segment_that_is_removed_hides_nothing_in_the_one_before_it() {
    for bytes in [&b""[..], b"KANEDA", &[0; 4096]] {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), 3));
        fs::write(dir.path().join("00000000000000000002.log"), bytes).unwrap();
        for torn in [bytes.len() as u64, 0] {
            let (log, recovery) = open(dir.path(), &[("a", Begin::Start)]);
            assert_eq!((recovery.last, recovery.entries, recovery.lanes[0].waiting), (3, 3, 15));
            assert_eq!((recovery.torn_bytes, recovery.corrupt_entries), (torn, 0));
            assert_eq!(read_all(&log, 0), [1, 2, 3]);
        }
    }
}

#[test]
fn a_damaged_entry_is_passed_over_and_counted_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), 40);
    let second = log.segments()[1].clone();
    let heads = log.heads(second.first).unwrap();
    drop(log);
    let path = dir.path().join(format!("{:020}.log", second.first));
    let whole = fs::read(&path).unwrap();
    let (from, to) = (48 + heads[0].bytes as usize, 48 + (heads[0].bytes + heads[1].bytes) as usize);
    let padding = to - 8 + whole[to - 8..to].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    for at in from..padding {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, damaged).unwrap();
        let (log, recovery) = open(dir.path(), &[("a", Begin::Start)]);
        assert_eq!((recovery.corrupt_entries, recovery.corrupt_bytes), (1, heads[1].bytes), "byte {at}");
        assert_eq!((recovery.torn_bytes, recovery.lanes[0].waiting), (0, 39 * 5));
        let expected: Vec<_> = (1..=40).filter(|sequence| *sequence != heads[1].sequence).collect();
        assert_eq!(read_all(&log, 0), expected);
    }
}

#[test]
fn a_damaged_header_costs_nothing_but_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), 10);
    drop(log);
    let path = dir.path().join(first_name());
    let mut bytes = fs::read(&path).unwrap();
    bytes[35] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (log, recovery) = open(dir.path(), &[]);
    assert_eq!((recovery.entries, recovery.corrupt_entries, recovery.corrupt_bytes), (10, 1, 48));
    assert_eq!(read_all(&log, 0), (1..=10).collect::<Vec<_>>());
}

fn first_name() -> String {
    format!("{:020}.log", 1)
}

#[test]
fn lines_that_look_like_an_entry_are_none() {
    // As a client could send one that knows the format: there is no LF in it.
    let guessed = *b"\x01marker\x02";
    let forged = forged(guessed);
    assert!(!forged.contains(&b'\n'));
    let mut around = open_chunk("b:1|c\n");
    around.append(&[&b"a:1|c|#"[..], &forged].concat());
    let around = sealed(around, 2);
    for is_known in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = filled(dir.path(), 1);
        log.append(&[around.clone(), entry(3, 1)]).unwrap();
        log.sync().unwrap();
        drop(log);
        let path = dir.path().join(first_name());
        let mut bytes = fs::read(&path).unwrap();
        let marker: [u8; 8] = bytes[32..40].try_into().unwrap();
        let at = memchr::memmem::find(&bytes, &guessed).unwrap();
        if is_known {
            bytes[at..at + 8].copy_from_slice(&marker);
        }
        // The entry around it is damaged.
        bytes[at - 1] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (log, recovery) = open(dir.path(), &[]);
        assert!(recovery.corrupt_entries > 0);
        // It is the marker that keeps it out.
        assert_eq!(read_all(&log, 0), if is_known { vec![1, 2, 3] } else { vec![1, 3] });
    }
}

/// The bytes of an entry 2.
fn forged(marker: [u8; 8]) -> Vec<u8> {
    let parts = crate::record::chunk::Parts {
        id: crate::record::ChunkId::from_bytes([7; 16]),
        origin: origin(),
        bytes: (*b"never.sent:1|c").into(),
        reads: Box::default(),
        peers: Box::default(),
        line_base: None,
        line_origins: Box::default(),
        target: None,
        position: Position { sequence: 2, bytes_before: 0 },
    };
    let entry = Entry { chunk: Arc::new(Chunk::from_parts(parts, Default::default())), carries: None };
    let mut heads = super::super::entry::Heads::default();
    heads.write(std::slice::from_ref(&entry), marker).unwrap();
    heads.parts(std::slice::from_ref(&entry)).iter().flat_map(|part| part.to_vec()).collect()
}

#[test]
fn a_later_format_of_any_file_is_a_refusal_to_open_that_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[("a", Begin::Start)], &["q"]);
    let mut log = open().unwrap().0;
    for sequence in 1..=20 {
        log.append(&[entry(sequence, 5)]).unwrap();
    }
    log.sync().unwrap();
    let segments: Vec<_> = log.segments().iter().map(|segment| file_name(segment.first)).collect();
    assert!(segments.len() > 2);
    drop(log);

    // Where the format stands, where the checksum does, and what that is over.
    let segment = (8, 40, 0..40);
    let other = |file: &str| (12, 8, 12..fs::metadata(dir.path().join(file)).unwrap().len() as usize);
    let mut files: Vec<_> = segments.iter().map(|name| (&**name, segment.clone())).collect();
    files.extend(["a.cursor", "q.known"].map(|name| (name, other(name))));
    for (name, (format, checksum, checked)) in files {
        let path = dir.path().join(name);
        let sound = fs::read(&path).unwrap();
        let mut later = sound.clone();
        assert_eq!(later[format..format + 4], VERSION.to_le_bytes());
        later[format..format + 4].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let sum = crc32c([&later[checked]]);
        later[checksum..checksum + 4].copy_from_slice(&sum.to_le_bytes());
        fs::write(&path, later).unwrap();
        let before = contents(dir.path());
        match open().unwrap_err() {
            OpenError::Version { file, version, known } => {
                assert_eq!((&*file, version, known), (name, VERSION + 1, VERSION));
            }
            other => panic!("{name}: {other}"),
        }
        assert_eq!(contents(dir.path()), before, "{name}");
        fs::write(&path, sound).unwrap();
    }
    assert_eq!(open().unwrap().1.entries, 20);
}

/// All files of a folder with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_damaged_cursor_is_a_refusal_to_open() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 1));
    fs::write(dir.path().join("a.cursor"), b"KANEDACU").unwrap();
    let error = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[("a", Begin::End)], &[]).unwrap_err();
    assert!(matches!(&error, OpenError::Cursor { file } if file == "a.cursor"), "{error}");
}

#[test]
fn an_unfinished_cursor_is_removed_and_the_one_before_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 3);
    log.put_cursor("a", &Cursor::at(2)).unwrap();
    fs::write(dir.path().join("a.cursor.new"), b"KANE").unwrap();
    // In the same process, and in the next one.
    log.put_cursor("a", &Cursor::at(3)).unwrap();
    fs::write(dir.path().join("a.cursor.new"), b"KANE").unwrap();
    drop(log);
    let (_, recovery) = open(dir.path(), &[("a", Begin::End)]);
    assert_eq!((recovery.lanes[0].cursor.next, recovery.lanes[0].waiting), (3, 5));
    assert!(!dir.path().join("a.cursor.new").exists());
}

#[test]
fn a_sink_that_began_at_the_end_gets_what_came_since_though_no_cursor_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 3));
    let (mut log, recovery) = open(dir.path(), &[("late", Begin::End)]);
    assert_eq!(recovery.lanes[0].waiting, 0);
    log.append(&[entry(4, 7)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let (_, recovery) = open(dir.path(), &[("late", Begin::End)]);
    assert_eq!(recovery.lanes[0].waiting, 7);
}

#[test]
fn carried_records_wait_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), 3);
    log.put_cursor("a", &Cursor { undecided: vec![undecided(1, 0..2)], ..Cursor::at(4) }).unwrap();
    log.append(&[carried(4, 2, "a", 1)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let (mut log, recovery) = open(dir.path(), &[("a", Begin::End)]);
    assert_eq!(recovery.lanes[0].waiting, 2);
    log.put_cursor("a", &Cursor::at(4)).unwrap();
    drop(log);
    let (mut log, recovery) = open(dir.path(), &[("a", Begin::End)]);
    assert_eq!(recovery.lanes[0].waiting, 2);
    log.put_cursor("a", &Cursor { decided: vec![4], ..Cursor::at(4) }).unwrap();
    drop(log);
    assert_eq!(open(dir.path(), &[("a", Begin::End)]).1.lanes[0].waiting, 0);
}
