//! Counts and forgets: for measuring what comes before a store.

use serde::Deserialize;

use super::{Answer, Outcome, Sink};
use crate::record::Batch;

/// What a `[[sink]]` of type `null` may say: nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Config {
    /// Makes the sink.
    pub fn build(&self) -> Box<dyn Sink> {
        Box::new(Null)
    }
}

/// The drain counts what it delivers, so there is nothing left to do.
struct Null;

impl Sink for Null {
    fn send(&self, _: Batch) -> Answer<'_, Outcome> {
        Box::pin(std::future::ready(Outcome::Delivered))
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
