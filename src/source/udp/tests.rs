//! The source over real sockets, with an intake that tells what it is given.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration as StdDuration;

use tokio_util::sync::CancellationToken;

use super::worker::Read;
use super::*;
use crate::source::Counters;

mod inherited;

const BOTH: [Receive; 2] = [Receive::Recvmmsg, Receive::Recv];
const PATIENCE: StdDuration = StdDuration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Given {
    Read,
    Datagram(Vec<u8>, bool, Option<IpAddr>),
    Flush,
}

struct Fake {
    given: Sender<Given>,
    waiting: bool,
}

impl Fake {
    fn new() -> (Self, Receiver<Given>) {
        let (given, receiver) = mpsc::channel();
        (Fake { given, waiting: false }, receiver)
    }

    fn give(&self, given: Given) {
        // A test that has seen enough is gone.
        let _ = self.given.send(given);
    }
}

impl Datagrams for Fake {
    fn begin_read(&mut self, _bytes: usize) {
        self.give(Given::Read);
    }

    fn datagram(&mut self, bytes: &[u8], truncated: bool, peer: Option<IpAddr>) {
        self.waiting = true;
        self.give(Given::Datagram(bytes.to_vec(), truncated, peer));
    }

    fn is_waiting(&self) -> bool {
        self.waiting
    }

    fn flush(&mut self) {
        self.waiting = false;
        self.give(Given::Flush);
    }
}

struct Running {
    address: SocketAddr,
    context: Context,
    given: Receiver<Given>,
    thread: JoinHandle<()>,
}

impl Running {
    /// The next `n` datagrams.
    fn datagrams(&self, n: usize) -> Vec<(Vec<u8>, bool, Option<IpAddr>)> {
        let mut datagrams = Vec::new();
        while datagrams.len() < n {
            if let Given::Datagram(bytes, truncated, peer) = self.given.recv_timeout(PATIENCE).unwrap() {
                datagrams.push((bytes, truncated, peer));
            }
        }
        datagrams
    }

    /// Stops it, and returns what was given until the thread had ended.
    fn stop(self) -> Vec<Given> {
        self.context.stop.cancel();
        let given = rest(&self.given);
        self.thread.join().unwrap();
        given
    }
}

/// What is given until the thread has ended.
fn rest(given: &Receiver<Given>) -> Vec<Given> {
    let mut rest = Vec::new();
    loop {
        match given.recv_timeout(PATIENCE) {
            Ok(given) => rest.push(given),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the thread does not end"),
        }
    }
}

fn config(receive: Receive) -> Config {
    Config { listen: "127.0.0.1:0".to_owned(), receive, ..Config::default() }
}

fn context() -> Context {
    Context { stop: CancellationToken::new(), counters: Arc::new(Counters::default()) }
}

fn bind_first(config: &Config) -> Socket {
    bind(config).unwrap().remove(0)
}

fn start(config: &Config) -> Running {
    run(bind_first(config), context(), config)
}

fn run(socket: Socket, context: Context, config: &Config) -> Running {
    let (fake, given) = Fake::new();
    let address = socket.local_addr().unwrap();
    let thread = spawn(socket, fake, context.clone(), config).unwrap();
    Running { address, context, given, thread }
}

