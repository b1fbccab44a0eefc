//! The thread that writes the dead letters of one sink, so that a slow disk holds up nothing else.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::files::Files;
use super::{Config, Counters, DeadLetter, Letter, Logged};
use crate::pipeline::backoff::backoff;
use crate::sink::Answer;

/// Keeps dead letters in files. What is written together is synced together; a write that fails is tried again.
#[derive(Debug)]
pub struct Keeper {
    jobs: Sender<Job>,
    said: Logged,
}

/// Letters, and who waits until they are on disk.
#[derive(Debug)]
struct Job {
    letters: Arc<[Letter]>,
    done: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts the thread for the sink `sink`. It ends when this is dropped.
    pub fn start(sink: Arc<str>, config: Config, counters: Arc<Counters>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("letters-{sink}"));
        thread.spawn(move || run(&sink, config, &counters, &queue))?;
        Ok(Keeper { jobs, said: Logged::default() })
    }
}

impl DeadLetter for Keeper {
    fn bury(&self, sink: &str, letters: Arc<[Letter]>) -> Answer<'_, ()> {
        self.said.say(sink, &letters);
        let (done, written) = oneshot::channel();
        Box::pin(async move {
            // Without the thread there is no letter, and without a letter no decision: it waits for the end.
            if self.jobs.send(Job { letters, done }).is_err() || written.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

fn run(sink: &str, config: Config, counters: &Counters, queue: &Receiver<Job>) {
    let Config { path, max_size, max_files, retry_first, retry_ceiling } = config;
    let mut files = Files::new(path.clone(), max_size, max_files);
    let mut waiting: Vec<Job> = Vec::new();
    let mut failures = 0;
    let mut pause = Duration::ZERO;
    loop {
        if !gather(queue, &mut waiting, pause) {
            return;
        }
        // Who gave up waiting has counted its records as dropped.
        waiting.retain(|job| !job.done.is_closed());
        if waiting.is_empty() {
            continue;
        }
        let letters = waiting.iter().flat_map(|job| job.letters.iter());
        match files.write(sink, letters, counters) {
            Ok(()) => {
                if failures > 0 {
                    info!(sink, "dead letters are written again");
                }
                (failures, pause) = (0, Duration::ZERO);
                for job in waiting.drain(..) {
                    // Whoever asked may have stopped waiting: at the deadline of a shutdown.
                    let _ = job.done.send(());
                }
            }
            Err(error) => {
                counters.failed.add(1);
                let (path, letters) = (path.display(), counters.waiting.get());
                error!(
                    sink, %path, %error, letters,
                    "dead letters cannot be written: their records wait, and it is tried again"
                );
                pause = backoff(failures, retry_first, retry_ceiling);
                failures += 1;
            }
        }
    }
}

/// Takes what is there: waits for a first job if there is none, and for `pause` if there are some. Says whether any more
/// can come.
fn gather(queue: &Receiver<Job>, waiting: &mut Vec<Job>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    if waiting.is_empty() {
        match queue.recv() {
            Ok(job) => waiting.push(job),
            Err(_) => return false,
        }
    }
    loop {
        match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => waiting.push(job),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return !waiting.is_empty() && pause.is_zero(),
        }
    }
}
