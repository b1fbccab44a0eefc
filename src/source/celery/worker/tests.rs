//! The worker with a broker and an intake that a test holds in its hands.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::Counters;

/// A queue at a broker that delivers again what was not acknowledged when the connection ends.
#[derive(Debug, Clone, Default)]
struct Queue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<String>,
    held: Vec<(u64, String)>,
    deliveries: u64,
    is_failing: bool,
    /// Further headers of each message.
    times: &'static str,
    acknowledged: Vec<String>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Broker for Queue {
    type Tag = u64;
    type Error = &'static str;
    const CONFIRMS: bool = false;
    const HURRY_PART: usize = 2;

    fn place(&self) -> String {
        "here".to_owned()
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn disconnect(&mut self) {
        let mut state = self.state();
        let held = std::mem::take(&mut state.held);
        held.into_iter().rev().for_each(|(_, id)| state.waiting.push_front(id));
        state.is_failing = false;
    }

    fn holds(&self, tag: &u64) -> bool {
        self.state().held.iter().any(|(other, _)| other == tag)
    }

    async fn take(&mut self, most: usize) -> Result<Vec<Delivery<u64>>, &'static str> {
        let mut state = self.state();
        if state.is_failing {
            return Err("it fails");
        }
        let count = most.min(state.waiting.len());
        let ids: Vec<_> = state.waiting.drain(..count).collect();
        let deliver = |id: String| {
            state.deliveries += 1;
            let (tag, times) = (state.deliveries, state.times);
            let envelope = format!(
                r#"{{"body":"[[\"{id}\",\"gauge\",1],{{}}]","content-type":"application/json","headers":{{"task":"kaneda.tasks.celery.report","id":"{id}"{times}}},"properties":{{}}}}"#
            );
            state.held.push((tag, id));
            Delivery::enveloped(tag, envelope.into_bytes())
        };
        Ok(ids.into_iter().map(deliver).collect())
    }

    async fn ready(&mut self) {
        std::future::pending().await
    }

    async fn acknowledge(&mut self, tags: &[u64]) -> Result<(), &'static str> {
        let mut state = self.state();
        let done: Vec<_> = state.held.extract_if(.., |(tag, _)| tags.contains(tag)).collect();
        assert_eq!(done.len(), tags.len(), "of another connection");
        state.acknowledged.extend(done.into_iter().map(|(_, id)| id));
        Ok(())
    }

    async fn reject(&mut self, _: &[u64]) -> Result<(), &'static str> {
        unreachable!()
    }

    async fn give_back(&mut self, _: &[u64], _: End) -> Result<(), &'static str> {
        unreachable!()
    }

    fn has_to_tend(&self) -> bool {
        false
    }

    async fn tend(&mut self) -> Result<Tended, &'static str> {
        Ok(Tended::default())
    }

    async fn end(mut self, _: &[u64]) -> Result<(), &'static str> {
        self.disconnect();
        Ok(())
    }
}

/// What an intake met.
#[derive(Debug, Default)]
struct Met {
    taken: Vec<String>,
    known: Vec<String>,
    forgotten: Vec<String>,
}

/// An intake whose receipts are complete when a test says so.
struct Intake {
    met: Arc<Mutex<Met>>,
    are_complete: watch::Receiver<bool>,
}

impl Messages for Intake {
    type Kept = std::pin::Pin<Box<dyn Future<Output = Kept> + Send>>;

    fn message(&mut self, message: &Message<'_>) -> Took {
        let id = message.id.unwrap().to_owned();
        let mut met = self.met.lock().unwrap();
        if met.taken.contains(&id) && !met.forgotten.contains(&id) {
            met.known.push(id);
            return Took::Known;
        }
        met.taken.push(id);
        Took::Taken
    }

    fn unread(&mut self, _: &Unread<'_>) -> Took {
        unreachable!()
    }

    async fn flush(&mut self) -> Self::Kept {
        let mut are_complete = self.are_complete.clone();
        Box::pin(async move {
            are_complete.wait_for(|are_complete| *are_complete).await.unwrap();
            Kept::Stored
        })
    }

    fn hurry(&self) {}

    fn forget(&mut self, id: &str) {
        self.met.lock().unwrap().forgotten.push(id.to_owned());
    }
}

