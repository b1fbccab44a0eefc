//! Lines over Unix datagram sockets.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use socket2::{Socket, Type};
use tokio::net::UnixDatagram;
use tracing::warn;

use super::address;
use super::socket_file::{Mode, SocketFile};
use super::unix::{self, no_peer};
use super::{Context, Datagrams};
use crate::problem::{self, unless};
use crate::record::Dialect;
use crate::telemetry::Seldom;
use crate::unit::Size;

/// Datagrams read before what was taken is flushed although more are there: others run meanwhile, a stop is seen,
/// and under load nothing waits longer than this takes, some milliseconds.
const BURST: usize = 1024;
/// The longest datagram that Linux carries by default is `net.core.wmem_default`, a little over 200 KiB.
const LONGEST_MAX_DATAGRAM: u64 = 1 << 20;
/// Pause after a receive that failed, which it should not.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Where Linux says how many datagrams wait at a socket before its senders are blocked.
const QUEUE_SYSCTL: &str = "/proc/sys/net/unix/max_dgram_qlen";
/// Less is small: a burst of one busy sender.
const SMALL_QUEUE: u64 = 256;

/// The keys of a `unixgram` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The path of the socket. A file that a dead process left there is replaced.
    pub listen: PathBuf,
    /// The permissions of the socket's file.
    pub mode: Mode,
    /// Which reading of the lines.
    pub dialect: Dialect,
    /// The `host` of reports that send none. Not set: the machine's name.
    pub hostname: Option<String>,
    /// The longest datagram; of a longer one the rest is lost, which is counted.
    pub max_datagram: Size,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: PathBuf::from("/run/kaneda/kaneda.dgram"),
            mode: Mode::default(),
            dialect: Dialect::default(),
            hostname: None,
            max_datagram: Size::from_kib(64),
        }
    }
}

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let max = self.max_datagram.bytes();
        problem::all([
            no_peer(self.hostname.as_deref()),
            unless((1..=LONGEST_MAX_DATAGRAM).contains(&max), || {
                format!("max_datagram = {max}B: must be from 1B to {LONGEST_MAX_DATAGRAM}B")
            }),
        ])
    }

    /// Bytes that the source holds at most, its chunk apart.
    pub fn memory(&self) -> usize {
        self.max_datagram.bytes() as usize + 1
    }
}

/// A bound socket. Its file is removed when it is dropped, if it was made here.
#[derive(Debug)]
pub struct Bound {
    socket: UnixDatagram,
    _file: Option<SocketFile>,
}

impl Bound {
    /// Where it listens.
    pub fn listen(&self) -> io::Result<String> {
        self.socket.local_addr().map(|address| unix::listen(&address))
    }
}

/// Binds `listen`; warns when the kernel lets few datagrams wait. Must be called in a runtime. The error names
/// the key to change.
pub fn bind(config: &Config) -> io::Result<Bound> {
    config.check().map_err(address::invalid)?;
    let bind = || {
        let (socket, file) = SocketFile::bind(&config.listen, Type::DGRAM, config.mode)?;
        Ok(Bound { socket: UnixDatagram::from_std(socket.into())?, _file: Some(file) })
    };
    let bound = bind().map_err(|error| address::refused(config.listen.display(), error))?;
    warn_of_shortfall();
    Ok(bound)
}

/// Receives at a socket that was passed on, instead of `listen`: its file is neither made nor removed here. Warns when
/// the kernel lets few datagrams wait. Must be called in a runtime. The error names the key to change.
pub fn inherit(config: &Config, socket: Socket) -> io::Result<Bound> {
    config.check().map_err(address::invalid)?;
    socket.set_nonblocking(true)?;
    warn_of_shortfall();
    Ok(Bound { socket: UnixDatagram::from_std(socket.into())?, _file: None })
}

fn warn_of_shortfall() {
    if let Some(warning) = fs::read_to_string(QUEUE_SYSCTL).ok().as_deref().and_then(shortfall) {
        warn!("{warning}");
    }
}

/// What to say about `max_dgram_qlen`, if it is small.
fn shortfall(max_dgram_qlen: &str) -> Option<String> {
    let queue: u64 = max_dgram_qlen.trim().parse().ok().filter(|queue| *queue < SMALL_QUEUE)?;
    Some(format!(
        "a burst of more than {queue} datagrams blocks their sender: set the sysctl net.unix.max_dgram_qlen to 512 or \
         more, on the host and before the daemon starts"
    ))
}

/// Takes datagrams until `context.stop`, and then those that wait. It reads on whatever becomes of them.
pub async fn run(bound: Bound, mut intake: impl Datagrams, context: Context, config: Config) {
    // One byte more than fits: a datagram that fills it was longer than the limit.
    let mut buffer = vec![0; config.max_datagram.bytes() as usize + 1].into_boxed_slice();
    let losses = Seldom::default();
    loop {
        let readable = tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            readable = bound.socket.readable() => readable,
        };
        let receive = |buffer: &mut [u8]| bound.socket.try_recv(buffer);
        if let Err(error) =
            readable.and_then(|()| burst(receive, &mut buffer, &mut intake, &context, &losses))
        {
            warn!(%error, "no datagram can be received");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        tokio::task::yield_now().await;
    }
    // The runtime may not have heard yet of the last ones: the socket itself is asked.
    if let Ok(socket) = bound.socket.into_std() {
        let _ = burst(|buffer| socket.recv(buffer), &mut buffer, &mut intake, &context, &losses);
    }
}

