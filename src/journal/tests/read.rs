//! What readers find while the log is written.

use super::*;
use crate::record::{ChunkId, LineOrigin};

fn log() -> (tempfile::TempDir, Log<Folder>) {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Folder::open(dir.path()).unwrap(), SMALL, &[], &[]).unwrap();
    (dir, log)
}

#[test]
fn a_chunk_comes_back_with_all_that_was_known_of_it() {
    let (_dir, mut log) = log();
    let lines = "a:1:2.5|ms|#x,y:z\n\n\nb:text|s|i:id-1|h:there\n{\"name\":\"c\",\"metric\":\"k\",\"value\":{\"d\":[1]}}\n";
    let mut plain = open_chunk(lines);
    let mut known = open_chunk(lines);
    known.set_line_base(ChunkId::new(), 700);
    known.set_line_origin(LineOrigin { at: 0, id: "task-1".into(), time: Some(17), position: None });
    known.set_line_origin(LineOrigin { at: 20, id: "é".into(), time: None, position: Some(99) });
    known.set_target(Some("sqlite".into()));
    let mut sent = OpenChunk::new(Origin { dialect: Dialect::Statsd, ..origin() });
    sent.begin_read(17);
    for (at, address) in ["127.0.0.1", "::1"].into_iter().enumerate() {
        sent.begin_peer(address.parse().unwrap());
        sent.append(b"g:-1|g\n");
        let (bytes, table) = sent.parts();
        let line = &bytes[7 * at..7 * at + 6];
        parse(line, Dialect::Statsd, &Limits::NONE, &mut |record| table.push(&record, bytes, 7 * at))
            .unwrap();
        sent.begin_read(1000);
    }
    let group: Vec<_> = [&mut plain, &mut known, &mut sent]
        .into_iter()
        .zip(1..)
        .map(|(open, sequence)| sealed(std::mem::replace(open, OpenChunk::new(origin())), sequence))
        .collect();
    log.append(&group).unwrap();
    let block = Reader::new(log.extent(), 0).read(usize::MAX).unwrap();
    assert_eq!((block.entries.len(), block.through, block.miscounted), (3, 3, 0));
    for (found, entry) in block.entries.iter().zip(&group) {
        assert_eq!(shown(&found.chunk), shown(&entry.chunk));
        assert_eq!(found.chunk.bytes(), entry.chunk.bytes());
        assert_eq!((found.records as usize, found.carries), (entry.chunk.len(), None));
        assert_eq!(found.chunk.has_client_ids(), entry.chunk.has_client_ids());
    }
}

#[test]
fn a_reader_goes_as_far_as_is_written_and_on_when_more_is() {
    let (_dir, mut log) = log();
    let mut reader = Reader::new(log.extent(), 0);
    let block = reader.read(1000).unwrap();
    assert!(block.entries.is_empty() && block.is_end);
    for sequence in 1..100 {
        log.append(&[entry(2 * sequence, 3)]).unwrap();
        let block = reader.read(1000).unwrap();
        assert_eq!((sequences(&block), block.through), (vec![2 * sequence], 2 * sequence));
        assert_eq!(block.gone_before, if sequence == 1 { 2 } else { 0 });
    }
    assert!(log.segments().len() > 10);
}

#[test]
fn a_reader_begins_in_the_middle_and_takes_about_as_much_as_it_is_asked_to() {
    let (_dir, mut log) = log();
    for sequence in 1..50 {
        log.append(&[entry(2 * sequence, 10)]).unwrap();
    }
    for from in 0..100 {
        let mut reader = Reader::new(log.extent(), from);
        let block = reader.read(1).unwrap();
        let expected = from.max(2).next_multiple_of(2);
        assert_eq!(sequences(&block), if expected < 100 { vec![expected] } else { vec![] }, "{from}");
    }
    let lines = entry(2, 10).chunk.bytes().len();
    assert_eq!(sequences(&Reader::new(log.extent(), 0).read(lines + 1).unwrap()), [2, 4]);
}

