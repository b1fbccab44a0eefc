//! What becomes of connections while answers are read slowly, or not at all.

use std::io::ErrorKind;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::Counters;

/// Bytes of a page that no buffer of the kernel holds.
const LONG: usize = 64 << 20;

struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Server {
    async fn start(receive_timeout: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let context = Context { stop: CancellationToken::new(), counters: Arc::clone(&counters) };
        let router = Router::new()
            .route("/long", get(|| async { vec![b'x'; LONG] }))
            .route("/short", get(|| async { "short" }));
        tokio::spawn(serve(listener, router, context, Limits { max_connections: 1, receive_timeout }));
        Server { address, counters }
    }

    /// Asks for a page, with a receive buffer that holds little of it, and reads the first byte of the answer.
    async fn ask(&self, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(self.address).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H');
        client
    }

    /// Whether somebody who comes now is served.
    async fn serves_another(&self) -> bool {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let asked = client.write_all(b"GET /short HTTP/1.0\r\n\r\n").await;
        let mut answer = String::new();
        match asked.and(client.read_to_string(&mut answer).await) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                    "{error}"
                );
                false
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_being_read_is_not_cut_for_another_connection() {
    let server = Server::start(Duration::from_secs(600)).await;
    let mut reader = server.ask("/long").await;
    assert!(!server.serves_another().await);
    let counters = &server.counters;
    assert_eq!((counters.idle_closed.get(), counters.connections_refused.get()), (0, 1));
    let mut answer = vec![0; LONG];
    // Of its head one byte was read, and the rest comes on top.
    reader.read_exact(&mut answer).await.unwrap();
}

#[tokio::test]
async fn whoever_has_the_answer_or_does_not_read_it_in_time_makes_room() {
    let server = Server::start(Duration::from_secs(600)).await;
    let mut reader = server.ask("/short").await;
    // Written whole, though the client has not read it.
    while !server.serves_another().await {}
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("short"), "{rest}");
    assert_eq!(server.counters.idle_closed.get(), 1);

    let server = Server::start(Duration::from_millis(500)).await;
    let _deaf = server.ask("/long").await;
    while !server.serves_another().await {}
    assert_eq!(server.counters.idle_closed.get(), 1);
}
