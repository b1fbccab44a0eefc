//! Reports as lines of text, to standard output or to a file that may be rotated.
//!
//! `docs/log.md` describes the lines. One thread of its own writes: a reader who stops reading a pipe stops only it.

mod line;
mod output;
mod python;
mod write;

use std::path::PathBuf;

use serde::Deserialize;

use super::thread::Thread;
use super::{Answer, Outcome, Sink};
use crate::record::Batch;
use output::Output;

/// What a `[[sink]]` of type `log` may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file, which is made if it is not there, and the folders above it; none: standard output.
    pub path: Option<PathBuf>,
    /// How a line looks.
    pub format: Format,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The document as one JSON object.
    #[default]
    Json,
    /// As Kaneda's `LoggerBackend` writes it: time, logger, and the document as Python prints it.
    Text,
}

impl Config {
    /// Makes the sink. Nothing is opened before the first batch. The error is that of starting a thread.
    pub fn build(&self, name: &str) -> std::io::Result<Box<dyn Sink>> {
        let writer = write::Writer::new(Output::new(self.path.clone()), self.format);
        Ok(Box::new(Log { path: self.path.clone(), thread: Thread::start(name, writer)? }))
    }
}

struct Log {
    path: Option<PathBuf>,
    thread: Thread,
}

impl Sink for Log {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(self.thread.send(batch))
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(std::future::ready(match &self.path {
            Some(path) => crate::probe::file(path),
            None => Ok(()),
        }))
    }

    fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }

    fn durability(&self) -> String {
        "written, but not synced: what the system has not put on disk is lost with the machine".to_owned()
    }

    fn reopen(&self) {
        self.thread.reopen();
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.thread.close())
    }
}
