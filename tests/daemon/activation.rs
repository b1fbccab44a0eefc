//! Sockets that outlive the daemon: while it is restarted nobody is refused, and nothing is lost.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::network::try_ask;
use crate::process::{Daemon, PATIENCE, SQLITE, Start, count, named, passing, source, wait};

/// Lines before each `!sync`.
const LINES: usize = 20;
/// What has to be answered to each client before the daemon is restarted, and after.
const ROUNDS: u64 = 10;
/// Datagrams that are sent in each restart at least, if the buffer holds so many.
const IN_THE_GAP: u64 = 500;
/// What Linux counts against a receive buffer for a datagram of a few bytes is less.
const DATAGRAM_COST: u64 = 1024;

/// All kinds of sockets that a daemon may be given.
struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    http: TcpListener,
    admin: TcpListener,
    unix: UnixListener,
    unixgram: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Sockets {
    fn new() -> Sockets {
        let any = "127.0.0.1:0";
        let listener = || TcpListener::bind(any).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sockets = Sockets {
            udp: UdpSocket::bind(any).unwrap(),
            tcp: listener(),
            http: listener(),
            admin: listener(),
            unix: UnixListener::bind(folder.path().join("stream")).unwrap(),
            unixgram: UnixDatagram::bind(folder.path().join("datagram")).unwrap(),
            folder,
        };
        std::fs::set_permissions(sockets.stream(), std::fs::Permissions::from_mode(0o640)).unwrap();
        sockets
    }

    fn stream(&self) -> PathBuf {
        self.folder.path().join("stream")
    }

    fn datagram(&self) -> PathBuf {
        self.folder.path().join("datagram")
    }

    /// Some belong to a source by its name, some by its address.
    fn config(&self) -> String {
        let by_address = |kind: &str, socket: &TcpListener| {
            let address = socket.local_addr().unwrap();
            format!("[[source]]\ntype = '{kind}'\nlisten = '{address}'\n")
        };
        let by_path =
            |kind: &str, path: &Path| format!("[[source]]\ntype = '{kind}'\nlisten = '{}'\n", path.display());
        source("udp")
            + "workers = 2\n"
            + &by_address("tcp", &self.tcp)
            + &by_address("http", &self.http)
            + &by_path("unix", &self.stream())
            + &by_path("unixgram", &self.datagram())
            + SQLITE
            + "[limits]\nmemory_limit = '512MiB'\n"
    }

    fn start(&self, start: Start) -> Daemon {
        let unit = "kaneda.socket";
        let sockets: [(&str, &dyn AsFd); 6] = [
            (unit, &self.tcp),
            ("udp", &self.udp),
            (unit, &self.unix),
            (unit, &self.unixgram),
            ("admin", &self.admin),
            (unit, &self.http),
        ];
        start.passing(&sockets).daemon()
    }
}

/// What clients do until they are told to end, and how far they have come.
#[derive(Default)]
struct Load {
    end: AtomicBool,
    /// Datagrams over UDP, and how many there may be: no more than the buffer holds while nobody reads.
    sent: AtomicU64,
    allowed: AtomicU64,
    unixgrams: AtomicU64,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Acquire)
    }
}

/// A client that is answered: how often it was, and at the end the names of what it may rely on.
struct Client {
    what: &'static str,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Client {
    /// `round` sends lines of these names and says whether they were acknowledged.
    fn start(
        what: &'static str,
        load: &Arc<Load>,
        mut round: impl FnMut(&[String]) -> bool + Send + 'static,
    ) -> Client {
        let (load, rounds) = (Arc::clone(load), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&rounds);
        let thread = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if !load.goes_on() {
                    break;
                }
                let names: Vec<_> = (0..LINES).map(|line| format!("{what}.{number}.{line}")).collect();
                if round(&names) {
                    acknowledged.extend(names);
                    counted.fetch_add(1, Ordering::Release);
                }
            }
            acknowledged
        });
        Client { what, rounds, thread }
    }

    /// A connection for each round, or one for as long as it lasts.
    fn of_stream<S: Read + Write + Send + 'static>(
        what: &'static str,
        load: &Arc<Load>,
        is_kept: bool,
        connect: impl Fn() -> S + Send + 'static,
    ) -> Client {
        let mut kept = None;
        Client::start(what, load, move |names| {
            let mut stream = kept.take().unwrap_or_else(|| BufReader::new(connect()));
            let is_acknowledged = sync(&mut stream, names);
            kept = Some(stream).filter(|_| is_kept && is_acknowledged);
            is_acknowledged
        })
    }

    /// Waits until it was answered so often from now on.
    fn until_answered(&self) {
        let now = self.rounds.load(Ordering::Acquire);
        let is_so = || self.rounds.load(Ordering::Acquire) >= now + ROUNDS;
        assert!(wait(is_so), "{} is not answered any more", self.what);
    }
}

