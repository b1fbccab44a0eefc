//! What the log knows of the messages of queues.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::disk::Disk;
use super::*;
use crate::journal::known::file;
use crate::record::LineOrigin;

fn open(path: &Path, queues: &[&str]) -> (Log<Folder>, Recovery) {
    Log::open(Folder::open(path).unwrap(), SMALL, &[("a", Begin::Start)], queues).unwrap()
}

/// An entry with a message of each of these ids, the number of which is its time.
fn messages(sequence: u64, source: &str, ids: std::ops::Range<i64>) -> Entry {
    let mut open = OpenChunk::new(Origin { source: source.into(), ..origin() });
    for id in ids {
        open.begin_read(id * 1000);
        let at = open.append(format!("m{id}:1|c\n").as_bytes()).start as u32;
        open.set_line_origin(LineOrigin { at, id: format!("{id:04}").into(), time: None, position: None });
        let (bytes, table) = open.parts();
        let line = &bytes[at as usize..];
        let line = &line[..memchr::memchr(b'\n', line).unwrap()];
        parse(line, Dialect::Kaneda, &Limits::NONE, &mut |record| table.push(&record, bytes, at as usize))
            .unwrap();
    }
    sealed(open, sequence)
}

fn known(log: &Log<Folder>) -> Vec<String> {
    let mut ids: Vec<String> = log.known(0).into_iter().map(|message| message.id.into()).collect();
    ids.sort();
    ids
}

#[test]
fn what_is_durable_and_not_confirmed_is_known_at_the_next_start_with_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), &["q"]);
    log.append(&[messages(1, "q", 0..3), messages(2, "other", 3..5)]).unwrap();
    assert_eq!(log.known(0), [], "it is not durable yet");
    log.sync().unwrap();
    log.confirm(0, "0001");
    assert_eq!(known(&log), ["0000", "0002"]);
    log.put_known(0).unwrap();
    log.append(&[messages(3, "q", 5..6)]).unwrap();
    log.sync().unwrap();
    drop(log);
    for _ in 0..2 {
        let (log, _) = open(dir.path(), &["q"]);
        assert_eq!(known(&log), ["0000", "0002", "0005"]);
        assert!(log.known(0).contains(&Message { id: "0005".into(), time: 5000 }));
    }
    // Listed by the start, so that no segment is needed for it.
    let record = file::load(&Folder::look(dir.path()).unwrap(), "q").unwrap().unwrap();
    assert_eq!((record.next, record.messages.len()), (4, 3));
}

#[test]
fn what_is_no_message_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), &["q"]);
    let mut refused = OpenChunk::new(Origin { source: "q".into(), ..origin() });
    refused.append(b"no report\nb:1|c\n");
    refused.set_line_origin(LineOrigin { at: 0, id: "refused".into(), time: None, position: None });
    refused.set_line_origin(LineOrigin { at: 10, id: "letter".into(), time: None, position: Some(7) });
    refused.blank(0..9);
    let (bytes, table) = refused.parts();
    parse(&bytes[10..15], Dialect::Kaneda, &Limits::NONE, &mut |record| table.push(&record, bytes, 10))
        .unwrap();
    let carried = Entry { carries: Some(1), ..messages(2, "q", 1..2) };
    log.append(&[sealed(refused, 1), carried]).unwrap();
    log.sync().unwrap();
    assert_eq!(log.known(0), []);
    drop(log);
    assert_eq!(open(dir.path(), &["q"]).0.known(0), []);
}

#[test]
fn a_segment_goes_only_once_what_is_in_it_is_listed() {
    for is_early in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), &["q"]);
        for sequence in 1..=10 {
            log.append(&[messages(sequence, "q", 10 * sequence as i64..10 * sequence as i64 + 10)]).unwrap();
        }
        log.sync().unwrap();
        (20..100).for_each(|id| log.confirm(0, &format!("{id:04}")));
        let first = log.oldest().unwrap().last;
        if is_early {
            log.remove_oldest().unwrap();
        } else {
            log.put_cursor("a", &Cursor::at(11)).unwrap();
            log.reclaim().unwrap();
        }
        assert!(log.oldest().unwrap().first > first);
        drop(log);
        let expected: Vec<_> = (10..20).chain(100..110).map(|id| format!("{id:04}")).collect();
        let known = known(&open(dir.path(), &["q"]).0);
        assert!(expected.iter().all(|id| known.contains(id)), "{known:?}");
    }
}

