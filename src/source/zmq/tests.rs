//! A source against an application of the crate `zeromq`, and against bytes by hand.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeromq::{PushSocket, Socket, SocketSend, ZmqMessage};

use super::*;
use crate::source::Kept;
use crate::source::socket_file::Mode;
use crate::unit;

const REPORT: &str = r#"{"name":"a","metric":"gauge","value":1}"#;

/// Has room for one message, and then only for as many flushes as are permitted.
struct Narrow {
    permits: Arc<Semaphore>,
    is_full: bool,
}

impl Messages for Narrow {
    type Kept = std::future::Ready<Kept>;

    fn message(&mut self, _: &Message<'_>) -> Took {
        if std::mem::replace(&mut self.is_full, true) { Took::Full } else { Took::Taken }
    }

    fn unread(&mut self, _: &Unread<'_>) -> Took {
        Took::Taken
    }

    async fn flush(&mut self) -> Self::Kept {
        self.permits.acquire().await.unwrap().forget();
        self.is_full = false;
        std::future::ready(Kept::Stored)
    }

    fn hurry(&self) {}

    fn forget(&mut self, _: &str) {}
}

/// What an intake saw: a message, its reason if it cannot be read, or a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Unread(&'static str, Vec<u8>),
    Flush,
}

/// Takes everything.
#[derive(Clone, Default)]
struct Wide(Arc<Mutex<Vec<Seen>>>);

impl Wide {
    fn saw(&self, seen: Seen) -> Took {
        self.0.lock().unwrap().push(seen);
        Took::Taken
    }
}

impl Messages for Wide {
    type Kept = std::future::Ready<Kept>;

    fn as_it_came(&mut self, bytes: &[u8]) -> Option<Took> {
        Some(self.saw(Seen::Message(bytes.to_vec())))
    }

    fn message(&mut self, message: &Message<'_>) -> Took {
        self.saw(Seen::Message(message.line.to_vec()))
    }

    fn unread(&mut self, message: &Unread<'_>) -> Took {
        self.saw(Seen::Unread(message.code, message.bytes.to_vec()))
    }

    async fn flush(&mut self) -> Self::Kept {
        self.saw(Seen::Flush);
        std::future::ready(Kept::Stored)
    }

    fn hurry(&self) {}

    fn forget(&mut self, _: &str) {}
}

/// A source that runs.
struct Running {
    url: String,
    counters: Arc<Counters>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(config: &Config, intake: impl Messages) -> Running {
        let pull = bind(config).unwrap().remove(0);
        let (counters, stop) = (Arc::<Counters>::default(), CancellationToken::new());
        let context = Context { stop: stop.clone(), counters: counters.clone() };
        Running {
            url: pull.url().to_owned(),
            counters,
            stop,
            task: tokio::spawn(run(pull, intake, context, config.clone())),
        }
    }

