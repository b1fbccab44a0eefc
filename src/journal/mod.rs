//! The journal: one append-only segmented log on disk for all sinks, and one durable cursor for each of them.
//!
//! Synchronous throughout, without a thread of its own. [`Log`] is owned by the one thread that writes; [`Reader`]s
//! follow it from blocking threads by the [`Extent`] they share with it. `docs/journal.md` has the format.

mod announce;
mod begun;
mod bytes;
mod check;
mod checksum;
mod config;
mod counters;
pub mod cursor;
pub mod entry;
mod error;
mod extent;
pub mod files;
mod followers;
mod handle;
pub mod inspect;
pub mod known;
pub mod log;
pub mod read;
mod replaced;
pub mod reread;
mod scan;
pub mod segment;
mod survey;
mod unheld;
mod waiting;
mod writer;

pub use begun::Begun;
pub use check::check_journal;
pub use config::{Config, OnFull, Sync};
pub use counters::Counters;
pub use cursor::{Cursor, Left, Plan, Totals, Undecided};
pub use entry::{Entry, Head};
pub use error::OpenError;
pub use extent::Extent;
pub use files::{File, Files, Folder};
pub use followers::{Followers, Why};
pub use handle::{Durable, Journal, MEMORY, Read, Room, Told, View};
pub use known::Message;
pub use log::{Begin, Lane, Log, Orphan, OrphanQueue, Recovery, SegmentInfo, Settings};
pub use read::{Block, Found, Reader};
pub use segment::file_name;
pub use survey::{Cause, Fault};

#[cfg(test)]
mod tests;