#[test]
fn a_queue_without_a_source_is_found_at_each_start_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), &["q"]);
    log.append(&[messages(1, "q", 0..3)]).unwrap();
    log.sync().unwrap();
    drop(log);
    for _ in 0..2 {
        let (_, recovery) = open(dir.path(), &[]);
        assert_eq!(recovery.orphan_queues, [OrphanQueue { name: "q".into(), messages: 3 }]);
    }
    let (log, recovery) = open(dir.path(), &["new", "q"]);
    assert_eq!((recovery.orphan_queues.len(), log.known(0).len(), log.known(1).len()), (0, 0, 3));
    drop(log);
    let (mut log, _) = open(dir.path(), &["new"]);
    assert_eq!(log.forget_queue("new").unwrap_err().kind(), ErrorKind::NotFound);
    log.forget_queue("q").unwrap();
    assert_eq!(log.forget_queue("q").unwrap_err().kind(), ErrorKind::NotFound);
    drop(log);
    // A new one begins at the end.
    assert_eq!(open(dir.path(), &["q"]).0.known(0), []);
}

#[test]
fn the_oldest_of_too_many_are_forgotten() {
    let record = |ids: std::ops::Range<i64>| known::Record {
        next: 1,
        messages: ids.map(|id| Message { id: format!("{id:04}").into(), time: id / 2 }).collect(),
    };
    for (most, left) in [(10, 10), (9, 9), (7, 7), (1, 1), (0, 0), (11, 10)] {
        let mut queue = known::Known::new("q", record(0..10));
        assert_eq!(queue.limit(most), 10 - left, "{most}");
        let messages = queue.record(0).messages;
        assert_eq!(messages.len(), left);
        // Two came at each time: either may be left.
        assert!(messages.iter().all(|message| message.time >= (9 - left as i64) / 2), "{most}: {messages:?}");
    }
    let mut queue = known::Known::new("q", record(0..10));
    assert_eq!((queue.expire(2), queue.record(0).messages.len()), (4, 6));
}

#[test]
fn a_damaged_record_is_a_refusal_to_open_and_an_unfinished_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), &["q"]));
    fs::write(dir.path().join("q.known.new"), b"KANE").unwrap();
    drop(open(dir.path(), &["q"]));
    assert!(!dir.path().join("q.known.new").exists());
    fs::File::create(dir.path().join("q.known")).unwrap().write_all(b"KANEDAKN").unwrap();
    let error = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &["q"]).unwrap_err();
    assert!(matches!(&error, OpenError::Known { file } if file == "q.known"), "{error}");
}

#[test]
fn what_the_disk_does_not_give_at_one_start_is_known_at_the_next_that_gets_it() {
    let disk = Disk::new(1);
    let open = || Log::open(disk.clone(), SMALL, &[("a", Begin::Start)], &["q"]).unwrap();
    let ids = |range: std::ops::Range<i64>| range.map(|id| format!("{id:04}")).collect::<Vec<_>>();
    let known = |log: &Log<Disk>| {
        let mut ids: Vec<String> = log.known(0).into_iter().map(|message| message.id.into()).collect();
        ids.sort();
        ids
    };
    let (mut log, _) = open();
    for sequence in 1..=10 {
        log.append(&[messages(sequence, "q", 10 * sequence as i64..10 * sequence as i64 + 10)]).unwrap();
    }
    log.sync().unwrap();
    let [_, hidden, next, ..] = &log.segments()[..] else { panic!("{:?}", log.segments()) };
    let of_hidden = 10 * hidden.first as i64..10 * next.first as i64;
    disk.hide(Some(&file_name(hidden.first)));
    let hidden = hidden.clone();
    drop(log);

    let (mut log, recovery) = open();
    assert_eq!(recovery.unread_segments, 1);
    let rest = [ids(10..of_hidden.start), ids(of_hidden.end..110)].concat();
    assert_eq!(known(&log), rest);
    log.append(&[messages(11, "q", 110..120)]).unwrap();
    log.sync().unwrap();
    (110..115).for_each(|id| log.confirm(0, &format!("{id:04}")));
    // An end in order.
    log.put_known(0).unwrap();
    drop(log);
    disk.hide(None);
    let (mut log, recovery) = open();
    assert_eq!((recovery.unread_segments, known(&log)), (0, ids(10..120)));
    disk.hide(Some(&file_name(hidden.first)));
    log.put_known(0).unwrap();
    drop(log);

    // Once that segment goes nothing is waited for, and what was confirmed stays so.
    let (mut log, _) = open();
    assert_eq!(known(&log), ids(10..120), "it was listed");
    (10..100).for_each(|id| log.confirm(0, &format!("{id:04}")));
    log.put_cursor("a", &Cursor::at(12)).unwrap();
    log.reclaim().unwrap();
    assert!(log.oldest().unwrap().first > hidden.last);
    log.put_known(0).unwrap();
    drop(log);
    assert_eq!(known(&open().0), ids(100..120));
}
