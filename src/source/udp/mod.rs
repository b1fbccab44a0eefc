//! Reports as UDP datagrams: read in batches on a thread of its own, and never a loss that is not counted.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tracing::warn;

use self::drops::Drops;
pub use self::inherited::inherit;
use self::pause::Pause;
use self::worker::Worker;
use super::{Context, Datagrams, address};
use crate::problem::{self, unless};
use crate::record::Dialect;
use crate::telemetry::Seldom;
use crate::unit::{Duration, Size};

#[cfg(target_os = "linux")]
mod batch;
mod drops;
mod inherited;
mod pause;
mod plain;
mod sys;
mod worker;

/// The keys of `[[source]]` with `type = "udp"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port; `[::]:8125` for all of IPv6 and, where the system does not say otherwise, IPv4.
    pub listen: String,
    /// How lines are read.
    pub dialect: Dialect,
    /// The `host` of reports without `h:`; `"peer"`: the sender's address. By default the machine's name.
    pub hostname: Option<String>,
    /// Threads, each with a socket of its own. With one, nobody else can bind the address; with more, the kernel
    /// spreads senders over them, and over those of another daemon of the same user.
    pub workers: NonZeroUsize,
    /// What the kernel is asked to hold of datagrams that are not read yet, each worker's. It takes up to twice as
    /// much memory, as it counts its bookkeeping too.
    pub receive_buffer: Size,
    /// The longest datagram; of a longer one the rest is lost, which is counted.
    pub max_datagram: Size,
    /// How long a datagram may wait to be read and sent off together with others.
    pub max_latency: Duration,
    /// The system call.
    pub receive: Receive,
}

/// How datagrams are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receive {
    /// Many with one call; `recv` on systems without it.
    Recvmmsg,
    /// Each with a call of its own.
    Recv,
}

/// The longest datagram that UDP can carry is a little shorter.
const LONGEST_DATAGRAM: u64 = 65_536;
/// The shortest `max_datagram`: what every IPv4 host must take (RFC 791).
const SHORTEST_MAX_DATAGRAM: u64 = 576;
/// The longest `max_latency`. A worker in a pause does not see the stop.
const LONGEST_LATENCY: Duration = Duration::from_secs(1);

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1:8125".to_owned(),
            dialect: Dialect::default(),
            hostname: None,
            workers: NonZeroUsize::MIN,
            receive_buffer: Size::from_mib(16),
            max_datagram: Size::from_bytes(LONGEST_DATAGRAM),
            max_latency: Duration::from_millis(2),
            receive: Receive::Recvmmsg,
        }
    }
}

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let max = self.max_datagram.bytes();
        problem::all([
            address::check(&self.listen),
            unless((SHORTEST_MAX_DATAGRAM..=LONGEST_DATAGRAM).contains(&max), || {
                format!("max_datagram = {max}B: must be from {SHORTEST_MAX_DATAGRAM}B to {LONGEST_DATAGRAM}B")
            }),
            unless(self.max_latency <= LONGEST_LATENCY, || "max_latency: must be at most 1s".to_owned()),
            unless(i32::try_from(self.receive_buffer.bytes()).is_ok(), || {
                "receive_buffer: must be less than 2GiB".to_owned()
            }),
        ])
    }

    /// The bytes that its sockets and threads can come to hold, for all workers: what the kernel counts against a
    /// buffer that was granted as asked for, and the room to read into.
    pub fn memory(&self) -> usize {
        let kernel = 2 * self.receive_buffer.bytes() as usize;
        self.workers.get().saturating_mul(kernel + self.read_memory())
    }

    fn read_memory(&self) -> usize {
        let max = self.max_datagram.bytes() as usize;
        match self.receive {
            #[cfg(target_os = "linux")]
            Receive::Recvmmsg => batch::memory(max),
            _ => plain::memory(max),
        }
    }

    /// Whether the sender's address is needed; the kernel is not asked for it otherwise.
    fn peer(&self) -> bool {
        self.hostname.as_deref() == Some("peer")
    }
}

/// A bound socket, for one worker.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    granted: usize,
    drops: Drops,
    dropped_before: u32,
}

impl Socket {
    /// Where it listens; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Bytes of datagrams that the kernel holds for it, of those that `receive_buffer` asks for.
    pub fn receive_buffer(&self) -> usize {
        self.granted
    }

    /// Datagrams that it had dropped before it was passed on to this process; of one that workers share the first tells.
    pub fn dropped_before(&self) -> u64 {
        u64::from(self.dropped_before)
    }
}

