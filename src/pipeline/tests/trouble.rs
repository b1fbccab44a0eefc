//! Records that alone are refused for the moment: they hold up nobody, and after `retry_limit` they are dead letters.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Sends a report every two seconds for so long. Each was stored within two seconds.
async fn traffic(rig: &Rig, duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        let before = rig.lane.ledger.terms().delivered;
        rig.send("other:1|c");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(rig.lane.ledger.terms().delivered > before, "it was held up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_stays_refused_while_others_are_stored_is_a_dead_letter_after_the_limit() {
    for lines in ["a:1|c\nw:1|c", "w:1|c"] {
        let store = Store::with([Step::Stuck]);
        let rig = Rig::new(&store, Config::default());
        rig.send(lines);
        traffic(&rig, 59 * MINUTE).await;
        assert_eq!(*rig.letters.0.lock().unwrap(), [""; 0], "{lines}");
        traffic(&rig, 3 * MINUTE).await;
        assert_eq!(*rig.letters.0.lock().unwrap(), ["w"], "{lines}");
        let lane = Arc::clone(&rig.lane);
        assert_eq!(rig.end(MINUTE).await, 0);
        assert_eq!(lane.ledger.terms().rejected["retry_limit"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_full_outage_nothing_expires_and_its_time_does_not_count() {
    let store = Store::with([Step::Stuck]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c\nw:1|c");
    traffic(&rig, 30 * MINUTE).await;
    *store.script.lock().unwrap() = vec![Step::Away; 10_000].into();
    rig.send("during:1|c");
    tokio::time::sleep(180 * MINUTE).await;
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Retrying);
    assert_eq!(*rig.letters.0.lock().unwrap(), [""; 0]);
    *store.script.lock().unwrap() = VecDeque::from([Step::Stuck]);
    tokio::time::sleep(MINUTE).await;
    traffic(&rig, 20 * MINUTE).await;
    assert_eq!(*rig.letters.0.lock().unwrap(), [""; 0], "30 and 20 minutes beside the outage");
    traffic(&rig, 12 * MINUTE).await;
    assert_eq!(*rig.letters.0.lock().unwrap(), ["w"]);
    assert_eq!(rig.end(MINUTE).await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_others_a_refused_record_waits_for_as_long_as_it_takes() {
    let store = Store::with([Step::Stuck]);
    let rig = Rig::new(&store, Config::default());
    rig.send("w:1|c");
    tokio::time::sleep(600 * MINUTE).await;
    assert_eq!((rig.lane.ledger.terms().waiting, rig.lane.ledger.terms().rejected.len()), (1, 0));
    *store.script.lock().unwrap() = VecDeque::new();
    assert_eq!(rig.end(MINUTE).await, 0);
    assert_eq!(store.values(), ["w"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_none() {
    let store = Store::with([Step::Stuck]);
    let rig = Rig::new(&store, Config { retry_limit: unit::Duration::default(), ..Config::default() });
    rig.send("a:1|c\nw:1|c");
    traffic(&rig, 120 * MINUTE).await;
    assert_eq!(rig.lane.ledger.terms().waiting, 1);
    assert_eq!(rig.end(MINUTE).await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_may_be_to_blame_each_is_tried() {
    // Both come alone while the store is away. Then it takes one of them.
    let store = Store::with([Step::Away, Step::Away, Step::Stuck]);
    let rig = Rig::new(&store, Config::default());
    for line in ["w:1|c", "a:1|c"] {
        rig.send(line);
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    tokio::time::sleep(MINUTE).await;
    assert_eq!(store.values(), ["a"]);
    assert_eq!(rig.end(MINUTE).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_too_slow_for_a_whole_batch_gets_smaller_ones_and_then_larger_ones_again() {
    let store = Store::with([Step::Slow(60)]);
    let rig = Rig::new(&store, Config::default());
    let lines = |from: usize| (from..from + 1000).map(|n| format!("n{n}:1|c\n")).collect::<String>();
    rig.send(&lines(0));
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(rig.lane.ledger.terms().delivered, 1000);
    assert!(store.batches.lock().unwrap().iter().filter(|records| **records > 60).count() < 20);
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Ok);
    store.script.lock().unwrap().clear();
    // Each that is taken makes the next one larger.
    for round in 1..=20 {
        rig.send(&lines(1000 * round));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(store.batches.lock().unwrap().last(), Some(&1000));
    assert_eq!(rig.end(MINUTE).await, 0);
    assert_eq!(store.rows.lock().unwrap().len(), 21_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_not_taken_for_a_slow_one() {
    let store = Store::with(vec![Step::Away; 40]);
    let rig = Rig::new(&store, Config::default());
    rig.send(&(0..100).map(|n| format!("n{n}:1|c\n")).collect::<String>());
    assert_eq!(rig.end(60 * MINUTE).await, 0);
    assert_eq!(*store.batches.lock().unwrap(), [100; 41]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_answer_at_all_is_in_trouble_until_it_does() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    rig.send("a:1|c");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Ok);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (state, error) = rig.lane.health.condition.get();
    assert_eq!(
        (state, error.as_deref()),
        (crate::status::State::Retrying, Some("it has not answered for 30 s"))
    );
    store.go.notify_one();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.lane.health.condition.get().0, crate::status::State::Ok);
    assert_eq!(rig.end(MINUTE).await, 0);
}
