//! Messages of a queue: what is taken once, when the broker may forget it, and what becomes a dead letter.

use super::super::queue::{Letters, Queue};
use super::*;
use crate::source::{Counters, Kept, Message, Messages, Took, Unread};

struct Intake {
    queue: Queue,
    counters: Arc<Counters>,
    folder: tempfile::TempDir,
}

impl Intake {
    fn new(rig: &Rig) -> Intake {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let letters = Letters::new(Some(folder.path().join("dead/letters.jsonl")), 1000);
        let queue = Queue::new(Arc::clone(&rig.ingest), origin(), Arc::clone(&counters), letters);
        Intake { queue, counters, folder }
    }

    fn take(&mut self, id: &str, name: &str) -> Took {
        let line = format!(r#"{{"name":"{name}","metric":"counter","value":1}}"#);
        self.queue.message(&Message { line: line.as_bytes(), id: Some(id), received: Some(5) })
    }

    fn letters(&self, name: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join("dead").join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// messages, taken, known, unread
    fn counted(&self) -> [u64; 4] {
        let queue = &self.counters.queue;
        let counted =
            [&queue.messages, &queue.taken, &queue.known, &queue.unread].map(crate::telemetry::Counter::get);
        assert_eq!(counted[0], counted[1] + counted[2] + counted[3]);
        counted
    }
}

fn unread(id: &str) -> Unread<'_> {
    Unread { bytes: b"\xff", id: Some(id), code: "not_finite", reason: "no \"number\"" }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_kept_when_every_sink_has_decided_it_and_has_the_id_of_its_queue() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    let mut intake = Intake::new(&rig);
    assert_eq!(intake.take("task-1", "a"), Took::Taken);
    let mut kept = intake.queue.flush().await;
    intake.queue.hurry();
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut kept).await.is_err());
    store.go.notify_one();
    assert_eq!(kept.await, Kept::Stored);
    assert_eq!(store.rows.lock().unwrap().keys().collect::<Vec<_>>(), ["task-1"]);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_stored_once_until_it_is_forgotten() {
    let store = Store::with([Step::Hang]);
    let rig = Rig::new(&store, Config::default());
    let mut intake = Intake::new(&rig);
    assert_eq!(intake.take("1", "a"), Took::Taken);
    let first = intake.queue.flush().await;
    assert_eq!(intake.take("1", "a"), Took::Known);
    let mut again = intake.queue.flush().await;
    intake.queue.hurry();
    // It waits for the first time's receipt.
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut again).await.is_err());
    store.go.notify_one();
    assert_eq!((first.await, again.await), (Kept::Stored, Kept::Stored));
    assert_eq!(intake.take("1", "a"), Took::Known);
    intake.queue.forget("1");
    assert_eq!(intake.take("1", "a"), Took::Taken);
    assert_eq!(intake.counted(), [4, 2, 2, 0]);
    drop(intake.queue.flush().await);
    let lane = Arc::clone(&rig.lane);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
    assert_eq!(lane.ledger.terms().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_shutdown_loses_stays_with_the_queue_and_so_does_all_that_follows() {
    let store = Store::with(vec![Step::Away; 1000]);
    let rig = Rig::new(&store, Config::default());
    let mut intake = Intake::new(&rig);
    assert_eq!(intake.take("1", "a"), Took::Taken);
    let first = intake.queue.flush().await;
    assert_eq!(intake.take("1", "a"), Took::Known);
    let again = intake.queue.flush().await;
    assert_eq!(rig.end(Duration::from_secs(1)).await, 1);
    assert_eq!((first.await, again.await), (Kept::Lost, Kept::Lost));
}

#[tokio::test(start_paused = true)]
async fn what_a_store_refuses_for_good_is_decided() {
    let store = Store::with([Step::Each]);
    let rig = Rig::new(&store, Config::default());
    let mut intake = Intake::new(&rig);
    assert_eq!(intake.take("1", "refused"), Took::Taken);
    assert_eq!(intake.queue.flush().await.await, Kept::Decided);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn what_is_no_report_is_a_dead_letter_before_it_is_kept() {
    let rig = Rig::new(&Store::with([]), Config::default());
    let mut intake = Intake::new(&rig);
    assert_eq!(intake.queue.unread(&unread("1")), Took::Taken);
    assert!(matches!(intake.take("2", ""), Took::Refused("no_name", _)));
    assert_eq!(intake.queue.unread(&unread("1")), Took::Known);
    assert_eq!(intake.letters("letters.jsonl").len(), 0);
    assert_eq!(intake.queue.flush().await.await, Kept::Stored);
    let letters = intake.letters("letters.jsonl");
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (&letters[0]["id"], &letters[0]["reason"], &letters[0]["detail"], &letters[0]["message_base64"]),
        (&"1".into(), &"not_finite".into(), &"no \"number\"".into(), &"/w==".into())
    );
    assert_eq!((&letters[1]["id"], &letters[1]["reason"]), (&"2".into(), &"no_name".into()));
    assert_eq!(letters[1]["message"], r#"{"name":"","metric":"counter","value":1}"#);
    assert_eq!(intake.counted(), [3, 0, 1, 2]);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn a_full_file_of_dead_letters_is_kept_beside_the_next() {
    let rig = Rig::new(&Store::with([]), Config::default());
    let mut intake = Intake::new(&rig);
    for number in 0..20 {
        let id = number.to_string();
        assert_eq!(intake.queue.unread(&unread(&id)), Took::Taken);
        assert_eq!(intake.queue.flush().await.await, Kept::Stored);
    }
    let (before, last) = (intake.letters("letters.jsonl.1"), intake.letters("letters.jsonl"));
    assert!((2..20).contains(&(before.len() + last.len())), "{} {}", before.len(), last.len());
    assert_eq!(last.last().unwrap()["id"], "19");
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_leaves_its_message_with_the_queue() {
    let rig = Rig::new(&Store::with([]), Config::default());
    let mut intake = Intake::new(&rig);
    std::fs::write(intake.folder.path().join("dead"), "a file where a folder has to be").unwrap();
    assert_eq!(intake.queue.unread(&unread("1")), Took::Taken);
    assert_eq!(intake.queue.flush().await.await, Kept::Lost);
    assert_eq!(intake.counters.queue.letters_failed.get(), 1);
    // It comes again before anybody has forgotten it.
    std::fs::remove_file(intake.folder.path().join("dead")).unwrap();
    assert_eq!(intake.queue.unread(&unread("1")), Took::Taken);
    assert_eq!(intake.queue.flush().await.await, Kept::Stored);
    assert_eq!(intake.letters("letters.jsonl").len(), 1);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_chunk_asks_to_be_flushed_and_then_takes() {
    let rig = Rig::new(&Store::with([]), Config::default());
    let mut intake = Intake::new(&rig);
    let mut taken = 0;
    let full = loop {
        match intake.take(&taken.to_string(), &"x".repeat(500)) {
            Took::Taken => taken += 1,
            other => break other,
        }
    };
    assert_eq!(full, Took::Full);
    assert!((100..200).contains(&taken));
    drop(intake.queue.flush().await);
    assert_eq!(intake.take(&taken.to_string(), "x"), Took::Taken);
    assert_eq!(intake.counted()[0], taken + 1);
    drop(intake.queue.flush().await);
    assert_eq!(rig.end(Duration::from_secs(1)).await, 0);
}
