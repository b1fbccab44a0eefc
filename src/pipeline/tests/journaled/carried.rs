//! Records that were carried, over restarts.

use super::*;
use crate::journal::{Begin, Cursor, Entry, Log, Settings};
use crate::pipeline::carry;
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
    let store = Store::with([Step::Deliver].into_iter().chain(vec![Step::Away; 1_000_000]));
    let config = Config { batch_max_records: 1.try_into().unwrap(), ..quick() };
    let kept = Kept::start(&folder, &store, config.clone(), journal());
    assert_eq!(kept.terms().accepted, 3);
    kept.until(|terms| terms.delivered == 1).await;
    assert_eq!(kept.end().await, drain::Rest { dropped: 0, kept: 2 });

    store.script.lock().unwrap().clear();
    let kept = Kept::start(&folder, &store, config, journal());
    assert_eq!(kept.terms().accepted, 3);
    kept.until(|terms| terms.waiting == 0).await;
    let terms = kept.terms();
    assert_eq!((terms.accepted, terms.delivered), (3, 3), "{terms:?}");
    assert_eq!(store.values(), ["n000002", "n000003", "w"]);
    kept.end().await;
}