/// Binds as many sockets as there are workers. The error names the key to change.
pub fn bind(config: &Config) -> io::Result<Vec<Socket>> {
    config.check().map_err(address::invalid)?;
    let mut address = address::resolve(&config.listen)?;
    let mut sockets = Vec::with_capacity(config.workers.get());
    for _ in 0..config.workers.get() {
        let socket = bind_one(address, config).map_err(|error| explain(config, error))?;
        // The others share the port that the first one was given.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    if let Some(warning) = sockets.first().and_then(|socket| shortfall(config, socket.granted)) {
        warn!("{warning}");
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr, config: &Config) -> io::Result<Socket> {
    let raw = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    raw.set_nonblocking(true)?;
    if config.workers.get() > 1 {
        raw.set_reuse_port(true)?;
    }
    let granted = ask_for_buffer(&raw, config.receive_buffer.bytes() as usize)?;
    #[cfg(target_os = "linux")]
    sys::count_drops(std::os::fd::AsFd::as_fd(&raw))?;
    raw.bind(&address.into())?;
    Ok(Socket { socket: raw.into(), granted, drops: Drops::default(), dropped_before: 0 })
}

/// Asks for a receive buffer of `bytes`. Returns what was granted, in the same terms.
fn ask_for_buffer(socket: &RawSocket, bytes: usize) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        if sys::force_receive_buffer(std::os::fd::AsFd::as_fd(socket), bytes).is_err() {
            socket.set_recv_buffer_size(bytes)?;
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Here a buffer that is too large is refused, not cut.
        let mut bytes = bytes;
        while socket.set_recv_buffer_size(bytes).is_err() && bytes > 0 {
            bytes /= 2;
        }
    }
    granted(socket)
}

/// The receive buffer, in the terms in which it is asked for.
fn granted(socket: &RawSocket) -> io::Result<usize> {
    let bytes = socket.recv_buffer_size()?;
    // Linux answers twice what it was asked for: the other half is for its bookkeeping.
    Ok(if cfg!(target_os = "linux") { bytes / 2 } else { bytes })
}

fn shortfall(config: &Config, granted: usize) -> Option<String> {
    let asked = config.receive_buffer.bytes();
    (granted < asked as usize).then(|| {
        format!(
            "udp {}: the kernel granted a receive buffer of {granted} bytes, receive_buffer asks for {asked}: bursts \
             may be dropped; set `sysctl -w net.core.rmem_max={asked}` on the host (a container cannot set it), or \
             lower receive_buffer",
            config.listen
        )
    })
}

fn explain(config: &Config, error: io::Error) -> io::Error {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "address in use: another daemon listens there; stop it or change listen",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address; change listen",
        io::ErrorKind::PermissionDenied => "not permitted: ports below 1024 are for root; change listen",
        _ => return io::Error::new(error.kind(), format!("listen = \"{}\": {error}", config.listen)),
    };
    io::Error::new(error.kind(), format!("listen = \"{}\": {what}", config.listen))
}

/// Starts the thread that reads `socket` into `intake` until `context.stop`. It then reads what the kernel still
/// holds, flushes and ends.
///
/// # Panics
///
/// Outside of a tokio runtime: a task of it carries the stop to the thread.
pub fn spawn(
    socket: Socket,
    intake: impl Datagrams,
    context: Context,
    config: &Config,
) -> io::Result<JoinHandle<()>> {
    // The thread waits for its socket and for the end of this stream: a closed one can be read.
    let (stop, open) = UnixStream::pair()?;
    let token = context.stop.clone();
    tokio::spawn(async move {
        token.cancelled().await;
        drop(open);
    });
    let max_latency = config.max_latency.get();
    let max_datagram = config.max_datagram.bytes() as usize;
    let (receive, peer) = (config.receive, config.peer());
    thread::Builder::new().name("udp".to_owned()).spawn(move || {
        let pause = Pause::new(max_latency, socket.granted, Instant::now());
        let worker = Worker {
            socket: socket.socket,
            stop,
            intake,
            context,
            max_latency,
            pause,
            drops: socket.drops,
            errors: Seldom::default(),
            losses: Seldom::default(),
        };
        match receive {
            #[cfg(target_os = "linux")]
            Receive::Recvmmsg => worker.run(batch::Batch::new(max_datagram, peer)),
            _ => worker.run(plain::Plain::new(max_datagram, peer)),
        }
    })
}

#[cfg(test)]
mod tests;