#[test]
fn places_that_are_remembered_spare_a_reader_what_is_before() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { segment_size: 1 << 30 };
    let (mut log, _) = Log::open(Folder::open(dir.path()).unwrap(), settings, &[], &[]).unwrap();
    for sequence in 1..60 {
        log.append(&[entry(sequence, 9000)]).unwrap();
    }
    let known = log.extent();
    let known = known.lock();
    for sequence in 1..60 {
        let scan = known.scan(0, sequence);
        assert!(scan.at() <= known.scan(0, sequence + 1).at());
        assert!(scan.at() + (2 << 20) > known.segments[0].end / 59 * sequence, "{sequence}");
    }
    drop(known);
    for sequence in 1..60 {
        assert_eq!(sequences(&Reader::new(log.extent(), sequence).read(1).unwrap()), [sequence]);
    }
}

#[test]
fn a_segment_that_is_removed_under_a_reader_is_said_to_be_gone() {
    let (_dir, mut log) = log();
    for sequence in 1..40 {
        log.append(&[entry(sequence, 5)]).unwrap();
    }
    let mut reader = Reader::new(log.extent(), 0);
    assert_eq!(sequences(&reader.read(1).unwrap()), [1]);
    log.remove_oldest().unwrap();
    log.remove_oldest().unwrap();
    let first = log.oldest().unwrap().first;
    let block = reader.read(1).unwrap();
    assert_eq!((sequences(&block), block.gone_before), (vec![first], first));
    assert_eq!(reader.read(usize::MAX).unwrap().entries.len() as u64, 39 - first);
}

#[test]
fn records_that_are_not_what_they_were_are_reported() {
    let (_dir, mut log) = log();
    // Written by a version that took for a report what this one does not.
    let mut open = open_chunk("a:1|c\nb:1|c\n");
    open.blank(0..6);
    log.append(&[sealed(open, 1)]).unwrap();
    let block = Reader::new(log.extent(), 0).read(1).unwrap();
    assert_eq!((block.miscounted, block.entries[0].records, block.entries[0].chunk.len()), (1, 2, 1));
}

#[test]
fn what_is_unreadable_is_passed_over_and_counted_and_a_segment_can_be_given_up() {
    let (dir, mut log) = log();
    for sequence in 1..=20 {
        log.append(&[entry(sequence, 5)]).unwrap();
    }
    let second = log.segments()[1].clone();
    let heads = log.heads(second.first).unwrap();
    let path = dir.path().join(format!("{:020}.log", second.first));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[48 + 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = Reader::new(log.extent(), second.first);
    let block = reader.read(1).unwrap();
    assert_eq!((block.corrupt_entries, block.corrupt_bytes), (1, heads[0].bytes));
    assert_eq!(sequences(&block), [heads[1].sequence]);
    // Another sink finds it too.
    let block = Reader::new(log.extent(), second.first).read(1).unwrap();
    assert_eq!((block.corrupt_entries, block.corrupt_bytes), (0, 0));
    // The file is cut off behind the log's back.
    std::fs::write(&path, b"").unwrap();
    let mut reader = Reader::new(log.extent(), second.first);
    let block = reader.read(1).unwrap();
    assert_eq!((block.corrupt_entries, block.corrupt_bytes), (0, second.bytes - 48 - heads[0].bytes));
    assert_eq!(sequences(&block), [second.last + 1]);
    // Or it is gone, and then no read gets past it.
    std::fs::remove_file(&path).unwrap();
    let mut reader = Reader::new(log.extent(), second.first - 1);
    assert_eq!(sequences(&reader.read(1).unwrap()), [second.first - 1]);
    assert!(reader.read(1).is_err());
    assert!(reader.read(1).is_err());
    assert_eq!(reader.skip_segment(), second.bytes - 48);
    assert_eq!(sequences(&reader.read(1).unwrap()), [second.last + 1]);
    // In the newest segment it gives up what is written by now.
    reader.skip_segment();
    while log.written() < 30 {
        reader = Reader::new(log.extent(), log.written());
        reader.skip_segment();
        log.append(&[entry(log.written() + 1, 5)]).unwrap();
        assert_eq!(sequences(&reader.read(usize::MAX).unwrap()), [log.written()]);
    }
}
