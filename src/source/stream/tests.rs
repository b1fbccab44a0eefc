//! Connections end to end, with an intake that tells what it was given. In memory where time or order matters,
//! over TCP where the kernel's part does.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::{Stop, Synced, Taken};

mod loan;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Line(String),
    TooLong,
    Gone,
}

fn line(text: &str) -> Event {
    Event::Line(text.to_owned())
}

/// Tells every line; is full after three.
struct Fake {
    events: mpsc::UnboundedSender<Event>,
    flushes: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    open: usize,
    accepted: u64,
    rejected: u64,
}

impl Lines for Fake {
    type Synced = std::pin::Pin<Box<dyn Future<Output = Synced> + Send>>;

    fn lines(&mut self, block: &[u8]) -> Taken {
        let mut bytes = 0;
        for text in block.split_inclusive(|byte| *byte == b'\n') {
            if self.open == 3 {
                return Taken { bytes, stop: Stop::Full };
            }
            bytes += text.len();
            match std::str::from_utf8(text).unwrap().trim_end_matches(['\r', '\n']) {
                "!ping" => return Taken { bytes, stop: Stop::Ping },
                "!sync" => return Taken { bytes, stop: Stop::Sync },
                text => {
                    self.open += 1;
                    self.accepted += 1;
                    let _ = self.events.send(line(text));
                }
            }
        }
        Taken { bytes, stop: Stop::End }
    }

    fn too_long(&mut self) {
        self.rejected += 1;
        let _ = self.events.send(Event::TooLong);
    }

    async fn flush(&mut self) {
        if self.open > 0 {
            drop(self.flushes.acquire().await);
            self.open = 0;
        }
    }