fn client(to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let client = UdpSocket::bind(any).unwrap();
    client.connect(to).unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_come_whole_and_in_order() {
    for receive in BOTH {
        let running = start(&config(receive));
        let client = client(running.address);
        let sent: Vec<Vec<u8>> = (0..500).map(|n| format!("name:{n}|c").into_bytes()).collect();
        for datagram in &sent {
            client.send(datagram).unwrap();
        }
        let came: Vec<Vec<u8>> = running.datagrams(500).into_iter().map(|(bytes, ..)| bytes).collect();
        assert_eq!(came, sent);
        let counters = running.context.counters.clone();
        running.stop();
        assert_eq!(counters.datagrams.get(), 500);
        assert_eq!(counters.bytes.get(), sent.iter().map(|d| d.len() as u64).sum::<u64>());
        assert_eq!((counters.truncated.get(), counters.kernel_drops.get()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_datagram_is_flushed_at_once() {
    for receive in BOTH {
        let running = start(&config(receive));
        client(running.address).send(b"a:1|c").unwrap();
        let next = || running.given.recv_timeout(PATIENCE).unwrap();
        assert_eq!(next(), Given::Read);
        assert_eq!(next(), Given::Datagram(b"a:1|c".to_vec(), false, None));
        assert_eq!(next(), Given::Flush);
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_and_the_empty_datagram_come_whole() {
    for receive in BOTH {
        let running = start(&config(receive));
        let client = client(running.address);
        client.send(&[b'a'; 65_507]).unwrap();
        client.send(b"").unwrap();
        let came = running.datagrams(2);
        assert_eq!(came[0], (vec![b'a'; 65_507], false, None));
        assert_eq!(came[1], (Vec::new(), false, None));
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_longer_than_max_datagram_is_cut_and_counted() {
    for receive in BOTH {
        let running = start(&Config { max_datagram: Size::from_bytes(600), ..config(receive) });
        let client = client(running.address);
        client.send(&[b'a'; 601]).unwrap();
        client.send(&[b'b'; 600]).unwrap();
        let came = running.datagrams(2);
        assert_eq!(came[0], (vec![b'a'; 600], true, None));
        assert_eq!(came[1], (vec![b'b'; 600], false, None), "it leaves no trace in the next");
        let counters = running.context.counters.clone();
        running.stop();
        assert_eq!(counters.truncated.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_listened_on() {
    for receive in BOTH {
        let config =
            Config { listen: "[::1]:0".to_owned(), hostname: Some("peer".to_owned()), ..config(receive) };
        let running = start(&config);
        client(running.address).send(b"a:1|c").unwrap();
        assert_eq!(running.datagrams(1), [(b"a:1|c".to_vec(), false, Some("::1".parse().unwrap()))]);
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_came_by_ipv4_is_named_so_on_an_ipv6_socket() {
    for receive in BOTH {
        let config =
            Config { listen: "[::]:0".to_owned(), hostname: Some("peer".to_owned()), ..config(receive) };
        let running = start(&config);
        let to = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
        for text in [&b"a:1|c"[..], b"b:2|c"] {
            client(to).send(text).unwrap();
            assert_eq!(running.datagrams(1), [(text.to_vec(), false, Some("127.0.0.1".parse().unwrap()))]);
        }
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_wakes_a_thread_that_waits_and_ends_it() {
    for receive in BOTH {
        let running = start(&config(receive));
        client(running.address).send(b"a:1|c").unwrap();
        while running.given.recv_timeout(PATIENCE).unwrap() != Given::Flush {}
        assert_eq!(running.stop(), [], "nothing is given or flushed twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_stop_what_the_kernel_holds_is_read_and_flushed() {
    for receive in BOTH {
        let config = config(receive);
        let socket = bind_first(&config);
        let client = client(socket.local_addr().unwrap());
        for _ in 0..200 {
            client.send(b"a:1|c").unwrap();
        }
        let context = context();
        context.stop.cancel();
        let given = run(socket, context, &config).stop();
        assert_eq!(given.iter().filter(|given| matches!(given, Given::Datagram(..))).count(), 200);
        assert_eq!(given.last(), Some(&Given::Flush));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_drops_of_the_last_burst_is_counted() {
    for receive in BOTH {
        let config = Config { receive_buffer: Size::from_kib(16), ..config(receive) };
        let socket = bind_first(&config);
        let client = client(socket.local_addr().unwrap());
        for _ in 0..1000 {
            client.send(&[b'a'; 500]).unwrap();
        }
        let running = run(socket, context(), &config);
        let counters = running.context.counters.clone();
        running.stop();
        assert!(counters.kernel_drops.get() > 0);
        assert_eq!(counters.datagrams.get() + counters.kernel_drops.get(), 1000);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_tells_its_drops_beside_the_next_datagram() {
    use std::os::fd::AsFd;
    let socket = bind_first(&Config { receive_buffer: Size::from_kib(16), ..config(Receive::Recvmmsg) });
    let client = client(socket.local_addr().unwrap());
    let mut slots = sys::Slots::new(64, 576, 576, false);
    for _ in 0..1000 {
        client.send(&[b'a'; 500]).unwrap();
    }
    let mut held = 0;
    loop {
        match slots.receive(socket.socket.as_fd()).unwrap() {
            0 => break,
            n => held += n,
        }
    }
    client.send(b"a:1|c").unwrap();
    assert_eq!(slots.receive(socket.socket.as_fd()).unwrap(), 1);
    assert_eq!(slots.drops(), Some(1000 - held as u32));
    assert_eq!(sys::drops(socket.socket.as_fd()).unwrap(), 1000 - held as u32);
}

/// Never has nothing to give, until it has done so `calls` times.
struct Endless {
    calls: u32,
    gap: StdDuration,
    stop: CancellationToken,
}

impl worker::Receive for Endless {
    fn receive(&mut self, _: &UdpSocket, intake: &mut impl Datagrams) -> io::Result<Read> {
        if self.calls == 0 {
            self.stop.cancel();
            return Ok(Read::default());
        }
        self.calls -= 1;
        thread::sleep(self.gap);
        intake.datagram(b"a:1|c", false, None);
        Ok(Read { datagrams: 1, more: true, ..Read::default() })
    }
}

fn run_endless(socket: Socket, calls: u32, gap: StdDuration) -> (Vec<Given>, Context) {
    let (fake, given) = Fake::new();
    let context = context();
    let now = Instant::now();
    let max_latency = StdDuration::from_millis(2);
    let worker = Worker {
        socket: socket.socket,
        stop: UnixStream::pair().unwrap().0,
        intake: fake,
        context: context.clone(),
        max_latency,
        pause: Pause::new(max_latency, socket.granted, now),
        drops: Drops::default(),
        errors: Seldom::default(),
        losses: Seldom::default(),
    };
    worker.run(Endless { calls, gap, stop: context.stop.clone() });
    (rest(&given), context)
}

#[test]
fn under_load_what_waits_is_flushed_after_max_latency() {
    let socket = bind_first(&config(Receive::Recv));
    let (given, _) = run_endless(socket, 4, StdDuration::from_millis(1));
    let first = given.iter().position(|given| *given == Given::Flush);
    assert!(first.is_some_and(|first| first < given.len() - 1), "{given:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn under_load_the_kernel_is_asked_for_its_drops_each_second() {
    struct Watch(Context, Endless);
    impl worker::Receive for Watch {
        fn receive(&mut self, socket: &UdpSocket, intake: &mut impl Datagrams) -> io::Result<Read> {
            if self.0.counters.kernel_drops.get() > 0 {
                self.0.stop.cancel();
                return Ok(Read::default());
            }
            self.1.receive(socket, intake)
        }
    }
    let config = Config { receive_buffer: Size::from_kib(16), ..config(Receive::Recv) };
    let socket = bind_first(&config);
    let client = client(socket.local_addr().unwrap());
    for _ in 0..1000 {
        client.send(&[b'a'; 500]).unwrap();
    }
    let (fake, _given) = Fake::new();
    let context = context();
    let worker = Worker {
        socket: socket.socket,
        stop: UnixStream::pair().unwrap().0,
        intake: fake,
        context: context.clone(),
        max_latency: StdDuration::ZERO,
        pause: Pause::new(StdDuration::ZERO, 0, Instant::now()),
        drops: Drops::default(),
        errors: Seldom::default(),
        losses: Seldom::default(),
    };
    let gap = StdDuration::from_millis(1);
    let endless = Endless { calls: 20_000, gap, stop: context.stop.clone() };
    let start = Instant::now();
    worker.run(Watch(context, endless));
    assert!(start.elapsed() < PATIENCE, "seen only at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_an_address_and_lose_nothing_between_them() {
    let config = Config { workers: NonZeroUsize::new(3).unwrap(), ..config(Receive::Recvmmsg) };
    let context = context();
    let sockets = bind(&config).unwrap();
    assert_eq!(sockets.len(), 3);
    let address = sockets[0].local_addr().unwrap();
    let clients: Vec<_> = (0..20).map(|_| client(address)).collect();
    for client in &clients {
        client.send(b"a:1|c").unwrap();
    }
    context.stop.cancel();
    for socket in sockets {
        assert_eq!(socket.local_addr().unwrap(), address);
        run(socket, context.clone(), &config).stop();
    }
    assert_eq!(context.counters.datagrams.get(), 20);
}

#[test]
fn one_worker_does_not_share_its_address() {
    let first = bind_first(&config(Receive::Recvmmsg));
    let listen = first.local_addr().unwrap().to_string();
    let error = bind(&Config { listen: listen.clone(), ..config(Receive::Recvmmsg) }).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(
        error.to_string(),
        format!(
            "listen = \"{listen}\": address in use: another daemon listens there; stop it or change listen"
        )
    );
}

#[test]
fn a_listen_that_is_no_address_is_refused_with_an_example() {
    for listen in ["", "8125", "127.0.0.1", "127.0.0.1:99999", "::1:8125:x"] {
        let error = bind(&Config { listen: listen.to_owned(), ..config(Receive::Recvmmsg) }).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("listen = \"{listen}\": ")), "{text}");
        assert!(text.contains("write an address and a port, as "), "{text}");
    }
}

#[test]
fn the_buffer_granted_is_told_in_the_terms_it_was_asked_for() {
    let config = Config { receive_buffer: Size::from_kib(64), ..config(Receive::Recvmmsg) };
    let granted = bind_first(&config).receive_buffer();
    assert_eq!(granted, 64 << 10);
    assert_eq!(shortfall(&config, granted), None);
}

#[test]
fn a_buffer_that_is_smaller_than_asked_for_names_the_sysctl_and_where_to_set_it() {
    let warning = shortfall(&Config::default(), 212_992).unwrap();
    for part in ["212992", "16777216", "receive_buffer", "net.core.rmem_max=16777216", "on the host"] {
        assert!(warning.contains(part), "{warning}");
    }
}

#[test]
fn keys_have_defaults_and_unknown_ones_are_refused() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    let config: Config = toml::from_str(
        "listen = \"[::1]:1\"\ndialect = \"statsd\"\nhostname = \"peer\"\nworkers = 2\nreceive_buffer = \"1MiB\"\n\
         max_datagram = \"8KiB\"\nmax_latency = \"500us\"\nreceive = \"recv\"",
    )
    .unwrap();
    assert_eq!(config.receive, Receive::Recv);
    assert_eq!(config.workers.get(), 2);
    assert!(toml::from_str::<Config>("workers = 0").is_err());
    assert!(toml::from_str::<Config>("recieve = \"recv\"").unwrap_err().to_string().contains("recieve"));
}

#[test]
fn values_out_of_range_are_refused_by_key() {
    let refused = |toml: &str| toml::from_str::<Config>(toml).unwrap().check().unwrap_err();
    assert!(refused("max_datagram = \"575B\"").starts_with("max_datagram"));
    assert!(refused("max_datagram = \"65537B\"").starts_with("max_datagram"));
    assert!(refused("max_latency = \"1001ms\"").starts_with("max_latency"));
    assert!(refused("receive_buffer = \"2GiB\"").starts_with("receive_buffer"));
    assert_eq!(Config::default().check(), Ok(()));
    assert!(bind(&Config { max_latency: Duration::from_secs(2), ..Config::default() }).is_err());
}

#[test]
fn memory_counts_kernel_and_slots_of_each_worker() {
    let one = Config::default();
    assert!((36 << 20..37 << 20).contains(&one.memory()), "{}", one.memory());
    let two = Config { workers: NonZeroUsize::new(2).unwrap(), ..Config::default() };
    assert_eq!(two.memory(), 2 * one.memory());
    let plain = Config { receive: Receive::Recv, ..Config::default() };
    assert!(plain.memory() < one.memory());
}
