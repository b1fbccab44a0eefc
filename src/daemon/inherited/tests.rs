//! Sockets as they may be passed, and whose they are.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

use super::*;
use crate::config::Environment;

/// A configuration of these sources, with the admin pages at port 1.
fn config(sources: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kaneda.toml");
    let text = format!("[admin]\nlisten = '127.0.0.1:1'\n{sources}[[sink]]\ntype = 'null'\n");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), &Environment::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn source(name: &str, kind: &str, listen: impl Display) -> String {
    format!("[[source]]\nname = '{name}'\ntype = '{kind}'\nlisten = '{listen}'\n")
}

fn passed(name: &str, socket: impl Into<Socket>) -> Passed {
    Passed { name: name.to_owned(), socket: socket.into() }
}

fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn tcp() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn of(inherited: &Inherited, name: &str) -> Vec<String> {
    inherited.of(&Owner::Source(name.to_owned())).collect()
}

fn refusal(passed: Vec<Passed>, config: &Config) -> String {
    Inherited::assign(passed, config).unwrap_err().to_string()
}

#[test]
fn a_socket_belongs_to_the_listener_with_its_name_wherever_it_is_bound() {
    let ((datagrams, udp), (stream, tcp), (pages, admin), (requests, http)) = (udp(), tcp(), tcp(), tcp());
    let config = config(
        &(source("edge", "udp", "127.0.0.1:2")
            + &source("door", "tcp", "127.0.0.1:3")
            // The pages of this one would be on the admin address.
            + "[[source]]\ntype = 'http'\n"),
    );
    let sockets = vec![
        passed("http", requests),
        passed("admin", pages),
        passed("door", stream),
        passed("edge", datagrams),
    ];
    let mut inherited = Inherited::assign(sockets, &config).unwrap();
    assert_eq!(of(&inherited, "edge"), [format!("UDP at {udp}")]);
    assert_eq!(of(&inherited, "door"), [format!("TCP at {tcp}")]);
    assert_eq!(of(&inherited, "http"), [format!("TCP at {http}")]);
    assert_eq!(inherited.of(&Owner::Admin).collect::<Vec<_>>(), [format!("TCP at {admin}")]);
    let taken = inherited.take(&Owner::Admin);
    assert_eq!(taken[0].local_addr().unwrap().as_socket(), Some(admin));
    assert_eq!(inherited.take(&Owner::Admin).len(), 0);
}

#[test]
fn a_socket_with_another_name_belongs_to_who_would_bind_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (stream, datagram) =
        (UnixListener::bind(path("stream")).unwrap(), UnixDatagram::bind(path("datagram")).unwrap());
    std::os::unix::fs::symlink(folder.path(), path("link")).unwrap();
    let (datagrams, address) = udp();
    // TCP at the port of the UDP socket would be another source's.
    let config = config(
        &(source("tcp", "tcp", address)
            + &source("udp", "udp", address)
            + &source("unix", "unix", path("link/stream").display())
            + &source("unixgram", "unixgram", path("datagram").display())),
    );
    let name = "kaneda.socket";
    let sockets = vec![passed(name, datagrams), passed(name, stream), passed(name, datagram)];
    let inherited = Inherited::assign(sockets, &config).unwrap();
    assert_eq!(of(&inherited, "udp"), [format!("UDP at {address}")]);
    assert_eq!(of(&inherited, "tcp"), [""; 0]);
    let file = |name| fs::canonicalize(path(name)).unwrap();
    assert_eq!(of(&inherited, "unix"), [format!("Unix stream at {}", file("stream").display())]);
    assert_eq!(of(&inherited, "unixgram"), [format!("Unix datagram at {}", file("datagram").display())]);
}

#[test]
fn a_name_is_no_reason_to_give_a_source_what_it_cannot_read() {
    let ((stream, address), config) = (tcp(), config(&source("edge", "udp", "127.0.0.1:2")));
    let text = refusal(vec![passed("edge", stream)], &config);
    assert_eq!(
        text,
        format!(
            "the socket that was passed as \"edge\", TCP at {address}: no source of type tcp or http is called edge, \
             and none has this as `listen`: give a source, or [admin], this `listen`, or set FileDescriptorName= of \
             the socket's unit to the name of a source"
        )
    );
}

#[test]
fn all_sockets_that_belong_to_nobody_are_named() {
    let config = config(&source("edge", "udp", "127.0.0.1:2"));
    let ((first, one), (second, two)) = (udp(), udp());
    let text = refusal(vec![passed("unknown", first), passed("x", second)], &config);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains(&one.to_string()) && text.contains(&two.to_string()), "{text}");
}

#[test]
fn a_udp_source_takes_one_socket_for_each_worker() {
    let config = config(&(source("edge", "udp", "127.0.0.1:2") + "workers = 2\n"));
    let sockets = |n| (0..n).map(|_| passed("edge", udp().0)).collect::<Vec<_>>();
    let mut inherited = Inherited::assign(sockets(2), &config).unwrap();
    assert_eq!(inherited.take(&Owner::Source("edge".to_owned())).len(), 2);
    let text = refusal(sockets(3), &config);
    assert!(
        text.contains("source edge has workers = 2, and so many sockets already: raise workers"),
        "{text}"
    );
}

#[test]
fn a_listener_of_streams_takes_one_socket() {
    let config = config(&source("door", "tcp", "127.0.0.1:2"));
    let text = refusal(vec![passed("door", tcp().0), passed("door", tcp().0)], &config);
    assert!(text.contains("source door has a socket already"), "{text}");
}

#[test]
fn what_nothing_can_come_in_at_is_refused_with_the_reason() {
    let config = config(&source("door", "tcp", "127.0.0.1:2"));
    let (listener, address) = tcp();
    let client = std::net::TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    drop(client);
    let text = refusal(vec![passed("door", accepted)], &config);
    assert!(text.contains("Accept=yes"), "{text}");
    let file = std::fs::File::open("/dev/null").unwrap();
    let text = refusal(vec![passed("door", std::os::fd::OwnedFd::from(file))], &config);
    assert!(text.contains("as \"door\", cannot be used: "), "{text}");
}

#[test]
fn the_sockets_of_the_unit_are_those_of_the_defaults() {
    let unit = include_str!("../../../config/kaneda.socket");
    let config = Config::load(None, &Environment::default()).unwrap();
    let listeners = Listener::all(&config);
    let mut owners = Vec::new();
    for line in unit.lines() {
        let (kind, address) = match line.split_once('=') {
            Some(("ListenDatagram", address)) => (Kind::Udp, address),
            Some(("ListenStream", address)) => (Kind::Tcp, address),
            _ => continue,
        };
        let place = Place { kind, address: Address::Net(address.parse().unwrap()) };
        owners.push(owner(&listeners, "kaneda.socket", &place).map(|listener| listener.owner.to_string()));
    }
    let expected = ["source udp", "source tcp", "[admin]"];
    assert_eq!(owners, expected.map(|owner| Some(owner.to_owned())));
}