/// Sends lines and `!sync`; whether they were acknowledged. The daemon may end meanwhile.
fn sync(stream: &mut BufReader<impl Read + Write>, names: &[String]) -> bool {
    sync_lines(stream, names.iter().map(|name| format!("{name}:1|c\n")).collect())
}

/// Lines with ids and times of their own: these may be sent again.
fn with_ids(names: &[String]) -> String {
    names.iter().map(|name| format!("{name}:1|c|i:{name}|T1700000000\n")).collect()
}

fn sync_lines(stream: &mut BufReader<impl Read + Write>, lines: String) -> bool {
    let mut answer = String::new();
    let sent = stream.get_mut().write_all((lines + "!sync\n").as_bytes());
    match sent.and_then(|()| stream.read_line(&mut answer)) {
        Ok(_) if answer == format!("ok {LINES} 0\n") => true,
        Ok(0) | Err(_) => false,
        Ok(_) => {
            assert!(answer.starts_with("error the daemon is stopping"), "{answer}");
            false
        }
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("no connection is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("no connection is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Posts lines; whether they were acknowledged. The daemon may end meanwhile, but there is always one to connect to.
fn post(to: SocketAddr, names: &[String]) -> bool {
    let lines: String = names.iter().map(|name| format!("{name}:1|c\n")).collect();
    match try_ask(to, "POST", "/ingest", &[], lines.as_bytes()) {
        Ok((code, _)) => code == 200,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
            false
        }
    }
}

fn clients(sockets: &Sockets, load: &Arc<Load>) -> Vec<Client> {
    let (tcp, stream) = (sockets.tcp.local_addr().unwrap(), sockets.stream());
    let (http, admin) = (sockets.http.local_addr().unwrap(), sockets.admin.local_addr().unwrap());
    vec![
        Client::of_stream("tcp-kept", load, true, move || connect(tcp)),
        Client::of_stream("tcp-kept-too", load, true, move || connect(tcp)),
        Client::of_stream("tcp-new", load, false, move || connect(tcp)),
        Client::start("tcp-repeats", load, move |names| {
            // Whatever breaks: until it is answered.
            while !sync_lines(&mut BufReader::new(connect(tcp)), with_ids(names)) {}
            true
        }),
        Client::of_stream("unix-new", load, false, move || connect_unix(&stream)),
        Client::start("http", load, move |names| post(http, names)),
        Client::start("admin", load, move |_| match try_ask(admin, "GET", "/health", &[], b"") {
            Ok((code, _)) => code == 200,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
                false
            }
        }),
    ]
}

/// Sends numbered datagrams, each of one line.
fn senders(sockets: &Sockets, load: &Arc<Load>) -> [JoinHandle<()>; 2] {
    let (udp, unix) = (sockets.udp.local_addr().unwrap(), sockets.datagram());
    let (of_udp, of_unix) = (Arc::clone(load), Arc::clone(load));
    let udp = thread::spawn(move || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        while of_udp.goes_on() {
            let sent = of_udp.sent.load(Ordering::Acquire);
            if sent < of_udp.allowed.load(Ordering::Acquire) {
                client.send_to(format!("udp.{sent}:1|c").as_bytes(), udp).unwrap();
                of_udp.sent.store(sent + 1, Ordering::Release);
            }
            // A rate that a busy machine keeps up with: some thousands a second.
            thread::sleep(Duration::from_micros(200));
        }
    });
    let unix = thread::spawn(move || {
        let client = UnixDatagram::unbound().unwrap();
        while of_unix.goes_on() {
            let sent = of_unix.unixgrams.load(Ordering::Acquire);
            // The kernel holds the sender back while nobody reads.
            client.send_to(format!("unixgram.{sent}:1|c").as_bytes(), &unix).unwrap();
            of_unix.unixgrams.store(sent + 1, Ordering::Release);
            thread::sleep(Duration::from_micros(200));
        }
    });
    [udp, unix]
}

