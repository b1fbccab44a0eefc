//! A thread of a sink's own, for a store whose calls block.

#![cfg_attr(not(feature = "log"), allow(dead_code, reason = "but for tests only a log is opened again"))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Outcome, Rejection};
use crate::record::Batch;

/// What the thread drives. It is dropped on the thread, before [`Thread::close`] returns.
pub(super) trait Blocking: Send + 'static {
    /// Stores `batch`, or says why not.
    fn send(&mut self, batch: &Batch) -> Outcome;

    /// What the store does by itself: called after a batch of `sent` records was answered, and with 0 whenever the time
    /// that the last call returned has passed without a batch.
    fn tend(&mut self, _sent: usize) -> Duration {
        Duration::MAX
    }

    /// Opens again what was opened by name.
    fn reopen(&mut self) {}
}

/// The way to the thread. It ends with `close`, or when this is dropped.
pub(super) struct Thread {
    jobs: mpsc::Sender<Job>,
}

/// The queue of these is short: the drain waits for the answer to each batch.
enum Job {
    Send(Batch, oneshot::Sender<Outcome>),
    Reopen,
    Close(oneshot::Sender<()>),
}

impl Thread {
    /// Starts a thread for the sink `name`.
    pub(super) fn start(name: &str, store: impl Blocking) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || run(store, &queue))?;
        Ok(Thread { jobs })
    }

    /// As [`Blocking::send`].
    pub(super) async fn send(&self, batch: Batch) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let ended = || Outcome::Retry("the thread that writes has ended".into());
        if self.jobs.send(Job::Send(batch, reply)).is_err() {
            return ended();
        }
        answer.await.unwrap_or_else(|_| ended())
    }

    /// As [`Blocking::reopen`], in its turn behind the batches.
    pub(super) fn reopen(&self) {
        // A thread that has ended has nothing open.
        let _ = self.jobs.send(Job::Reopen);
    }

    /// Ends the thread.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).is_ok() {
            // An error says that the thread has ended, which is what was asked for.
            let _ = answer.await;
        }
    }
}

fn run(mut store: impl Blocking, queue: &mpsc::Receiver<Job>) {
    let mut pause = store.tend(0);
    loop {
        match queue.recv_timeout(pause) {
            Ok(Job::Send(batch, reply)) => {
                // Nobody waits for the answer any more at the end of `shutdown_timeout`.
                let _ = reply.send(send(&mut store, &batch));
                pause = store.tend(batch.len());
            }
            Ok(Job::Reopen) => store.reopen(),
            Ok(Job::Close(reply)) => {
                drop(store);
                let _ = reply.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => pause = store.tend(0),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A record on which the store's code panics must not end the thread: it is found by splitting the batch.
fn send(store: &mut impl Blocking, batch: &Batch) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| store.send(batch))).unwrap_or_else(|_| {
        Outcome::Refused(Rejection { reason: "panic", detail: "the sink panicked: see the log".into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fragile(mpsc::Sender<&'static str>);

    impl Blocking for Fragile {
        fn send(&mut self, batch: &Batch) -> Outcome {
            assert!(!batch.is_empty(), "as it was meant to");
            Outcome::Delivered
        }

        fn reopen(&mut self) {
            self.0.send("reopened").unwrap();
        }
    }

    impl Drop for Fragile {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }

    #[tokio::test]
    async fn a_panic_refuses_the_batch_and_the_thread_goes_on_until_it_is_closed() {
        let (events, seen) = mpsc::channel();
        let thread = Thread::start("fragile", Fragile(events)).unwrap();
        let Outcome::Refused(rejection) = thread.send(Batch::new()).await else { panic!("not refused") };
        assert_eq!(rejection.reason, "panic");
        thread.reopen();
        thread.close().await;
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["reopened", "dropped"]);
        assert!(matches!(thread.send(Batch::new()).await, Outcome::Retry(_)));
    }
}
