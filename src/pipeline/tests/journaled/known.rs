//! Messages of a queue whose broker did not hear that they are stored.

use super::super::super::queue::{Letters, Queue};
use super::*;
use crate::source::{Counters, Kept as Fate, Message, Messages, Took, Unread};

struct Intake {
    queue: Queue,
    counters: Arc<Counters>,
}

impl Intake {
    fn new(kept: &Kept) -> Intake {
        let counters = Arc::new(Counters::default());
        let letters = Letters::new(None, 0);
        let queue = Queue::new(Arc::clone(&kept.rig.ingest), origin(), Arc::clone(&counters), letters);
        Intake { queue, counters }
    }

    fn take(&mut self, number: usize) -> Took {
        let line = format!(r#"{{"name":"n{number:06}","metric":"counter","value":1}}"#);
        let id = format!("task-{number}");
        self.queue.message(&Message { line: line.as_bytes(), id: Some(&id), received: None })
    }

    async fn flush(&mut self) -> Fate {
        let kept = self.queue.flush().await;
        self.queue.hurry();
        kept.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_before_the_process_died_is_known_until_it_is_confirmed() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    for number in 0..6 {
        assert_eq!(intake.take(number), Took::Taken);
    }
    let refused = Message { line: b"{}", id: Some("bad"), received: None };
    assert!(matches!(intake.queue.message(&refused), Took::Refused(..)));
    assert_eq!(intake.flush().await, Fate::Stored);
    // These were confirmed, and the others were not.
    intake.queue.forget("task-0");
    intake.queue.forget("task-1");
    kept.until(|terms| terms.delivered == 6).await;
    // The verdict of the store may have been there first.
    until("on disk", || kept.journal().view().durable > 0).await;
    // In an open chunk: nobody was told of it.
    assert_eq!(intake.take(6), Took::Taken);
    drop(intake);
    kept.die().await;

    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    for number in 2..6 {
        assert_eq!(intake.take(number), Took::Known, "{number}");
    }
    assert_eq!(intake.take(6), Took::Taken);
    assert_eq!(intake.take(7), Took::Taken);
    // It was refused, which is on no disk.
    assert!(matches!(intake.queue.message(&refused), Took::Refused(..)));
    assert_eq!(intake.flush().await, Fate::Stored);
    kept.until(|terms| terms.waiting == 0 && terms.delivered >= 8).await;
    assert_eq!(intake.counters.queue.known.get(), 4);
    (2..8).for_each(|number| intake.queue.forget(&format!("task-{number}")));
    assert_eq!(intake.take(2), Took::Taken, "its broker may give the id to another message");
    assert_eq!(intake.flush().await, Fate::Stored);
    intake.queue.forget("task-2");
    drop(intake);
    kept.end().await;
    // An end in order leaves nothing that was confirmed since. Of what was before the crash that is not known.
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut left: Vec<_> =
        kept.journal().take_known("test").unwrap().into_iter().map(|message| message.id).collect();
    left.sort();
    assert_eq!(left, ["task-0", "task-1"].map(Box::from));
    assert_eq!(store.rows.lock().unwrap().keys().filter(|id| id.starts_with("task-")).count(), 8);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_outlives_the_segment_that_it_came_in() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let settings = journal::Config { segment_size: unit::Size::from_kib(4), ..journal() };
    let kept = Kept::start(&folder, &store, quick(), settings.clone());
    let mut intake = Intake::new(&kept);
    assert_eq!(intake.take(0), Took::Taken);
    assert_eq!(intake.flush().await, Fate::Stored);
    let journal = kept.journal();
    let gone = async {
        while journal.view().closed.first().is_none_or(|(first, _)| *first == 1) {
            kept.send(0..50);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the first segment goes");
    drop((intake, journal));
    kept.die().await;
    let kept = Kept::start(&folder, &store, quick(), settings);
    let mut intake = Intake::new(&kept);
    assert_eq!(intake.take(0), Took::Known);
    drop(intake);
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_the_disk_failed_is_known_in_this_process_only() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    kept.fails.store(true, Ordering::Release);
    for number in 0..2 {
        assert_eq!(intake.take(number), Took::Taken);
        assert_eq!(intake.flush().await, Fate::Stored);
        away(&kept.journal()).await;
    }
    assert_eq!(intake.take(1), Took::Known);
    assert_eq!(intake.queue.unread(&unread("1")), Took::Taken);
    drop(intake);
    kept.die().await;
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    assert_eq!(intake.take(1), Took::Taken);
    assert_eq!(intake.flush().await, Fate::Stored);
    drop(intake);
    kept.end().await;
}

fn unread(id: &str) -> Unread<'_> {
    Unread { bytes: b"x", id: Some(id), code: "bad_json", reason: "no JSON" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_has_taken_is_known_as_soon_as_a_disk_that_failed_at_the_start_works() {
    let folder = TempDir::new().unwrap();
    let store = Store::with([]);
    let kept = Kept::start(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    for number in 0..4 {
        assert_eq!(intake.take(number), Took::Taken);
    }
    assert_eq!(intake.flush().await, Fate::Stored);
    drop(intake);
    kept.end().await;

    let kept = Kept::start_failing(&folder, &store, quick(), journal());
    let mut intake = Intake::new(&kept);
    // Nothing is known yet: it is taken again, and confirmed this time.
    assert_eq!(intake.take(0), Took::Taken);
    assert_eq!(intake.take(1), Took::Taken);
    assert_eq!(intake.flush().await, Fate::Stored);
    intake.queue.forget("task-0");
    kept.fails.store(false, Ordering::Release);
    back(&kept.journal()).await;
    for number in 1..4 {
        assert_eq!(intake.take(number), Took::Known, "{number}");
    }
    assert_eq!(intake.take(0), Took::Taken, "it was confirmed");
    assert_eq!(intake.flush().await, Fate::Stored);
    // Its receipt was complete when it was on disk.
    kept.until(|terms| terms.waiting == 0).await;
    assert_eq!(store.rows.lock().unwrap().keys().filter(|id| id.starts_with("task-")).count(), 4);
    drop(intake);
    kept.end().await;
}