#[test]
fn a_restart_under_load_refuses_no_connection_and_loses_no_datagram() {
    let sockets = Sockets::new();
    let mut daemon = sockets.start(Start::with(&sockets.config()));
    assert_eq!(daemon.admin(), sockets.admin.local_addr().unwrap());
    let load = Arc::new(Load { allowed: AtomicU64::new(u64::MAX), ..Load::default() });
    let (clients, senders) = (clients(&sockets, &load), senders(&sockets, &load));
    let mut waiting = Vec::new();
    let mut in_gaps = 0;
    for gap in 0..2 {
        clients.iter().for_each(Client::until_answered);
        let held = socket2::SockRef::from(&sockets.udp).recv_buffer_size().unwrap() as u64 / DATAGRAM_COST;
        let before = load.sent.load(Ordering::Acquire);
        load.allowed.store(before + held / 4, Ordering::Release);
        let start = Instant::now();
        daemon.signal("TERM");
        let (_, ended) = daemon.ended();
        // Nobody is there. Who comes now waits, and is answered by the next one.
        let of_nobody = load.sent.load(Ordering::Acquire);
        load.allowed.store(of_nobody + held / 4, Ordering::Release);
        let names: Vec<_> = (0..LINES).map(|line| format!("gap.{gap}.{line}")).collect();
        let (tcp, http) = (sockets.tcp.local_addr().unwrap(), sockets.http.local_addr().unwrap());
        let (stream, of_stream) = (connect(tcp), names.clone());
        waiting.push((thread::spawn(move || sync(&mut BufReader::new(stream), &of_stream)), names));
        let names: Vec<_> = (0..LINES).map(|line| format!("gap-http.{gap}.{line}")).collect();
        let of_http = names.clone();
        waiting.push((thread::spawn(move || post(http, &of_http)), names));
        let enough = IN_THE_GAP.min(held / 4);
        assert!(wait(|| load.sent.load(Ordering::Acquire) >= of_nobody + enough));
        let sent = load.sent.load(Ordering::Acquire);
        daemon = sockets.start(Start::again(ended));
        load.allowed.store(u64::MAX, Ordering::Release);
        println!(
            "restart {}: {} ms; {} datagrams while no daemon was there",
            gap + 1,
            start.elapsed().as_millis(),
            sent - of_nobody
        );
        in_gaps += sent - of_nobody;
    }
    clients.iter().for_each(Client::until_answered);
    let status = daemon.status();
    let source = |name| named(&status["sources"], name);
    assert_eq!(source("udp")["listen"], sockets.udp.local_addr().unwrap().to_string());
    assert_eq!(source("unix")["listen"], sockets.stream().display().to_string());
    assert_eq!(count(&source("udp")["kernel_drops"]), 0);
    assert_eq!(count(&source("udp")["counters"]["kernel_drops_inherited"]), 0);

    load.end.store(true, Ordering::Release);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let mut acknowledged = Vec::new();
    for (thread, names) in waiting {
        assert!(thread.join().unwrap(), "who came while nobody was there was not answered: {}", names[0]);
        acknowledged.extend(names);
    }
    let is_report = |name: &String| !name.starts_with("admin.");
    for client in clients {
        acknowledged.extend(client.thread.join().unwrap().into_iter().filter(is_report));
    }
    let (_, ended) = daemon.end();
    let mut stored: HashMap<String, usize> = HashMap::new();
    for name in ended.rows("name") {
        *stored.entry(name).or_default() += 1;
    }
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let (datagrams, unixgrams) = (load.sent.load(Ordering::Acquire), load.unixgrams.load(Ordering::Acquire));
    let udp = (0..datagrams).map(|number| format!("udp.{number}"));
    let unixgram = (0..unixgrams).map(|number| format!("unixgram.{number}"));
    let lost =
        |names: &mut dyn Iterator<Item = String>| names.filter(|name| !stored.contains_key(name)).count();
    let losses = (lost(&mut udp.into_iter()), lost(&mut unixgram.into_iter()));
    println!(
        "UDP: {datagrams} datagrams, {in_gaps} of them while no daemon was there: lost {}\n\
         Unix: {unixgrams} datagrams: lost {}\nacknowledged: {} lines",
        losses.0,
        losses.1,
        acknowledged.len()
    );
    assert_eq!(losses, (0, 0));
    assert_eq!(lost(&mut acknowledged.into_iter()), 0);
    let mode = std::fs::metadata(sockets.stream()).expect("the file is its maker's").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(sockets.datagram().exists(), "so is this one");
}

