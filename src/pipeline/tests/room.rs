//! What finds room and what does not, and what streams and bodies are told.

use super::super::stream::Stream;
use super::*;
use crate::source::{Bodies, Lines};

fn small(when_full: WhenFull) -> Config {
    Config {
        when_full,
        ring_bytes: unit::Size::from_bytes(2000),
        backlog_bytes: unit::Size::from_bytes(2000),
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn datagrams_that_find_no_room_are_dropped_with_the_reason() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, small(WhenFull::Wait));
    for _ in 0..100 {
        rig.send("a:1|c");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let terms = rig.lane.ledger.terms();
    assert!(terms.dropped[ledger::Drop::BacklogFull as usize] > 50, "{terms:?}");
    store.go.notify_one();
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_a_sink_and_loses_nothing() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, small(WhenFull::Wait));
    let mut stream = Stream::new(Arc::clone(&rig.ingest), origin(), None);
    let mut sent = 0;
    let blocked = loop {
        stream.lines(b"a:1|c\n");
        sent += 1;
        if tokio::time::timeout(Duration::from_secs(5), stream.flush()).await.is_err() {
            break sent;
        }
        assert!(sent < 1000, "nothing holds it back");
    };
    assert!(blocked > 5);
    store.go.notify_one();
    tokio::time::sleep(Duration::from_secs(5)).await;
    stream.lines(b"b:1|c\n!sync\n");
    stream.flush().await;
    let synced = stream.sync().await;
    assert_eq!(synced.error, None);
    // The chunk whose flush was given up above was not taken: a source never gives up a flush.
    assert_eq!(synced.accepted, blocked + 1);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_loses_the_chunk_for_a_sink_that_says_drop() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, small(WhenFull::Drop));
    let mut stream = Stream::new(Arc::clone(&rig.ingest), origin(), None);
    for _ in 0..100 {
        stream.lines(b"a:1|c\n");
        stream.flush().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    store.go.notify_one();
    let synced = stream.sync().await;
    assert_eq!((synced.accepted, synced.rejected), (100, 0));
    assert!(synced.error.unwrap().contains("backlog_full"));
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn sync_tells_of_rejected_reports_and_of_those_that_are_late() {
    let store = Store::with([Step::Each, Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    let mut stream = Stream::new(Arc::clone(&rig.ingest), origin(), None);
    stream.lines(b"a:1|c\nr:1|c\nnonsense\n");
    stream.flush().await;
    let synced = stream.sync().await;
    assert_eq!((synced.accepted, synced.rejected), (2, 1));
    assert_eq!(synced.error.unwrap(), "sink store rejected a report: bad");
    stream.lines(b"b:1|c\n");
    stream.flush().await;
    let late = stream.sync();
    stream.lines(b"c:1|c\n");
    stream.flush().await;
    let both = stream.sync();
    assert!(late.await.error.unwrap().starts_with("not stored within 10s"));
    store.go.notify_one();
    // Its time began when it was asked for, and is over too.
    assert!(both.await.error.is_some());
    stream.lines(b"d:1|c\n");
    stream.flush().await;
    assert_eq!(stream.sync().await.error, None);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn before_the_end_a_store_in_trouble_is_tried_at_once() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    store.script.lock().unwrap().extend(vec![Step::Away; 10]);
    rig.send("a:1|c");
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Retrying);
    store.script.lock().unwrap().clear();
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
    assert_eq!(store.values(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_a_sink_is_let_go_at_the_end() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, small(WhenFull::Wait));
    let mut stream = Stream::new(Arc::clone(&rig.ingest), origin(), None);
    let mut lines = 0;
    let flush = loop {
        stream.lines(b"a:1|c\n");
        lines += 1;
        let mut flush = Box::pin(stream.flush());
        if tokio::time::timeout(Duration::from_secs(5), flush.as_mut()).await.is_err() {
            break flush;
        }
        drop(flush);
    };
    rig.ingest.dispatch.end();
    flush.await;
    let terms = rig.lane.ledger.terms();
    assert_eq!((terms.accepted, terms.dropped[ledger::Drop::Shutdown as usize]), (lines, 1));
    let synced = stream.sync();
    store.go.notify_one();
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    assert_eq!(synced.await.error.unwrap(), "sink store dropped reports: shutdown");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_full_by_its_bytes_does_not_wait() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config { batch_max_bytes: unit::Size::from_bytes(60), ..Config::default() });
    for _ in 0..5 {
        rig.send("twelve.bytes:1|c");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!store.batches.lock().unwrap().is_empty());
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_comes_after_a_late_answer_is_told_by_the_next() {
    // Ten attempts take more than the ten seconds that an answer may, whatever chance takes off the pauses.
    let store = Store::with([vec![Step::Away; 10], vec![Step::Each]].concat());
    let rig = Rig::new(&store, Config::default());
    let mut stream = Stream::new(Arc::clone(&rig.ingest), origin(), None);
    stream.lines(b"r:1|c\n");
    stream.flush().await;
    assert!(stream.sync().await.error.unwrap().starts_with("not stored within"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    let next = stream.sync().await;
    assert_eq!((next.accepted, next.error.as_deref()), (0, Some("sink store rejected a report: bad")));
    assert_eq!(stream.sync().await.error, None);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_goes_to_a_sink_whole_or_not_at_all() {
    let store = Store::with([Step::Hang]);
    let config = Config { ring_bytes: unit::Size::from_kib(400), ..small(WhenFull::Drop) };
    let rig = Rig::new(&store, config);
    let intake = body::Body::new(Arc::clone(&rig.ingest), origin(), false);
    // One of these bodies has three chunks; two of them fit, so that the next one would fit in part.
    let body = || "a.longer.name.of.a.metric:1|c\n".repeat(4000).into_bytes();
    for _ in 0..6 {
        intake.body(body(), None, None).await.unwrap();
    }
    let terms = rig.lane.ledger.terms();
    assert_eq!((terms.accepted, terms.accepted % 4000), (24_000, 0));
    let dropped: u64 = terms.dropped.iter().sum();
    assert!(dropped > 0 && dropped.is_multiple_of(4000), "{terms:?}");
    store.go.notify_one();
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_key_gets_the_same_ids_again() {
    let store = Store::with([]);
    let rig = Rig::new(&store, Config::default());
    let intake = body::Body::new(Arc::clone(&rig.ingest), origin(), false);
    let body = || "a:1:2|c\nnonsense\nb:1|c\n".repeat(5000).into_bytes();
    for key in ["one", "one", "two"] {
        let taken = intake.body(body(), Some(key.into()), None).await.unwrap();
        assert_eq!((taken.accepted, taken.rejected, taken.errors.len()), (10_000, 5000, 100));
        assert_eq!((taken.errors[99].line, taken.error), (299, None));
    }
    assert_eq!(store.values().len(), 30_000);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}
