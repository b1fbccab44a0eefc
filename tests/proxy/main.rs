//! The fault proxy itself: each fault is what it says, before a server that can only echo.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "mod.rs"]
mod proxy;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use proxy::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A server that sends back what it reads, and tells what it read.
async fn echo() -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while client.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    let _ = tell.send(bytes.clone());
                    client.write_all(&bytes).await.unwrap();
                    bytes.clear();
                }
            });
        }
    });
    (address, told)
}

/// What comes back for `text` until so many bytes have come, or the end.
async fn ask(stream: &mut TcpStream, text: &[u8], length: usize) -> Vec<u8> {
    let mut back = Vec::new();
    if stream.write_all(text).await.is_ok() {
        while back.len() < length && stream.read_buf(&mut back).await.is_ok_and(|read| read > 0) {}
    }
    back
}

#[tokio::test]
async fn without_a_fault_all_passes_also_on_one_connection_twice() {
    let (address, _told) = echo().await;
    let proxy = Proxy::before(&address).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    for text in [&b"one"[..], b"two"] {
        assert_eq!(ask(&mut client, text, 3).await, text);
    }
}

#[tokio::test]
async fn away_refuses_closes_what_is_open_and_comes_back_at_the_same_port() {
    let (address, _told) = echo().await;
    let proxy = Proxy::before(&address).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    ask(&mut client, b"one", 3).await;
    for _ in 0..3 {
        proxy.set(Fault::Away).await;
        assert_eq!(ask(&mut client, b"two", 3).await, b"");
        let refused = TcpStream::connect(proxy.address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Fault::None).await;
        client = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(ask(&mut client, b"three", 5).await, b"three");
    }
}

#[tokio::test]
async fn what_hangs_never_reaches_the_server_and_is_closed_at_the_end() {
    let (address, mut told) = echo().await;
    let proxy = Proxy::before(&address).await;
    let mut open = TcpStream::connect(proxy.address).await.unwrap();
    ask(&mut open, b"before", 6).await;
    assert_eq!(told.recv().await.unwrap(), b"before");
    proxy.set(Fault::Hang).await;
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    for client in [&mut open, &mut new] {
        let answer = tokio::time::timeout(Duration::from_millis(50), ask(client, b"during", 6)).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    proxy.set(Fault::None).await;
    assert_eq!(ask(&mut open, b"", 1).await, b"");
    assert_eq!(ask(&mut new, b"", 1).await, b"");
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn slow_bytes_all_pass() {
    let (address, _told) = echo().await;
    let proxy = Proxy::before(&address).await;
    proxy.set(Fault::Slow { piece: 10, pause: Duration::from_millis(1) }).await;
    let text = vec![b'x'; 1000];
    let started = Instant::now();
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(ask(&mut client, &text, text.len()).await, text);
    // To the server alone there are 100 pauses.
    assert!(started.elapsed() >= Duration::from_millis(100));
    proxy.struck().await;
}

#[tokio::test]
async fn a_reply_is_cut_in_half_or_lost_after_the_server_has_read() {
    let (address, mut told) = echo().await;
    let proxy = Proxy::before(&address).await;
    for (fault, gets) in [(Fault::HalfReply, &b"123"[..]), (Fault::LoseReply, b"")] {
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        // Open before: the fault holds for what is open too.
        proxy.set(Fault::None).await;
        ask(&mut client, b"hello", 5).await;
        assert_eq!(told.recv().await.unwrap(), b"hello");
        proxy.set(fault).await;
        assert_eq!(ask(&mut client, b"123456", 6).await, gets);
        assert_eq!(told.recv().await.unwrap(), b"123456");
        proxy.struck().await;
    }
}

#[tokio::test]
async fn requests_are_answered_in_place_of_the_server_those_that_are_meant() {
    let (address, mut told) = echo().await;
    let proxy = Proxy::before(&format!("http://{address}")).await;
    let request = |body: &str| format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    proxy.set(Fault::Answer { to: "bad", status: 503, body: "{}" }).await;
    let good = request("good");
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(ask(&mut client, good.as_bytes(), good.len()).await, good.as_bytes());
    assert_eq!(told.recv().await.unwrap(), good.as_bytes());
    // In two parts, on the same connection.
    let bad = request("bad");
    client.write_all(&bad.as_bytes()[..20]).await.unwrap();
    let answer = String::from_utf8(ask(&mut client, &bad.as_bytes()[20..], usize::MAX).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n{}"), "{answer}");
    assert!(told.try_recv().is_err());
}