#[test]
fn what_is_repeated_over_a_restart_is_stored_once() {
    let sockets = Sockets::new();
    let daemon = sockets.start(Start::with(&sockets.config()));
    let (tcp, http) = (sockets.tcp.local_addr().unwrap(), sockets.http.local_addr().unwrap());
    let set = |what: &str| (0..LINES).map(|line| format!("{what}.{line}")).collect::<Vec<_>>();
    let sets = ["answered", "taken", "posted", "unsent"].map(set);
    let [answered, taken, posted, unsent] = sets.each_ref();
    // Its answer is lost; of the second nobody has asked; the third may be in a store already.
    assert!(sync_lines(&mut BufReader::new(connect(tcp)), with_ids(answered)));
    let mut open = connect(tcp);
    open.write_all(with_ids(taken).as_bytes()).unwrap();
    let post = |names: &[String]| try_ask(http, "POST", "/ingest", &[], with_ids(names).as_bytes());
    assert_eq!(post(posted).unwrap().0, 200);
    daemon.until_delivered("sqlite", 3 * LINES as u64);
    // The half of this one is in the connection when it ends.
    open.write_all(&with_ids(unsent).as_bytes()[..500]).unwrap();
    daemon.signal("TERM");
    let (_, ended) = daemon.ended();
    let mut again = BufReader::new(connect(tcp));
    let all = [answered, taken, posted, unsent].map(|names| with_ids(names)).concat();
    again.get_mut().write_all((all + "!sync\n").as_bytes()).unwrap();
    let daemon = sockets.start(Start::again(ended));
    let mut answer = String::new();
    again.read_line(&mut answer).unwrap();
    assert_eq!(answer, format!("ok {} 0\n", 4 * LINES));
    assert_eq!(post(posted).unwrap().0, 200);
    daemon.until("nothing waits", |status| count(&status["sinks"][0]["waiting"]) == 0);
    let (_, ended) = daemon.end();
    let mut stored = ended.rows("name, id, time");
    let mut expected: Vec<_> =
        sets.concat().iter().map(|name| format!("{name} {name} {}", 1_700_000_000_000_000_000_i64)).collect();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

#[test]
fn a_socket_that_belongs_to_no_source_keeps_it_from_starting() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let start = Start::with(&(source("udp") + SQLITE)).passing(&[("door", &socket)]);
    let (code, said) = start.refusal();
    assert_eq!(code, 1, "{said}");
    let text =
        format!("the socket that was passed as \"door\", TCP at {address}: no source of type tcp or http");
    assert!(said.contains(&text) && said.contains("FileDescriptorName="), "{said}");
}

#[test]
fn sockets_that_were_passed_to_another_process_are_not_taken() {
    // As when a program that was given them starts the daemon.
    let start =
        Start::with(&(source("udp") + SQLITE)).variable("LISTEN_PID", "1").variable("LISTEN_FDS", "1");
    start.daemon().end();
    let start = Start::with(&(source("udp") + SQLITE)).passing(&[]).variable("LISTEN_FDS", "7");
    let (code, said) = start.refusal();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("LISTEN_FDS"), "{said}");
}

#[test]
fn kaneda_check_tells_which_sockets_are_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_kaneda"));
    check.arg("check").current_dir(folder.path());
    let (udp, admin) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let output = passing(&check, &[("udp", &udp), ("admin", &admin)]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let (udp, admin) = (udp.local_addr().unwrap(), admin.local_addr().unwrap());
    assert!(said.contains(&format!("  source udp (udp)\n    inherits UDP at {udp}\n")), "{said}");
    assert!(said.ends_with(&format!("    inherits TCP at {admin}\n")), "{said}");
}

#[test]
fn the_program_of_the_page_hands_its_sockets_from_one_daemon_to_the_next() {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("KANEDA_TEST_REQUIRE_CLIENTS").is_none(), "there is no python3");
        return eprintln!("skipped: there is no python3");
    }
    let page = include_str!("../../docs/restart.md");
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let program = program.replace("8125", "0").replace("8126", "0");
    let daemon =
        Start::with(&(source("udp") + &source("tcp") + SQLITE)).below(&["python3", "-c", &program]).daemon();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (udp, tcp) = (daemon.address("udp"), daemon.address("tcp"));
    client.send_to(b"first:1|c", udp).unwrap();
    daemon.until_delivered("sqlite", 1);
    daemon.signal("HUP");
    daemon.until_said("stopping: ");
    client.send_to(b"second:1|c", udp).unwrap();
    // The one that ends may still accept it, and end before it is stored.
    assert!(wait(|| sync(&mut BufReader::new(connect(tcp)), &vec!["third".to_owned(); LINES])));
    assert!(wait(|| daemon.said().matches("kaneda: admin on ").count() == 2));
    daemon.until_delivered("sqlite", LINES as u64);
    let (_, ended) = daemon.end();
    let mut names = ended.rows("name");
    names.sort();
    names.dedup();
    assert_eq!(names, ["first", "second", "third"]);
}