struct Running {
    queue: Queue,
    met: Arc<Mutex<Met>>,
    counters: Arc<Counters>,
    complete: watch::Sender<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(ids: &[&str], prefetch: usize) -> Running {
    let queue = Queue::default();
    queue.state().waiting.extend(ids.iter().map(|id| (*id).to_owned()));
    let (complete, are_complete) = watch::channel(false);
    let met = Arc::new(Mutex::new(Met::default()));
    let intake = Intake { met: Arc::clone(&met), are_complete };
    let stop = CancellationToken::new();
    let counters = Arc::new(Counters::default());
    let context = Context { stop: stop.clone(), counters: Arc::clone(&counters) };
    let config = Config { prefetch: Some(prefetch), ..Config::default() };
    let task = tokio::spawn(run(queue.clone(), None, intake, context, config));
    Running { queue, met, counters, complete, stop, task }
}

impl Running {
    /// Lets it work until it is so.
    async fn until(&self, is_so: impl Fn(&State, &Met) -> bool) {
        // The clock stands still but for who sleeps.
        while !is_so(&self.queue.state(), &self.met.lock().unwrap()) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> (Queue, Arc<Mutex<Met>>) {
        self.stop.cancel();
        self.task.await.unwrap();
        (self.queue, self.met)
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_when_the_connection_has_died_is_known_and_acknowledged_by_its_new_tag() {
    let running = start(&["a", "b", "c"], 10);
    running.until(|_, met| met.taken.len() == 3).await;
    running.queue.state().is_failing = true;
    running.until(|_, met| met.known.len() == 3).await;
    // Now the receipts of both deliveries are complete: of the first nothing is told any more.
    running.complete.send(true).unwrap();
    running.until(|queue, _| queue.acknowledged.len() == 3).await;
    let (queue, met) = running.end().await;
    assert_eq!(queue.state().acknowledged, ["a", "b", "c"]);
    assert_eq!(met.lock().unwrap().taken, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_known_however_often_the_connection_dies() {
    let running = start(&["a", "b"], 3);
    running.until(|_, met| met.taken.len() == 2).await;
    for times in 1..=3 {
        running.queue.state().is_failing = true;
        running.until(|_, met| met.known.len() + met.taken.len() == 2 + 2 * times).await;
    }
    running.complete.send(true).unwrap();
    running.until(|queue, _| queue.acknowledged.len() == 2).await;
    let (_, met) = running.end().await;
    assert_eq!(met.lock().unwrap().taken, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn ids_are_kept_for_as_many_messages_as_may_come_again_until_the_broker_has_heard_the_end() {
    let running = start(&["a", "b", "c", "d", "e"], 2);
    running.complete.send(true).unwrap();
    running.until(|queue, _| queue.acknowledged.len() == 5).await;
    assert_eq!(running.met.lock().unwrap().forgotten, ["a", "b", "c"]);
    let (_, met) = running.end().await;
    assert_eq!(met.lock().unwrap().forgotten, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_prefetch_are_in_hand_and_what_has_no_receipt_at_the_end_goes_back() {
    let running = start(&["a", "b", "c"], 2);
    running.until(|queue, _| queue.held.len() == 2).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.queue.state().waiting, ["c"]);
    let (queue, _) = running.end().await;
    assert_eq!(queue.state().waiting, ["a", "b", "c"]);
    assert_eq!(queue.state().acknowledged, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_time_is_over_before_it_has_come_has_expired() {
    let running = start(&["a", "b"], 10);
    running.queue.state().times = r#","eta":"2200-01-01T00:00:10Z","expires":"2200-01-01T00:00:09Z""#;
    let until = running.until(|queue, _| queue.acknowledged.len() == 2);
    timeout(Duration::from_secs(60), until).await.expect("it was put aside");
    assert_eq!((running.counters.queue.messages.get(), running.counters.queue.expired.get()), (2, 2));
    assert_eq!(running.met.lock().unwrap().taken, [""; 0]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_time_is_over_after_it_has_come_waits_for_it() {
    let running = start(&["a"], 10);
    running.queue.state().times = r#","eta":"2200-01-01T00:00:10Z","expires":"2200-01-01T00:00:10Z""#;
    running.until(|queue, _| queue.held.len() == 1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.counters.queue.expired.get(), 0);
    let (queue, _) = running.end().await;
    assert_eq!(queue.state().waiting, ["a"]);
}