    /// Waits until a counter is so much.
    async fn until(&self, counter: impl Fn(&Counters) -> u64, value: u64) {
        let reached = async {
            while counter(&self.counters) != value {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap();
    }

    async fn messages(&self, number: u64) {
        self.until(|counters| counters.datagrams.get(), number).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn config(url: &str, bind: bool) -> Config {
    // It is never the time that sends messages off.
    let max_latency = unit::Duration::from_secs(3600);
    Config { connection_url: OneOrMore::One(url.to_owned()), bind, max_latency, ..Config::default() }
}

async fn push_to(url: &str) -> PushSocket {
    let mut push = PushSocket::new();
    push.connect(url).await.unwrap();
    push
}

/// Sends a report, once the crate knows that somebody is there.
async fn send(push: &mut PushSocket) {
    while push.send(ZmqMessage::from(REPORT)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A connection to a source that is bound, by hand: hands are shaken.
async fn raw(url: &str) -> Wire {
    let wire = Url::read(url, false).unwrap().connect().await.unwrap();
    wire.write_all(&zmtp::greeting()).await.unwrap();
    wire.write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH").await.unwrap();
    let mut answer = [0; zmtp::GREETING_BYTES + 28];
    wire.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer[..64], &answer[64..]), (&zmtp::greeting()[..], &zmtp::ready()[..]));
    wire
}

#[tokio::test]
async fn nothing_is_read_while_the_intake_has_no_room() {
    let permits = Arc::new(Semaphore::new(0));
    let running = Running::start(
        &config("tcp://127.0.0.1:0", true),
        Narrow { permits: Arc::clone(&permits), is_full: false },
    );
    let mut push = push_to(&running.url).await;
    for _ in 0..5 {
        send(&mut push).await;
    }
    // One is taken, and the next is in hand.
    running.messages(2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.messages(2).await;
    permits.add_permits(2);
    running.messages(4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.messages(4).await;
    permits.add_permits(5);
    running.messages(5).await;
    running.end().await;
}

#[tokio::test]
async fn so_many_messages_wait_as_the_high_water_mark_says() {
    let wide = Wide::default();
    let config = Config { high_water_mark: 2, ..config("tcp://127.0.0.1:0", true) };
    let running = Running::start(&config, wide.clone());
    let mut push = push_to(&running.url).await;
    for _ in 0..5 {
        send(&mut push).await;
    }
    running.messages(5).await;
    running.end().await;
    let seen = wide.0.lock().unwrap();
    let is_flush: Vec<_> = seen.iter().map(|seen| *seen == Seen::Flush).collect();
    assert_eq!(is_flush, [false, false, true, false, false, true, false, true]);
}

#[tokio::test]
async fn what_was_read_is_sent_off_when_the_application_goes_away() {
    let mut push = PushSocket::new();
    let url = push.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let permits = Arc::new(Semaphore::new(1));
    let running =
        Running::start(&config(&url, false), Narrow { permits: Arc::clone(&permits), is_full: false });
    running.until(|counters| counters.connections.get(), 1).await;
    send(&mut push).await;
    running.messages(1).await;
    drop(push);
    running.until(|_| permits.available_permits() as u64, 0).await;
    running.end().await;
}

#[tokio::test]
async fn an_application_is_connected_to_again_over_tcp_and_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("tcp://{free}"), format!("ipc://{}", folder.path().join("socket").display())] {
        let wide = Wide::default();
        let running = Running::start(&config(&url, false), wide.clone());
        for round in 1..=3 {
            let mut push = PushSocket::new();
            // The one before may take a moment to be gone.
            while push.bind(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            running.until(|counters| counters.connections.get(), 1).await;
            assert_eq!(running.counters.queue.condition.get().0, State::Ok);
            send(&mut push).await;
            running.messages(round).await;
            drop(push);
            running.until(|counters| counters.connections.get(), 0).await;
            assert_eq!(running.counters.queue.condition.get().0, State::Retrying);
        }
        assert_eq!(running.counters.connections_total.get(), 3);
        running.end().await;
        let expected = [Seen::Message(REPORT.into()), Seen::Flush];
        assert_eq!(*wide.0.lock().unwrap(), [&expected[..]; 3].concat());
    }
}

#[tokio::test]
async fn a_unix_socket_is_bound_with_its_mode_and_removed() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let config = Config { mode: Mode(0o600), ..config(&format!("ipc://{}", path.display()), true) };
    let running = Running::start(&config, Wide::default());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = bind(&config).unwrap_err().to_string();
    assert!(again.starts_with("connection_url = "), "{again}");
    send(&mut push_to(&running.url).await).await;
    running.messages(1).await;
    running.end().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn one_application_too_many_is_refused() {
    let config = Config { max_connections: 1, ..config("tcp://127.0.0.1:0", true) };
    let running = Running::start(&config, Wide::default());
    let first = raw(&running.url).await;
    let refused = Url::read(&running.url, false).unwrap().connect().await.unwrap();
    assert!(refused.read_exact(&mut [0]).await.is_err());
    running.until(|counters| counters.connections_refused.get(), 1).await;
    drop(first);
    running.until(|counters| counters.connections.get(), 0).await;
    raw(&running.url).await;
    running.end().await;
}

#[tokio::test]
async fn who_does_not_speak_zeromq_is_refused_and_others_go_on() {
    let running = Running::start(&config("tcp://127.0.0.1:0", true), Wide::default());
    let url = Url::read(&running.url, false).unwrap();
    for (refused, bytes) in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64]].into_iter().enumerate() {
        let wire = url.connect().await.unwrap();
        wire.write_all(bytes).await.unwrap();
        running.until(|counters| counters.connections_refused.get(), refused as u64 + 1).await;
    }
    send(&mut push_to(&running.url).await).await;
    running.messages(1).await;
    running.end().await;
}

#[tokio::test]
async fn what_is_no_report_is_unread_and_a_ping_is_answered() {
    let wide = Wide::default();
    let config = Config { max_message: unit::Size::from_kib(1), ..config("tcp://127.0.0.1:0", true) };
    let running = Running::start(&config, wide.clone());
    let wire = raw(&running.url).await;
    let long = vec![b'x'; 5000];
    let frames = [&[2, 0, 0, 0, 0, 0, 0, 0x13, 0x88][..], &long, b"\x01\x02{}\x00\x02{}"].concat();
    wire.write_all(&frames).await.unwrap();
    wire.write_all(b"\x04\x08\x04PING\x00\x0ax").await.unwrap();
    let mut pong = [0; 8];
    wire.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x04\x06\x04PONGx");
    // A message that is announced and never comes, of more bytes than there is memory.
    wire.write_all(&[2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x']).await.unwrap();
    running.messages(2).await;
    drop(wire);
    running.until(|counters| counters.lines_cut.get(), 1).await;
    running.end().await;
    let expected = [
        Seen::Unread("too_long", long[..1024].to_vec()),
        Seen::Unread("bad_envelope", b"{}{}".to_vec()),
        Seen::Flush,
    ];
    assert_eq!(*wide.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn what_came_from_who_reads_no_answer_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let running = Running::start(
        &config(&format!("ipc://{}", folder.path().join("socket").display()), true),
        Narrow { permits: Arc::clone(&permits), is_full: false },
    );
    let wire = raw(&running.url).await;
    let report = [&[0, REPORT.len() as u8][..], REPORT.as_bytes()].concat();
    // The second waits for room; what is behind it is read when nobody is there any more who could be answered.
    wire.write_all(&report.repeat(2)).await.unwrap();
    running.messages(2).await;
    wire.write_all(&[b"\x04\x07\x04PING\x00\x0a", &report[..]].concat()).await.unwrap();
    drop(wire);
    permits.add_permits(10);
    running.messages(3).await;
    running.until(|counters| counters.connections.get(), 0).await;
    running.end().await;
}

#[tokio::test]
async fn what_has_come_when_the_source_stops_is_read_and_what_came_in_part_is_counted() {
    // Over TCP the kernel may hold up the last message.
    let folder = tempfile::tempdir().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let running = Running::start(
        &config(&format!("ipc://{}", folder.path().join("socket").display()), true),
        Narrow { permits: Arc::clone(&permits), is_full: false },
    );
    let (wire, other) = (raw(&running.url).await, raw(&running.url).await);
    other.write_all(&[0, 5, b'{']).await.unwrap();
    running.until(|counters| counters.bytes.get(), 3).await;
    let report = [&[0, REPORT.len() as u8][..], REPORT.as_bytes()].concat();
    wire.write_all(&report.repeat(2)).await.unwrap();
    running.messages(2).await;
    wire.write_all(&report).await.unwrap();
    running.stop.cancel();
    permits.add_permits(10);
    running.messages(3).await;
    running.until(|counters| counters.lines_cut.get(), 1).await;
    running.until(|counters| counters.connections.get(), 0).await;
    running.end().await;
}