    fn sync(&mut self) -> Self::Synced {
        assert_eq!(self.open, 0, "sync comes after flush");
        let (accepted, rejected) = (std::mem::take(&mut self.accepted), std::mem::take(&mut self.rejected));
        let syncs = self.syncs.clone();
        Box::pin(async move {
            drop(syncs.acquire().await);
            Synced { accepted, rejected, error: (accepted == 13).then(|| "bad\nluck".to_owned()) }
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        assert!(self.open == 0 || std::thread::panicking(), "what was taken was flushed");
        let _ = self.events.send(Event::Gone);
    }
}

/// A running source.
struct Source {
    events: mpsc::UnboundedReceiver<Event>,
    flushes: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    stop: CancellationToken,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Source {
    fn start(listener: impl Listener + Sync + 'static, limits: Limits) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (flushes, syncs) = (Arc::new(Semaphore::new(1 << 16)), Arc::new(Semaphore::new(1 << 16)));
        let (stop, counters) = (CancellationToken::new(), Arc::new(Counters::default()));
        let context = Context { stop: stop.clone(), counters: counters.clone() };
        let gates = (flushes.clone(), syncs.clone());
        let intake = move |_| Fake {
            events: sender.clone(),
            flushes: gates.0.clone(),
            syncs: gates.1.clone(),
            open: 0,
            accepted: 0,
            rejected: 0,
        };
        let task = tokio::spawn(run(listener, intake, context, limits));
        Source { events, flushes, syncs, stop, counters, task }
    }

    async fn tcp(limits: Limits) -> (Self, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self::start(listener, limits), address)
    }

    async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    async fn expect(&mut self, lines: &[&str]) {
        for text in lines {
            assert_eq!(self.event().await, line(text));
        }
    }

    /// Stops it; what it took after the last `event`.
    async fn end(mut self) -> Vec<Event> {
        self.stop.cancel();
        self.task.await.unwrap();
        assert_eq!(self.counters.connections.get(), 0);
        let mut rest = Vec::new();
        while let Some(event) = self.events.recv().await {
            rest.push(event);
        }
        rest
    }
}

/// Connections in memory.
struct Memory(Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl Listener for Memory {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        match self.0.lock().await.recv().await {
            Some(stream) => Ok((stream, None)),
            None => std::future::pending().await,
        }
    }
}

/// A source in memory and what connects to it; 64 bytes are on their way at most.
fn memory(limits: Limits) -> (Source, impl Fn() -> DuplexStream) {
    memory_with(limits, 64)
}

/// A source in memory and what connects to it; so many bytes are on their way at most.
fn memory_with(limits: Limits, on_the_way: usize) -> (Source, impl Fn() -> DuplexStream) {
    let (connections, listener) = mpsc::unbounded_channel();
    let connect = move || {
        let (client, server) = tokio::io::duplex(on_the_way);
        connections.send(server).unwrap();
        client
    };
    (Source::start(Memory(Mutex::new(listener)), limits), connect)
}

fn limits() -> Limits {
    Limits {
        max_connections: 4096,
        max_line: 64 * 1024,
        line_buffer: 1 << 20,
        idle_timeout: Duration::from_secs(300),
        stall_timeout: Duration::from_secs(30),
    }
}

async fn answers(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn lines_are_taken_and_control_lines_answered_in_order() {
    let (mut source, address) = Source::tcp(limits()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"a\r\nb\n!ping\nc\nd\n!sync\n!sync\n!ping\n").await.unwrap();
    for expected in ["pong\n", "ok 4 0\n", "ok 0 0\n", "pong\n"] {
        assert_eq!(answer(&mut client).await, expected);
    }
    source.expect(&["a", "b", "c", "d"]).await;
    assert_eq!((source.counters.connections.get(), source.counters.bytes.get()), (1, 33));
    drop(client);
    assert_eq!(source.event().await, Event::Gone);
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_client_that_only_stopped_sending_gets_its_answers_and_its_last_line_is_taken() {
    let (mut source, address) = Source::tcp(limits()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all("x\n".repeat(13).as_bytes()).await.unwrap();
    client.write_all(b"!sync\n!ping\nlast").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(answers(&mut client).await, "error bad luck\npong\n");
    source.expect(&["x"; 13]).await;
    source.expect(&["last"]).await;
}

#[tokio::test]
async fn a_unix_socket_takes_lines_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let listen = folder.path().join("socket");
    let config = crate::source::unix::Config { listen: listen.clone(), ..Default::default() };
    let mut source = Source::start(crate::source::unix::bind(&config).unwrap(), config.limits(65_536));
    let mut client = tokio::net::UnixStream::connect(&listen).await.unwrap();
    client.write_all(b"a\n!sync\nhalf").await.unwrap();
    assert_eq!(answer(&mut client).await, "ok 1 0\n");
    source.expect(&["a"]).await;
    assert_eq!(source.end().await, [Event::Gone]);
    assert!(!listen.exists());
}

#[tokio::test]
async fn a_line_cut_off_by_a_reset_is_not_taken() {
    let (mut source, address) = Source::tcp(limits()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"a\nhalf").await.unwrap();
    source.expect(&["a"]).await;
    // No linger: the end of the connection is a reset.
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(source.event().await, Event::Gone);
    let counters = source.counters.clone();
    assert!(source.end().await.is_empty());
    assert_eq!(counters.lines_cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_cut_off_by_the_idle_timeout_is_not_taken() {
    let (mut source, connect) = memory(limits());
    let mut client = connect();
    client.write_all(b"a\nhalf").await.unwrap();
    assert_eq!(answers(&mut client).await, "");
    source.expect(&["a"]).await;
    assert_eq!(source.event().await, Event::Gone);
    assert_eq!((source.counters.idle_closed.get(), source.counters.lines_cut.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_waits_for_answers() {
    let (source, connect) = memory(Limits { idle_timeout: Duration::from_secs(5), ..limits() });
    source.syncs.forget_permits(usize::MAX);
    let mut client = connect();
    client.write_all(b"a\n!sync\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    source.syncs.add_permits(1);
    assert_eq!(answers(&mut client).await, "ok 1 0\n");
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_whole_lines_only_and_leaves_no_question_open() {
    let (mut source, connect) = memory(limits());
    source.syncs.forget_permits(usize::MAX);
    let mut client = connect();
    client.write_all(b"a\n!sync\nb\nhalf").await.unwrap();
    source.expect(&["a", "b"]).await;
    let counters = source.counters.clone();
    assert_eq!(source.end().await, [Event::Gone]);
    assert_eq!(counters.lines_cut.get(), 1);
    assert_eq!(answers(&mut client).await, "error the daemon is stopping\n");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_client_that_reads_no_answers() {
    let (mut source, connect) = memory(limits());
    let mut client = connect();
    client.write_all("!ping\n".repeat(70).as_bytes()).await.unwrap();
    client.write_all(b"a\n").await.unwrap();
    source.expect(&["a"]).await;
    let start = Instant::now();
    source.stop.cancel();
    (&mut source.task).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn connections_over_the_limit_are_closed_and_counted() {
    let (source, connect) = memory(Limits { max_connections: 1, ..limits() });
    let mut first = connect();
    first.write_all(b"!ping\n").await.unwrap();
    assert_eq!(answer(&mut first).await, "pong\n");
    assert_eq!(answers(&mut connect()).await, "");
    assert_eq!(source.counters.connections_refused.get(), 1);
    first.shutdown().await.unwrap();
    assert_eq!(answers(&mut first).await, "");
    let mut second = connect();
    second.write_all(b"!ping\n").await.unwrap();
    assert_eq!(answer(&mut second).await, "pong\n");
    assert_eq!(source.counters.connections_total.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_sinks_have_no_room_nothing_is_read() {
    let (mut source, connect) = memory(limits());
    source.flushes.forget_permits(usize::MAX);
    let mut client = connect();
    let text = "line\n".repeat(10_000);
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let writer = tokio::spawn(async move {
        for chunk in text.as_bytes().chunks(50) {
            client.write_all(chunk).await.unwrap();
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    });
    // Time goes on only when nothing can be done any more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    source.expect(&["line"; 3]).await;
    assert!(source.events.try_recv().is_err());
    assert!(sent.load(Ordering::Relaxed) <= 64 + OWN);
    source.flushes.add_permits(1);
    source.expect(&["line"; 9_997]).await;
    writer.await.unwrap();
    assert_eq!(source.event().await, Event::Gone);
}

/// What a connection keeps for itself.
const OWN: u64 = share::OWN_BYTES as u64;

#[tokio::test(start_paused = true)]
async fn a_stop_takes_lines_that_waited_for_the_sinks() {
    let (mut source, connect) = memory(limits());
    source.flushes.forget_permits(usize::MAX);
    let mut client = connect();
    client.write_all(b"1\n2\n3\n4\n5\nhalf").await.unwrap();
    source.expect(&["1", "2", "3"]).await;
    source.stop.cancel();
    source.flushes.add_permits(1);
    assert_eq!(source.end().await, [line("4"), line("5"), Event::Gone]);
}

#[tokio::test(start_paused = true)]
async fn the_longest_line_is_taken_and_a_longer_one_counted_once() {
    let (mut source, connect) = memory(limits());
    let mut client = connect();
    let longest = "x".repeat(64 * 1024);
    client.write_all(format!("a\n{longest}\r\nb\n{longest}y\nc\n!sync\n").as_bytes()).await.unwrap();
    source.expect(&["a", &longest, "b"]).await;
    assert_eq!(source.event().await, Event::TooLong);
    source.expect(&["c"]).await;
    assert_eq!(answer(&mut client).await, "ok 4 1\n");
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_while_answers_are_waited_for_up_to_a_number() {
    let (mut source, connect) = memory(limits());
    source.syncs.forget_permits(usize::MAX);
    let mut client = connect();
    client.write_all(b"a\n!sync\nb\n").await.unwrap();
    source.expect(&["a", "b"]).await;
    let (mut reader, mut writer) = tokio::io::split(client);
    let asking = tokio::spawn(async move {
        for _ in 0..1000 {
            writer.write_all(b"c\n!sync\n").await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = std::iter::from_fn(|| source.events.try_recv().ok()).count();
    assert!((10..100).contains(&taken), "{taken}");
    // It waits for itself only.
    let mut other = connect();
    other.write_all(b"!ping\n").await.unwrap();
    assert_eq!(answer(&mut other).await, "pong\n");
    source.syncs.add_permits(1);
    assert_eq!(answer(&mut reader).await, "ok 1 0\n");
    assert_eq!(answer(&mut reader).await, "ok 2 0\n");
    for _ in 1..1000 {
        assert_eq!(answer(&mut reader).await, "ok 1 0\n");
    }
    asking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn clients_that_read_no_answers_are_closed_and_stop_nobody_meanwhile() {
    let (mut source, connect) = memory(limits());
    let mut deaf = Vec::new();
    for _ in 0..2 * TURNS {
        let mut client = connect();
        deaf.push(tokio::spawn(async move {
            // Ends with an error when the connection is closed.
            while client.write_all(b"!ping\n").await.is_ok() {}
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut other = connect();
    other.write_all(b"a\n!sync\n").await.unwrap();
    assert_eq!(answer(&mut other).await, "ok 1 0\n");
    source.expect(&["a"]).await;
    for client in deaf {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn thousands_of_idle_and_slow_connections_change_nothing_for_another() {
    let (mut source, address) = Source::tcp(limits()).await;
    let mut others = Vec::new();
    for index in 0..2000 {
        let mut client = TcpStream::connect(address).await.unwrap();
        if index % 2 == 0 {
            client.write_all(b"slow").await.unwrap();
        }
        others.push(client);
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    for _ in 0..100 {
        client.write_all(("line\n".repeat(100) + "!sync\n").as_bytes()).await.unwrap();
        assert_eq!(answer(&mut client).await, "ok 100 0\n");
    }
    source.expect(&["line"; 10_000]).await;
    assert_eq!(source.counters.connections.get(), 2001);
    let rest = source.end().await;
    assert_eq!(rest.len(), 2001);
    assert!(rest.iter().all(|event| *event == Event::Gone));
}
