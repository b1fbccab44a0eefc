//! The receiving process: one of several receivers, alone on its core, told by lines on its standard input.

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kaneda::journal::{self, Folder, Journal};
use kaneda::pipeline::datagram::Datagram;
use kaneda::pipeline::drain::{self, Drain, Place};
use kaneda::pipeline::letter::Logged;
use kaneda::pipeline::ring::Ring;
use kaneda::pipeline::{Dispatch, Ingest, Lane};
use kaneda::protocol::Limits;
use kaneda::record::{Batch, Origin};
use kaneda::sink::{Answer, Outcome, Sink};
use kaneda::source::{Context, Counters, Datagrams, udp};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::sys::{Bare, cpu_time, held_and_drops, set_receive_buffer};

/// As the daemon's default.
const RECEIVE_BUFFER: i32 = 16 << 20;

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Receiver {
    /// `recvmmsg`, and the line ends counted: the least that tells what came.
    Bare,
    /// The daemon's UDP source, and what it reads copied once into chunks, not parsed.
    Source,
    /// The daemon's way from the socket to the null sink.
    Daemon,
    /// The same with the journal in between, as it is by default.
    Journaled,
}

impl Receiver {
    /// All of them.
    pub(crate) const ALL: [Receiver; 4] =
        [Receiver::Bare, Receiver::Source, Receiver::Daemon, Receiver::Journaled];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Receiver::Bare => "bare",
            Receiver::Source => "source",
            Receiver::Daemon => "daemon",
            Receiver::Journaled => "journal",
        }
    }
}

/// What the process says at its end, one number a word: datagrams, drops, records lost, CPU nanoseconds, peak KiB.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    /// Datagrams that were received.
    pub(crate) datagrams: u64,
    /// Those that the kernel dropped.
    pub(crate) drops: u64,
    /// Records that were read, but for which a ring had no room.
    pub(crate) lost: u64,
    /// User and system time, from `start` to `stop`.
    pub(crate) cpu: Duration,
    /// The most memory that was resident.
    pub(crate) peak_kib: u64,
}

impl Report {
    /// From the line that the process wrote.
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let mut word = || words.next().flatten();
        Some(Report {
            datagrams: word()?,
            drops: word()?,
            lost: word()?,
            cpu: Duration::from_nanos(word()?),
            peak_kib: word()?,
        })
    }
}

/// The process's `main`. It says its address, awaits `start` and then `stop`, and says its report.
pub(crate) fn run(receiver: Receiver, config: &udp::Config) -> io::Result<()> {
    match receiver {
        Receiver::Bare => bare(),
        Receiver::Source => source(config),
        Receiver::Daemon => daemon(config, None),
        Receiver::Journaled => {
            let folder = tempfile::tempdir()?;
            daemon(config, Some(folder.path()))
        }
    }
}

fn bare() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    set_receive_buffer(&socket, RECEIVE_BUFFER);
    // It looks for the stop as often.
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (socket, stop) = (socket.try_clone()?, stop.clone());
        move || {
            let (mut bare, mut datagrams, mut lines) = (Bare::new(), 0, 0);
            while !stop.load(Ordering::Relaxed) || held_and_drops(&socket).0 > 0 {
                datagrams += bare.receive(&socket);
                lines += bare.line_ends();
            }
            std::hint::black_box(lines);
            datagrams
        }
    });
    let start = announce(socket.local_addr()?)?;
    stop.store(true, Ordering::Relaxed);
    let cpu = cpu_time() - start;
    let datagrams = reader.join().map_err(|_| io::Error::other("the reader panicked"))?;
    say(datagrams, u64::from(held_and_drops(&socket).1), 0, cpu)
}

fn source(config: &udp::Config) -> io::Result<()> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    receive(config, Copier::default(), || 0)
}

