//! One connection: from bytes to lines, held back while sinks have no room.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use super::answer::{Answer, Answers};
use super::share::{Loan, OWN_BYTES, Share, Turn};
use crate::source::framing::{Frame, Framing};
use crate::source::{Context, Lines, Stop};

/// Bytes after which a turn ends although there is more to read: others wait for it.
const TURN_BYTES: usize = 64 * 1024;

/// A connection and what was read of it.
pub(super) struct Connection<'a, S, I: Lines> {
    reader: ReadHalf<S>,
    answers: Answers<WriteHalf<S>, I::Synced>,
    intake: I,
    framing: Framing,
    /// What was read and holds no whole line; outside of `turn`, nothing else.
    buffer: BytesMut,
    /// Without it the buffer holds [`OWN_BYTES`] at most.
    loan: Option<Loan<'a>>,
    share: &'a Share,
    context: &'a Context,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has sent all it wanted to.
    Orderly,
    /// The client is gone.
    Reset,
    /// The client has sent nothing, or not the rest of a long line, for too long.
    Idle,
    /// The daemon stops.
    Stop,
}

impl<'a, S, I> Connection<'a, S, I>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    I: Lines,
{
    /// A fresh one.
    pub(super) fn new(stream: S, intake: I, share: &'a Share, context: &'a Context) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Connection {
            reader,
            answers: Answers::new(writer, share.limits.stall_timeout, context.stop.clone()),
            intake,
            framing: Framing::new(share.limits.max_line),
            buffer: BytesMut::new(),
            loan: None,
            share,
            context,
        }
    }

    /// Takes lines until the connection ends, and gives the answers that are owed.
    pub(super) async fn run(mut self) {
        let end = loop {
            let end = match self.wait().await {
                Ok(read) => self.turn(read).await,
                Err(end) => Some(end),
            };
            if let Some(end) = end {
                break end;
            }
        };
        if end != End::Orderly && !self.buffer.is_empty() {
            self.context.counters.lines_cut.add(1);
        }
        // Memory and its loan are not needed while answers are waited for.
        self.buffer = BytesMut::new();
        self.loan = None;
        match end {
            End::Reset => self.answers.abandon().await,
            End::Idle => {
                self.context.counters.idle_closed.add(1);
                self.answers.finish().await;
            }
            End::Orderly | End::Stop => self.answers.finish().await,
        }
    }

    /// Waits for the next bytes, 0 at the end of the stream.
    async fn wait(&mut self) -> Result<usize, End> {
        if self.answers.is_broken() {
            return Err(End::Reset);
        }
        let stop = self.context.stop.clone();
        let idle_at = Instant::now() + self.share.limits.idle_timeout;
        let read = async {
            if self.room() == 0 {
                self.loan = Some(timeout_at(idle_at, self.share.loan()).await.map_err(|_| End::Idle)?);
            }
            let (share, since) = (self.share, self.loan.as_ref().map(|loan| loan.since));
            tokio::select! {
                biased;
                read = timeout_at(idle_at, self.read()) => match read {
                    Ok(read) => read.map_err(|_| End::Reset),
                    Err(_) => Err(End::Idle),
                },
                () = share.over(since) => Err(End::Idle),
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Stop),
            read = read => read,
        }
    }

    /// Takes what was read, and what more is there at once.
    async fn turn(&mut self, mut read: usize) -> Option<End> {
        let mut turn = self.share.turn().await;
        let mut left = TURN_BYTES;
        let mut has_taken = false;
        let end = loop {
            if read == 0 {
                while let Ok(Some(frame)) = self.framing.decode_eof(&mut self.buffer) {
                    turn = self.take(frame, turn).await;
                }
                break Some(End::Orderly);
            }
            let filled = self.room() == 0;
            while let Ok(Some(frame)) = self.framing.decode(&mut self.buffer) {
                turn = self.take(frame, turn).await;
                has_taken = true;
            }
            left = left.saturating_sub(read);
            if filled && self.loan.is_none() {
                self.loan = self.share.try_loan();
            }
            if left == 0 || self.room() == 0 || (self.is_wanted() && self.buffer.len() < OWN_BYTES) {
                break None;
            }
            match self.read_at_once().await {
                Some(Ok(more)) => read = more,
                Some(Err(_)) => break Some(End::Reset),
                None => break None,
            }
        };
        self.intake.flush().await;
        drop(turn);
        if let Some(loan) = self.loan.as_mut().filter(|_| has_taken) {
            // What is left is of another line, which has its own time.
            loan.since = Instant::now();
        }
        self.shrink();
        end
    }

    /// Hands a frame to the intake and answers the control lines in it. The turn is another one afterwards if the
    /// client first had to read answers: nobody waits for that but the client.
    async fn take(&mut self, frame: Frame, mut turn: Turn<'a>) -> Turn<'a> {
        let Frame::Lines(mut block) = frame else {
            self.intake.too_long();
            return turn;
        };
        while !block.is_empty() {
            let taken = self.intake.lines(&block);
            block.advance(taken.bytes);
            let answer = match taken.stop {
                Stop::End => break,
                Stop::Full => {
                    self.intake.flush().await;
                    continue;
                }
                Stop::Ping => Answer::Pong,
                Stop::Sync => {
                    self.intake.flush().await;
                    Answer::Synced(self.intake.sync())
                }
            };
            if let Err(answer) = self.answers.try_push(answer) {
                self.intake.flush().await;
                drop(turn);
                self.answers.push(answer).await;
                turn = self.share.turn().await;
            }
        }
        turn
    }

    /// Bytes that may be read into the buffer now.
    fn room(&self) -> usize {
        let limit = if self.loan.is_some() { self.share.limits.loan_bytes() } else { OWN_BYTES };
        limit - self.buffer.len()
    }

    /// Whether it has a loan that others wait for.
    fn is_wanted(&self) -> bool {
        self.loan.is_some() && self.share.is_wanted()
    }

    /// Reads once. While nothing comes, an empty buffer has no memory.
    async fn read(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let polled = self.poll_read(cx);
            if polled.is_pending() && self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            polled
        })
        .await
    }

    /// Reads once if something is there.
    async fn read_at_once(&mut self) -> Option<io::Result<usize>> {
        poll_fn(|cx| match self.poll_read(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.room();
        // All at once: growing step by step would double what is there, beyond the limit.
        self.buffer.reserve(room);
        // In small steps, what follows the end of a line needs no loan.
        let most = if self.is_wanted() { room.min(OWN_BYTES - 1) } else { room };
        let polled = poll_read_buf(Pin::new(&mut self.reader), cx, &mut (&mut self.buffer).limit(most));
        if let Poll::Ready(Ok(read)) = polled {
            self.context.counters.datagrams.add(1);
            self.context.counters.bytes.add(read as u64);
        }
        polled
    }

    /// Gives back what the rest of a line does not need.
    fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.loan = None;
        } else if self.loan.is_some() && self.buffer.len() < OWN_BYTES {
            let mut own = BytesMut::with_capacity(OWN_BYTES);
            own.extend_from_slice(&self.buffer);
            self.buffer = own;
            self.loan = None;
        }
    }

    /// One round of `run`, for a test; the bytes that the buffer holds after it.
    #[cfg(test)]
    pub(super) async fn round(&mut self) -> usize {
        if let Ok(Ok(read)) = tokio::time::timeout(std::time::Duration::from_secs(1), self.wait()).await {
            self.turn(read).await;
        }
        self.buffer.capacity()
    }
}
