//! Why a journal cannot be opened, and what to do about it.

use std::io;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another kaneda uses it: stop that one, or set [journal] path to another folder")]
    Locked,
    /// A later version wrote it.
    #[error(
        "{file} is of format {version}, and this kaneda knows formats up to {known}: run the version that wrote it, \
         or move the folder away to start with an empty journal"
    )]
    Version {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// What is known of a sink cannot be read.
    #[error(
        "{file} is damaged, so that it is not known what its sink has stored: move it away, and the sink starts as \
         a new one"
    )]
    Cursor {
        /// The file.
        file: String,
    },
    /// What is known of a queue's messages cannot be read.
    #[error(
        "{file} is damaged, so that it is not known which messages of its queue are stored: move it away, and those \
         that the queue delivers again are stored again"
    )]
    Known {
        /// The file.
        file: String,
    },
    /// The disk fails.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, on which file.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
}
