//! `POST /replay`: dead letters, one a line, are handed to their sinks again.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::pipeline::Ingest;
use crate::pipeline::replay::{Fate, MAX_LETTERS, replay};
use crate::source::http::{Guard, Refusal, receive};

/// So long a client may take to send the letters.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fates {
    /// What came of each letter, in order.
    pub letters: Vec<Fate>,
}

struct Page {
    ingest: Arc<Ingest>,
    guard: Guard,
    max_body: usize,
    /// One request at a time: so the memory that letters take is bounded, and they stay in order.
    turn: Semaphore,
}

/// The page. A request may have `max_body` bytes.
pub fn router(ingest: Arc<Ingest>, guard: Guard, max_body: usize) -> Router {
    let page = Page { ingest, guard, max_body, turn: Semaphore::new(1) };
    let letters = post(letters).fallback(|| std::future::ready(Refusal::method_not_allowed()));
    Router::new().route("/replay", letters).with_state(Arc::new(page))
}

/// Bytes of memory that a request takes: its body, the report that is read of it, and what is stored of that.
pub fn memory(max_body: usize) -> usize {
    3 * max_body
}

async fn letters(State(page): State<Arc<Page>>, request: Request) -> Result<Response, Refusal> {
    page.guard.check(request.headers())?;
    let busy = |_| {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "letters are being replayed already: send it again later")
    };
    let _turn = page.turn.try_acquire().map_err(busy)?;
    let all = request.uri().query() == Some("all");
    let received = tokio::time::timeout(RECEIVE_TIMEOUT, receive(request.into_body(), page.max_body)).await;
    let body = received.map_err(|_| Refusal::too_slow())??;
    if memchr::memchr_iter(b'\n', &body).count() > MAX_LETTERS {
        let error = format!("more than {MAX_LETTERS} letters: send them in parts");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let letters = replay(&page.ingest, &body, all).await;
    Ok(Json(Fates { letters }).into_response())
}
