//! One POST to a daemon, and its answer.

use std::io;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of an answer at most: that for a hundred refused lines, or for as many letters as can be sent, takes less.
const ANSWER_BYTES: usize = 1 << 20;

/// Posts `body` over `stream` to `path` at `authority`, host and port, as one who has this `token`. The error is that of the network.
pub(super) async fn post(
    stream: TcpStream,
    authority: &str,
    path: &str,
    token: Option<&str>,
    body: Vec<u8>,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut request =
        Request::post(path).header(header::HOST, authority).header(header::CONTENT_TYPE, "text/plain");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let exchange = async {
        let response = requests.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((status, body.to_bytes()))
    };
    // The connection does the work; it ends after the exchange, or with it.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended.map_err(io::Error::other)?;
            exchange.await
        }
    }
}
