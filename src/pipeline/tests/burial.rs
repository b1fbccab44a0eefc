//! A rejected record is undecided until its letter is on disk; nothing else waits for that.

use tokio::sync::Semaphore;

use super::*;

/// Keeps letters only when it is let.
#[derive(Default)]
struct Slow {
    kept: Mutex<Vec<String>>,
    details: Mutex<Vec<usize>>,
    may: Option<Semaphore>,
}

impl DeadLetter for Slow {
    fn bury(&self, _: &str, letters: Arc<[Letter]>) -> Answer<'_, ()> {
        Box::pin(async move {
            if let Some(may) = &self.may {
                may.acquire().await.unwrap().forget();
            }
            let names = letters.iter().map(|letter| text(&letter.chunk.received(letter.index)));
            self.kept.lock().unwrap().extend(names);
            let details = letters.iter().map(|letter| letter.rejection.detail.len());
            self.details.lock().unwrap().extend(details);
        })
    }
}

fn slow() -> Arc<Slow> {
    Arc::new(Slow { may: Some(Semaphore::new(0)), ..Slow::default() })
}

#[tokio::test(start_paused = true)]
async fn a_rejected_record_waits_for_its_letter_and_others_do_not() {
    let (store, letters) = (Store::with([Step::Each]), slow());
    let rig = Rig::with(&store, Config::default(), Arc::clone(&letters) as _);
    let receipt = Receipt::new();
    rig.submit("a:1|c\nr:1|c", &receipt).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.send("b:1|c");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let terms = rig.lane.ledger.terms();
    assert_eq!((terms.delivered, terms.waiting, terms.rejected.len()), (2, 1, 0));
    assert_eq!(rig.lane.letters.waiting.get(), 1);
    assert!(!receipt.is_complete());
    letters.may.as_ref().unwrap().add_permits(1);
    receipt.complete().await;
    assert_eq!(receipt.take_loss().unwrap().to_string(), "sink store rejected a report: bad");
    assert_eq!((rig.lane.ledger.terms().rejected["bad"], rig.lane.letters.waiting.get()), (1, 0));
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_cannot_be_kept_before_the_end_is_dropped_and_counted() {
    let (store, letters) = (Store::with([Step::Each]), slow());
    let rig = Rig::with(&store, Config::default(), letters);
    let lane = Arc::clone(&rig.lane);
    rig.send("a:1|c\nr1:1|c\nr2:1|c");
    assert_eq!(rig.end(Duration::from_secs(8)).await, 2);
    let terms = lane.ledger.terms();
    assert_eq!((terms.dropped[ledger::Drop::Shutdown as usize], terms.rejected.len()), (2, 0));
    assert_eq!((lane.letters.lost.get(), lane.letters.waiting.get()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_later_record_with_the_id_of_a_rejected_one_does_not_wait_for_the_letter() {
    let (store, letters) = (Store::with([Step::Each]), slow());
    let rig = Rig::with(&store, Config::default(), Arc::clone(&letters) as _);
    rig.send("r1:1|c|i:x\nr2:1|c|i:x");
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.send("good:1|c|i:x");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.values(), ["good"]);
    assert_eq!(rig.lane.ledger.terms().waiting, 2);
    letters.may.as_ref().unwrap().add_permits(9);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    // In the order of their arrival, so that replaying them in order leaves the last.
    assert_eq!(*letters.kept.lock().unwrap(), ["r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_says_is_bounded_while_letters_wait() {
    let letters = slow();
    let store = Store::with([]);
    let rig = Rig::with(&store, Config::default(), Arc::clone(&letters) as _);
    *store.detail.lock().unwrap() = "x".repeat(4096);
    let many = |n| format!("r{n}:{}|c", vec!["1"; 700].join(":"));
    for n in 0..2 {
        store.script.lock().unwrap().push_back(Step::Each);
        rig.send(&many(n));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(rig.lane.letters.waiting.get(), 1400);
    letters.may.as_ref().unwrap().add_permits(2);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
    let kept: usize = letters.details.lock().unwrap().iter().sum();
    assert_eq!(kept, 128 << 10, "32 of them, and then no more");
}

#[tokio::test(start_paused = true)]
async fn with_too_many_letters_waiting_nothing_more_is_sent() {
    let letters = slow();
    let store = Store::with(vec![Step::Each]);
    let rig = Rig::with(&store, Config::default(), Arc::clone(&letters) as _);
    for n in 0..2 {
        rig.send(&format!("r{n}:{}|c", vec!["1"; 700].join(":")));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.lane.letters.waiting.get(), 1400);
    rig.send("a:1|c");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.lane.ledger.terms().delivered, 0);
    letters.may.as_ref().unwrap().add_permits(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.lane.ledger.terms().delivered, 1);
    letters.may.as_ref().unwrap().add_permits(9);
    assert_eq!(rig.end(Duration::from_secs(60)).await, 0);
}
