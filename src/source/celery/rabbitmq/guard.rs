//! The connection that the library is given: what it reads goes through a sieve. TLS is spoken on this side of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use rustls::ClientConfig;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Failure;
use crate::source::queue::sieve::Sieve;
use crate::tls;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// The daemon's own runtime, but for connections.
pub(super) type Guarded = Runtime<RuntimeParts<Tokio, Guards>>;

/// Must be called on the daemon's runtime. A broker that sends more messages than are `allowed` so far has its connection ended,
/// and so has any when it is `given_up`: the library waits in a thread of its own, and for who says nothing for ever.
pub(super) fn runtime(
    max_message: usize,
    allowed: Arc<AtomicU64>,
    tls: Option<Secured>,
    given_up: CancellationToken,
) -> Guarded {
    let guards = Guards { tokio: Tokio::current(), max_message, allowed, tls, given_up };
    Runtime::new(RuntimeParts::new(Tokio::current(), guards))
}

/// How TLS is spoken, and with whom.
#[derive(Debug, Clone)]
pub(super) struct Secured {
    pub(super) client: Arc<ClientConfig>,
    pub(super) host: String,
}

/// Makes guarded connections.
#[derive(Debug, Clone)]
pub(super) struct Guards {
    tokio: Tokio,
    max_message: usize,
    allowed: Arc<AtomicU64>,
    tls: Option<Secured>,
    given_up: CancellationToken,
}

/// With TLS or without.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Reactor for Guards {
    type TcpStream = Guard<Box<dyn Wire>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.tokio.tcp_connect_addr(address);
        // One byte more says that a message is too long.
        let sieve = Sieve::new(self.max_message + 1);
        let allowed = Arc::clone(&self.allowed);
        let (tls, given_up) = (self.tls.clone(), self.given_up.clone());
        async move {
            let wire = async {
                let stream = connecting.await?;
                io::Result::Ok(match tls {
                    Some(Secured { client, host }) => {
                        let stream = tls::connect(&client, &host, stream.into_inner()).await?;
                        Box::new(stream.compat()) as Box<dyn Wire>
                    }
                    None => Box::new(stream),
                })
            };
            let wire = given_up.run_until_cancelled(wire).await.ok_or_else(aborted)?;
            Ok(Guard::new(wire?, sieve, allowed, given_up))
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Guard<S> {
    stream: S,
    sieve: Sieve,
    allowed: Arc<AtomicU64>,
    /// What was read last.
    read: Box<[u8]>,
    /// What may be read of it.
    passed: Vec<u8>,
    /// Bytes of that which were.
    given: usize,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Guard<S> {
    fn new(stream: S, sieve: Sieve, allowed: Arc<AtomicU64>, given_up: CancellationToken) -> Self {
        let read = vec![0; READ].into_boxed_slice();
        let given_up = Box::pin(given_up.cancelled_owned());
        Guard { stream, sieve, allowed, read, passed: Vec::new(), given: 0, given_up }
    }
}

fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.given == this.passed.len() {
            let read = Pin::new(&mut this.stream).poll_read(context, &mut this.read);
            if read.is_pending() && this.given_up.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(aborted()));
            }
            let length = ready!(read)?;
            if length == 0 {
                return Poll::Ready(Ok(0));
            }
            this.passed.clear();
            this.given = 0;
            if this.sieve.pass(&this.read[..length], &mut this.passed).is_err() {
                this.passed.clear();
                let error = "the other end does not speak AMQP 0-9-1, or sends longer frames than it may";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            if this.sieve.messages() > this.allowed.load(Ordering::Relaxed) {
                this.passed.clear();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Failure::TooMany)));
            }
        }
        let rest = &this.passed[this.given..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        this.given += length;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A message without a body, as its header says.
    const MESSAGE: &[u8] = b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xce";

    #[test]
    fn a_broker_that_does_not_keep_to_prefetch_is_read_no_further() {
        let sent = MESSAGE.repeat(4);
        let allowed = Arc::new(AtomicU64::new(2));
        let mut guard = Guard::new(&sent[..], Sieve::new(10), Arc::clone(&allowed), CancellationToken::new());
        guard.read = vec![0; MESSAGE.len()].into_boxed_slice();
        let mut read = || {
            let mut out = [0; 100];
            let read = Pin::new(&mut guard).poll_read(&mut Context::from_waker(Waker::noop()), &mut out);
            read.map_err(|error| error.to_string())
        };
        assert_eq!([read(), read()], [Poll::Ready(Ok(MESSAGE.len())), Poll::Ready(Ok(MESSAGE.len()))]);
        // One was taken.
        allowed.fetch_add(1, Ordering::Relaxed);
        assert_eq!(read(), Poll::Ready(Ok(MESSAGE.len())));
        assert_eq!(read(), Poll::Ready(Err("the broker does not keep to prefetch".to_owned())));
    }
}
