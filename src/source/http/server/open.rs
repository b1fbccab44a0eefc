//! What a connection of a server is doing, so that none is closed in the middle of an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A connection, as the server sees it.
#[derive(Debug, Default)]
pub(super) struct Open {
    doing: Mutex<Doing>,
    pub(super) close: CancellationToken,
}

/// What a connection is doing.
#[derive(Debug, Default)]
enum Doing {
    /// It has no request, or part of its head.
    #[default]
    Nothing,
    /// A request is in work.
    Work,
    /// The answer was made at this time, and is not written yet. `is_given`: the connection has all of it.
    Answer { since: Instant, is_given: bool },
    /// The server closes it.
    Close,
}

impl Open {
    /// A request is in work. `false` where the connection is being closed.
    pub(super) fn begin(&self) -> bool {
        let mut doing = self.lock();
        let is_open = !matches!(*doing, Doing::Close);
        if is_open {
            *doing = Doing::Work;
        }
        is_open
    }

    /// Its answer is made, and is written from now on.
    pub(super) fn answer(self: &Arc<Self>, body: Body) -> Answer {
        let mut doing = self.lock();
        if let Doing::Work = *doing {
            *doing = Doing::Answer { since: Instant::now(), is_given: false };
        }
        Answer { body, open: Arc::clone(self) }
    }

    /// Closes it for another one, unless a request is in work, or its answer was made less than `patience` ago and is not
    /// written yet. Says whether it is closed.
    pub(super) fn give_way(&self, patience: Duration) -> bool {
        let mut doing = self.lock();
        match &*doing {
            Doing::Work | Doing::Close => return false,
            Doing::Answer { since, .. } if since.elapsed() < patience => return false,
            Doing::Answer { .. } | Doing::Nothing => *doing = Doing::Close,
        }
        self.close.cancel();
        true
    }

    /// The connection has all of the answer.
    fn given(&self) {
        if let Doing::Answer { is_given, .. } = &mut *self.lock() {
            *is_given = true;
        }
    }

    /// The kernel has all that the connection had.
    fn written(&self) {
        let mut doing = self.lock();
        if let Doing::Answer { is_given: true, .. } = *doing {
            *doing = Doing::Nothing;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer. It is dropped when the connection has all of it.
pub(super) struct Answer {
    body: Body,
    open: Arc<Open>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.open.given();
    }
}

/// The socket of a connection. hyper flushes it when it has written all it had.
pub(super) struct Socket {
    stream: TokioIo<TcpStream>,
    open: Arc<Open>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, open: Arc<Open>) -> Socket {
        Socket { stream: TokioIo::new(stream), open }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.open.written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
}