/// With the journal in `folder`, if there is one.
fn daemon(config: &udp::Config, folder: Option<&Path>) -> io::Result<()> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let drain = drain::Config::default();
    let room = Arc::new(Notify::new());
    let ring = Ring::new(drain.ring_bytes.bytes() as usize, drain.batch_size(), Arc::clone(&room));
    let lane = Arc::new(Lane::new("null", "null", ring, drain.when_full));
    let begun = folder
        .map(|folder| {
            let (settings, path) = (journal::Config::default(), folder.to_owned());
            let files = move || Folder::open(&path);
            Journal::open(&settings, files, &["null".into()], &[], Arc::clone(&room))
        })
        .transpose()
        .map_err(io::Error::other)?;
    let dispatch = Dispatch::new(vec![Arc::clone(&lane)], room);
    let dispatch = Arc::new(match &begun {
        Some(begun) => dispatch.with_journal(Arc::clone(&begun.journal)),
        None => dispatch,
    });
    let place = begun.as_ref().map(|begun| Place {
        journal: Arc::clone(&begun.journal),
        dispatch: Arc::clone(&dispatch),
        number: 0,
    });
    let ingest = Ingest::new(Arc::clone(&dispatch), Limits::default(), Duration::from_secs(10));
    let origin = Origin { source: "udp".into(), dialect: config.dialect, host: "bench".into() };
    let (_stop, deadline) = watch::channel(None);
    let letters = Arc::new(Logged::default());
    let drain = Drain::new(Arc::clone(&lane), Arc::new(Null), drain, letters).with_journal(place);
    runtime.spawn(drain.run(deadline));
    if let Some(begun) = begun {
        begun.start(dispatch)?;
    }
    receive(config, Datagram::new(ingest, origin), || lane.ledger.terms().dropped.iter().sum())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// The source, with `intake` behind it, of which `lost` tells what it lost.
fn receive(config: &udp::Config, intake: impl Datagrams, lost: impl FnOnce() -> u64) -> io::Result<()> {
    let context = Context { stop: CancellationToken::new(), counters: Arc::new(Counters::default()) };
    let socket = udp::bind(config)?.remove(0);
    let address = socket.local_addr()?;
    let thread = udp::spawn(socket, intake, context.clone(), config)?;
    let start = announce(address)?;
    let cpu = cpu_time() - start;
    context.stop.cancel();
    thread.join().map_err(|_| io::Error::other("the source panicked"))?;
    say(context.counters.datagrams.get(), context.counters.kernel_drops.get(), lost(), cpu)
}

/// Counts nothing and forgets.
struct Null;

impl Sink for Null {
    fn send(&self, _: Batch) -> Answer<'_, Outcome> {
        Box::pin(async { Outcome::Delivered })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// Says the address, and returns what the clock of the CPU was at `start`, once `stop` is read.
fn announce(address: SocketAddr) -> io::Result<Duration> {
    println!("{address}");
    io::stdout().flush()?;
    let mut lines = io::stdin().lock().lines();
    lines.next().transpose()?;
    let start = cpu_time();
    lines.next().transpose()?;
    Ok(start)
}

fn say(datagrams: u64, drops: u64, lost: u64, cpu: Duration) -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    println!("{datagrams} {drops} {lost} {} {}", cpu.as_nanos(), peak.unwrap_or("0").trim());
    Ok(())
}

/// What an intake cannot do less: one dense copy, and a new chunk for each that is full.
#[derive(Default)]
struct Copier {
    chunk: Vec<u8>,
}

const CHUNK_BYTES: usize = 64 * 1024;

impl Datagrams for Copier {
    fn begin_read(&mut self, _: usize) {
        self.chunk.reserve(if self.chunk.capacity() == 0 { CHUNK_BYTES } else { 0 });
    }

    fn datagram(&mut self, bytes: &[u8], _: bool, _: Option<IpAddr>) {
        if self.chunk.len() + bytes.len() + 1 > CHUNK_BYTES {
            self.flush();
            self.begin_read(0);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.push(b'\n');
    }

    fn is_waiting(&self) -> bool {
        !self.chunk.is_empty()
    }

    fn flush(&mut self) {
        std::hint::black_box(std::mem::take(&mut self.chunk).into_boxed_slice());
    }
}
