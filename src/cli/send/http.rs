//! Lines as the body of a request, and what its answer says.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::{Error, Report};

/// Bytes of an answer at most: a hundred refused lines take less.
const ANSWER_BYTES: usize = 1 << 20;

/// Posts `lines` and waits for the answer.
pub(super) async fn post(authority: &str, path: &str, lines: String) -> Result<Report, Error> {
    let stream = TcpStream::connect(authority).await?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Full::new(Bytes::from(lines)))
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let exchange = async {
        let response = requests.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, Error>((status, body.to_bytes()))
    };
    // The connection does the work; it ends after the exchange, or with it.
    tokio::pin!(exchange);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        ended = connection => {
            ended.map_err(broken)?;
            exchange.await?
        }
    };
    report(status, &body)
}

fn broken(error: hyper::Error) -> Error {
    std::io::Error::other(error).into()
}

/// The members of an answer; which are there depends on its status.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    rejected: u64,
    #[serde(default)]
    errors: Vec<Line>,
    error: Option<String>,
}

/// A refused line.
#[derive(Deserialize)]
struct Line {
    line: u64,
    code: String,
    reason: String,
}

fn report(status: StatusCode, body: &[u8]) -> Result<Report, Error> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| {
        let start: String = String::from_utf8_lossy(body).chars().take(100).collect();
        Error::Stranger(format!("{status} {start}"))
    })?;
    if status != StatusCode::OK && status != StatusCode::ACCEPTED {
        return Ok(Report::Refused(answer.error.unwrap_or_else(|| status.to_string())));
    }
    let refused = answer.errors.iter();
    Ok(Report::Answered {
        accepted: answer.accepted,
        rejected: answer.rejected,
        refused: refused.map(|line| format!("line {}: {}: {}", line.line, line.code, line.reason)).collect(),
        error: answer.error,
    })
}
