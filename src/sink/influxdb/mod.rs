//! InfluxDB 1 and 2: every report a point, in Kaneda's layout. `docs/influxdb.md` describes it.
//!
//! The server has no ids: a point is known by its measurement, tags and time, so the time is made one of its own,
//! the same at each attempt, and to write a point again changes nothing.

mod answer;
mod check;
mod config;
mod encode;
mod escape;
mod send;
mod store;
mod tag;
mod time;

use std::num::NonZeroUsize;

use crate::record::Batch;
use crate::sink::{Answer, Outcome, Sink};

pub use check::check;
pub use config::{Config, Error};

use encode::Encoder;
use send::{Body, Client};

/// How many batches it is best sent at once. While the server works at one, the next is encoded: as fast as a loader of
/// ready bodies, where one at a time takes a fifth longer (`docs/performance.md`). The order in which points arrive does
/// not matter, since each has a time of its own.
pub const CONCURRENCY: NonZeroUsize = const { NonZeroUsize::new(2).unwrap() };
/// Bytes that a line of line protocol has beyond those of the report, about: the first guess of a body's size.
const LINE_OVERHEAD: usize = 64;

impl Config {
    /// Makes the sink `name`. It connects when the first batch comes.
    pub fn build(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        let client = Client::new(name, self)?;
        Ok(Box::new(Influxdb { client, encoder: Encoder { integers: self.integers }, gzip: self.gzip }))
    }
}

struct Influxdb {
    client: Client,
    encoder: Encoder,
    gzip: bool,
}

impl Sink for Influxdb {
    fn place(&self) -> String {
        self.client.place()
    }

    fn durability(&self) -> String {
        self.client.durability().to_owned()
    }

    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let (encoder, gzip) = (self.encoder, self.gzip);
            // Milliseconds of work for a large batch: not on a thread that sockets wait for.
            match tokio::task::spawn_blocking(move || body(encoder, &batch, gzip)).await {
                Ok(body) => self.client.write(body).await,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Outcome::Retry("the daemon is stopping".to_owned()),
                },
            }
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(self.client.probe())
    }
}

fn body(encoder: Encoder, batch: &Batch, gzip: bool) -> Body {
    let mut lines = Vec::with_capacity(batch.bytes() + batch.len() * LINE_OVERHEAD);
    for received in batch.records() {
        encoder.encode(&received, &mut lines);
    }
    if gzip { Body::gzip(lines, batch.len()) } else { Body::plain(lines, batch.len()) }
}