/// Takes the datagrams that are there, up to [`BURST`], and flushes.
fn burst(
    mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    buffer: &mut [u8],
    intake: &mut impl Datagrams,
    context: &Context,
    losses: &Seldom,
) -> io::Result<()> {
    let max = buffer.len() - 1;
    let mut result = Ok(());
    for _ in 0..BURST {
        let length = match receive(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        let truncated = length > max;
        context.counters.datagrams.add(1);
        context.counters.bytes.add(length.min(max) as u64);
        context.counters.truncated.add(u64::from(truncated));
        if truncated && let Some(unsaid) = losses.tick() {
            warn!(unsaid, "datagrams were cut: raise `max_datagram`");
        }
        intake.begin_read(length.min(max) + 1);
        intake.datagram(&buffer[..length.min(max)], truncated, None);
    }
    if intake.is_waiting() {
        intake.flush();
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::Counters;

    /// Tells what it was given; a flush is `None`.
    struct Fake {
        events: mpsc::UnboundedSender<Option<(Vec<u8>, bool)>>,
        read: bool,
        waiting: bool,
    }

    impl Datagrams for Fake {
        fn begin_read(&mut self, _: usize) {
            self.read = true;
        }

        fn datagram(&mut self, bytes: &[u8], truncated: bool, _: Option<std::net::IpAddr>) {
            assert!(std::mem::take(&mut self.read), "each datagram is a read of its own");
            self.waiting = true;
            self.events.send(Some((bytes.to_vec(), truncated))).unwrap();
        }

        fn is_waiting(&self) -> bool {
            self.waiting
        }

        fn flush(&mut self) {
            self.waiting = false;
            self.events.send(None).unwrap();
        }
    }

    type Events = mpsc::UnboundedReceiver<Option<(Vec<u8>, bool)>>;

    fn start(config: &Config) -> (Events, Context, tokio::task::JoinHandle<()>) {
        let (sender, events) = mpsc::unbounded_channel();
        let context = Context { stop: CancellationToken::new(), counters: Arc::new(Counters::default()) };
        let intake = Fake { events: sender, read: false, waiting: false };
        let task = tokio::spawn(run(bind(config).unwrap(), intake, context.clone(), config.clone()));
        (events, context, task)
    }

    #[tokio::test]
    async fn datagrams_are_taken_whole_or_known_to_be_cut_and_flushed_at_the_end_of_the_burst() {
        let folder = tempfile::tempdir().unwrap();
        let listen = folder.path().join("socket");
        let config =
            Config { listen: listen.clone(), max_datagram: Size::from_bytes(4), ..Config::default() };
        let (mut events, context, task) = start(&config);
        let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
        // The runtime has one thread: nothing is read before all three are there.
        for datagram in ["abcd", "abcde", ""] {
            client.send_to(datagram.as_bytes(), &listen).unwrap();
        }
        for expected in [Some(("abcd", false)), Some(("abcd", true)), Some(("", false)), None] {
            let expected = expected.map(|(text, truncated)| (text.as_bytes().to_vec(), truncated));
            assert_eq!(events.recv().await.unwrap(), expected);
        }
        let counters = &context.counters;
        assert_eq!((counters.datagrams.get(), counters.truncated.get(), counters.bytes.get()), (3, 1, 8));
        client.send_to(b"last", &listen).unwrap();
        context.stop.cancel();
        task.await.unwrap();
        assert_eq!(events.recv().await.unwrap(), Some((b"last".to_vec(), false)));
        assert_eq!(events.recv().await, Some(None));
        assert!(!listen.exists());
    }

    #[tokio::test]
    async fn a_burst_that_does_not_end_is_flushed_and_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { listen: folder.path().join("socket"), ..Config::default() };
        let (mut events, context, task) = start(&config);
        let (listen, stop) = (config.listen.clone(), context.stop.clone());
        let sender = std::thread::spawn(move || {
            let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
            while !stop.is_cancelled() && client.send_to(b"x", &listen).is_ok() {}
        });
        while events.recv().await.unwrap().is_some() {}
        context.stop.cancel();
        task.await.unwrap();
        sender.join().unwrap();
    }

    #[test]
    fn a_small_queue_of_the_kernel_is_warned_of_by_its_name() {
        assert!(shortfall("10\n").unwrap().contains("net.unix.max_dgram_qlen"));
        assert_eq!(shortfall("512\n"), None);
        assert_eq!(shortfall("?"), None);
    }

    #[test]
    fn every_key_is_read_and_an_unknown_one_refused() {
        let config: Config = toml::from_str(
            "listen = \"/tmp/s\"\nmode = \"0600\"\ndialect = \"statsd\"\nhostname = \"web\"\nmax_datagram = \"8KiB\"",
        )
        .unwrap();
        let expected = Config {
            listen: PathBuf::from("/tmp/s"),
            mode: Mode(0o600),
            dialect: Dialect::Statsd,
            hostname: Some("web".to_owned()),
            max_datagram: Size::from_kib(8),
        };
        assert_eq!(config, expected);
        assert!(toml::from_str::<Config>("max_latency = \"1s\"").is_err());
        for text in ["max_datagram = \"0B\"", "max_datagram = \"2MiB\"", "hostname = \"peer\""] {
            assert!(toml::from_str::<Config>(text).unwrap().check().is_err());
        }
    }
}
