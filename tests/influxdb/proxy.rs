//! A way to the server that fails as it is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the next requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing: they reach the server, and the answer the client.
    None,
    /// The connection is closed at once.
    Away,
    /// No answer ever comes.
    Hang,
    /// The server answers, and the client does not get to know.
    LoseReply,
    /// It is answered 503.
    Busy,
    /// A write with the report `refused` in it is answered as one with a report that the server will never take.
    #[allow(dead_code, reason = "only the laws for all sinks need it")]
    Refuse,
}

/// Stands before a server.
pub(crate) struct Proxy {
    pub(crate) url: String,
    fault: Arc<Mutex<Fault>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// One before the server at `url`.
    pub(crate) async fn before(url: &str) -> Proxy {
        let upstream = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fault = Arc::new(Mutex::new(Fault::None));
        let shared = Arc::clone(&fault);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let fault = *shared.lock().unwrap();
                let upstream = upstream.clone();
                // A client that goes away in the middle is what this is for.
                tokio::spawn(async move { carry(client, &upstream, fault).await.ok() });
            }
        });
        Proxy { url, fault, task }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one request and its answer; each connection carries one.
async fn carry(mut client: TcpStream, upstream: &str, fault: Fault) -> std::io::Result<()> {
    if fault == Fault::Away {
        return Ok(());
    }
    let request = request(&mut client).await?;
    match fault {
        Fault::Hang => std::future::pending::<()>().await,
        Fault::Busy => {
            let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(busy).await;
        }
        Fault::Refuse if request.windows(14).any(|bytes| bytes == b"name=\"refused\"") => {
            let body = r#"{"error":"partial write: not this one dropped=1"}"#;
            let head =
                format!("HTTP/1.1 400 No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            return client.write_all((head + body).as_bytes()).await;
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&request).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    if fault == Fault::LoseReply { Ok(()) } else { client.write_all(&answer).await }
}

/// A whole request, which asks for the connection to be closed behind its answer.
async fn request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if request.len() >= whole {
                request.splice(end..end, *b"\r\nConnection: close");
                return Ok(request);
            }
        }
        if client.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
