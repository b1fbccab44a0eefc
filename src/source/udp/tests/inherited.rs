//! Sockets that were bound before, and may have been read by another daemon.

use super::*;

fn raw() -> RawSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

fn with_workers(workers: usize) -> Config {
    // An address that nothing can be bound to: it is not asked for.
    let listen = "192.0.2.1:1".to_owned();
    Config { listen, workers: NonZeroUsize::new(workers).unwrap(), ..config(Receive::Recvmmsg) }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_one_socket_and_each_datagram_reaches_one_of_them() {
    let context = context();
    let sockets = inherit(&with_workers(3), vec![raw()]).unwrap();
    assert_eq!(sockets.len(), 3);
    let client = client(sockets[0].local_addr().unwrap());
    let threads: Vec<_> =
        sockets.into_iter().map(|socket| run(socket, context.clone(), &with_workers(3))).collect();
    for n in 0..200 {
        client.send(n.to_string().as_bytes()).unwrap();
    }
    let mut came: Vec<usize> = Vec::new();
    for given in threads.into_iter().flat_map(Running::stop) {
        if let Given::Datagram(bytes, ..) = given {
            came.push(String::from_utf8(bytes).unwrap().parse().unwrap());
        }
    }
    came.sort_unstable();
    assert_eq!(came, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_nobody_read_is_read_and_the_socket_stays_for_the_next() {
    let (kept, config) = (raw(), with_workers(1));
    let client = client(kept.local_addr().unwrap().as_socket().unwrap());
    for round in ["first", "second"] {
        client.send(round.as_bytes()).unwrap();
        let socket = inherit(&config, vec![kept.try_clone().unwrap()]).unwrap().remove(0);
        let running = run(socket, context(), &config);
        assert_eq!(running.datagrams(1)[0].0, round.as_bytes());
        running.stop();
    }
}

#[test]
fn a_larger_buffer_than_is_asked_for_is_kept_and_a_smaller_one_raised() {
    let asked = Config { receive_buffer: Size::from_kib(64), ..with_workers(1) };
    let granted = |had: usize| {
        let socket = raw();
        socket.set_recv_buffer_size(had).unwrap();
        let inherited = inherit(&asked, vec![socket]).unwrap().remove(0);
        let of_socket = super::granted(&inherited.socket.into()).unwrap();
        assert_eq!(of_socket, inherited.granted);
        of_socket
    };
    assert_eq!(granted(128 << 10), 128 << 10);
    assert_eq!(granted(8 << 10), 64 << 10);
}

#[test]
#[cfg(target_os = "linux")]
fn drops_of_the_time_before_are_told_apart_and_those_since_are_counted_once() {
    let socket = raw();
    socket.set_recv_buffer_size(4096).unwrap();
    let config = Config { receive_buffer: Size::from_kib(4), ..with_workers(2) };
    let client = client(socket.local_addr().unwrap().as_socket().unwrap());
    let flood = || (0..100).for_each(|_| assert_eq!(client.send(&[b'a'; 500]).unwrap(), 500));
    flood();
    let sockets = inherit(&config, vec![socket]).unwrap();
    let before = sockets[0].dropped_before;
    assert!((1..100).contains(&before), "{before}");
    assert_eq!(sockets[1].dropped_before, 0, "it is the same socket");
    flood();
    let reading = sys::drops(std::os::fd::AsFd::as_fd(&sockets[1].socket)).unwrap();
    let counted: u64 = sockets.iter().map(|socket| socket.drops.since(reading)).sum();
    assert_eq!(counted, 100, "nobody read meanwhile");
}
