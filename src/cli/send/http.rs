//! Lines as the body of a request, and what its answer says.

use hyper::StatusCode;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::{Error, Report};
use crate::cli::request;

/// Posts `lines` and waits for the answer.
pub(super) async fn post(authority: &str, path: &str, lines: Vec<u8>) -> Result<Report, Error> {
    let stream = TcpStream::connect(authority).await.map_err(Error::Nobody)?;
    let (status, body) = request::post(stream, authority, path, None, lines).await?;
    report(status, &body)
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
