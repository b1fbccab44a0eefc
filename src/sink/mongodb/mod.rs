//! MongoDB: every report a document, in Kaneda's layout. `docs/mongodb.md` describes it.
//!
//! The id of a record is `_id`: ours is inserted, and being there already it is delivered; a client's replaces.

mod answer;
mod bson;
#[cfg(test)]
mod check;
mod client;
mod collection;
mod command;
mod config;
mod encode;
mod failure;
mod name;
mod send;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::Batch;
use crate::sink::{Answer, Outcome, Sink};

pub use config::{Config, Error, W};

use client::Client;

impl Config {
    /// Makes the sink `name`. It connects when the first batch comes.
    pub fn build(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(Mongodb { client: Client::new(self.store(name)?), already_there: AtomicU64::new(0) }))
    }
}

struct Mongodb {
    client: Client,
    already_there: AtomicU64,
}

impl Sink for Mongodb {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let sent = send::send(&self.client, batch).await;
            self.already_there.fetch_add(sent.already_there, Ordering::Relaxed);
            sent.outcome
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(send::probe(&self.client))
    }

    fn place(&self) -> String {
        let store = self.client.store();
        format!("{}, {}", store.servers, store.target.namespace())
    }

    fn durability(&self) -> String {
        self.client.store().durability.clone()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("already_there", self.already_there.load(Ordering::Relaxed))]
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.client.close())
    }
}
