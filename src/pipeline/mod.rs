//! Joins the stages: lines to chunks, chunks to rings, rings to sinks.

mod backoff;
pub mod body;
mod carry;
pub mod datagram;
pub mod dispatch;
pub mod drain;
pub mod feed;
pub mod ingest;
pub mod lane;
pub mod ledger;
mod left;
pub mod letter;
pub mod past;
#[cfg(feature = "queue")]
pub mod queue;
pub mod receipt;
pub mod replay;
#[cfg(feature = "reread")]
mod reread;
pub mod ring;
mod same_id;
pub mod stream;
mod window;

pub use dispatch::Dispatch;
pub use ingest::Ingest;
pub use lane::{Lane, WhenFull};
pub use receipt::Receipt;

#[cfg(test)]
mod tests;
