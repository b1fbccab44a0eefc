//! What a request is answered with: always JSON.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::source::{BodyRefused, BodyTaken};

/// The answer for a body that was taken: 202 if its reports cannot all be called stored.
pub(super) fn taken(taken: &BodyTaken) -> Response {
    #[derive(Serialize)]
    struct Taken<'a> {
        accepted: u64,
        rejected: u64,
        errors: Vec<Line<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        line: u64,
        code: &'static str,
        reason: &'a str,
    }
    let status = if taken.error.is_none() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let lines = taken.errors.iter();
    let answer = Taken {
        accepted: taken.accepted,
        rejected: taken.rejected,
        errors: lines.map(|line| Line { line: line.line, code: line.code, reason: &line.reason }).collect(),
        error: taken.error.as_deref(),
    };
    (status, Json(answer)).into_response()
}

/// Nothing of the request was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(super) status: StatusCode,
    /// What to do about it.
    error: String,
}

impl Refusal {
    /// With a status and a sentence.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Refusal { status, error: error.into() }
    }

    /// Anything but POST.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "send reports with POST")
    }

    pub(super) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests in work: send it again later, or raise `max_requests`",
        )
    }

    /// The body took longer than it may.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time: send less at once, or raise `receive_timeout`",
        )
    }

    pub(super) fn too_large(max_body: usize) -> Self {
        let error = format!(
            "the body has more than {max_body} bytes, as sent or inflated: send it in parts, or raise `max_body`"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    }
}

impl From<BodyRefused> for Refusal {
    fn from(refused: BodyRefused) -> Self {
        let (status, error) = match refused {
            BodyRefused::TooManyRecords => {
                let error = "the records of the body take more than 2 MiB of memory (48 bytes each, and the body): \
                             send it in parts";
                (StatusCode::PAYLOAD_TOO_LARGE, error)
            }
            BodyRefused::NoRoom => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no room in the journal or a sink: send it again later, and see /ready",
            ),
            BodyRefused::Stopping => {
                (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping: send it again later")
            }
        };
        Self::new(status, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Error {
            error: String,
        }
        let extra = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "POST")),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Some((header::ACCEPT_ENCODING, "gzip, deflate")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some((header::RETRY_AFTER, "1"))
            }
            _ => None,
        };
        (self.status, extra.map(|header| [header]), Json(Error { error: self.error })).into_response()
    }
}
