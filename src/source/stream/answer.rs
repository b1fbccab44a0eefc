//! The answers to control lines: written in order by a task of their own, so that reading goes on meanwhile.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::source::Synced;

/// Answers of one connection that wait. When there are more, reading stops until the client has read some.
const WAITING: usize = 64;
/// What a client that does not read has to take its answers in when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// One answer; `S` is what [`Lines::sync`](crate::source::Lines::sync) gives.
#[derive(Debug)]
pub(super) enum Answer<S> {
    /// To `!ping`.
    Pong,
    /// To `!sync`, once it is done.
    Synced(S),
}

/// The side of a connection that is written to. Most clients never ask: the task starts with the first answer.
#[derive(Debug)]
pub(super) struct Answers<W, S> {
    state: State<W, S>,
    stall_timeout: Duration,
    stop: CancellationToken,
}

#[derive(Debug)]
enum State<W, S> {
    Unused(W),
    Used {
        queue: mpsc::Sender<Answer<S>>,
        writer: JoinHandle<()>,
    },
    /// The client went away, or reads no answers.
    Broken,
}

impl<W, S> Answers<W, S>
where
    W: AsyncWrite + Send + Unpin + 'static,
    S: Future<Output = Synced> + Send + 'static,
{
    /// None so far. When `stop` is cancelled, what is not known by then is answered with an error.
    pub(super) fn new(writer: W, stall_timeout: Duration, stop: CancellationToken) -> Self {
        Answers { state: State::Unused(writer), stall_timeout, stop }
    }

    /// Puts an answer behind those that wait; gives it back when these are too many.
    pub(super) fn try_push(&mut self, answer: Answer<S>) -> Result<(), Answer<S>> {
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Unused(writer) => {
                let (queue, answers) = mpsc::channel(WAITING);
                let writer = tokio::spawn(write(writer, answers, self.stall_timeout, self.stop.clone()));
                State::Used { queue, writer }
            }
            used => used,
        };
        let State::Used { queue, .. } = &self.state else { return Ok(()) };
        match queue.try_send(answer) {
            Err(TrySendError::Full(answer)) => return Err(answer),
            Err(TrySendError::Closed(_)) => self.state = State::Broken,
            Ok(()) => {}
        }
        Ok(())
    }

    /// Puts an answer behind those that wait, when there is room.
    pub(super) async fn push(&mut self, answer: Answer<S>) {
        if let State::Used { queue, .. } = &self.state
            && queue.send(answer).await.is_err()
        {
            self.state = State::Broken;
        }
    }

    /// Whether answers no longer reach the client.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Waits until the client has all answers, and ends this side of the connection.
    pub(super) async fn finish(self) {
        if let State::Used { queue, writer } = self.state {
            drop(queue);
            // An error is a panic in an intake's future: it has been reported, and ends this connection only.
            let _ = writer.await;
        }
    }

    /// The client is gone: answers nothing more.
    pub(super) async fn abandon(self) {
        if let State::Used { writer, .. } = self.state {
            writer.abort();
            let _ = writer.await;
        }
    }
}

/// Writes answers in order until there are no more, or the client does not take one in time.
async fn write<W, S>(
    mut writer: W,
    mut answers: mpsc::Receiver<Answer<S>>,
    stall_timeout: Duration,
    stop: CancellationToken,
) where
    W: AsyncWrite + Unpin,
    S: Future<Output = Synced>,
{
    while let Some(answer) = answers.recv().await {
        let text = match answer {
            Answer::Pong => "pong\n".to_owned(),
            Answer::Synced(synced) => tokio::select! {
                biased;
                synced = synced => text(&synced),
                () = stop.cancelled() => "error the daemon is stopping\n".to_owned(),
            },
        };
        let out_of_time = async {
            tokio::select! {
                () = tokio::time::sleep(stall_timeout) => {}
                () = stop.cancelled() => tokio::time::sleep(STOP_GRACE).await,
            }
        };
        tokio::select! {
            biased;
            written = writer.write_all(text.as_bytes()) => if written.is_err() { return },
            () = out_of_time => return,
        }
    }
    let _ = writer.shutdown().await;
}

/// The line that answers `!sync`.
fn text(synced: &Synced) -> String {
    match &synced.error {
        None => format!("ok {} {}\n", synced.accepted, synced.rejected),
        Some(reason) => format!("error {}\n", reason.replace(['\r', '\n'], " ")),
    }
}
