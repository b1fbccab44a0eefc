//! Where dead letters go, and how many.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Letter, WAITING, WAITING_DETAIL_BYTES, files, known};
use crate::probe;
use crate::sink::Rejection;

/// The folder of the files that no `dead_letters` names.
const FOLDER: &str = "kaneda-data/dead";

/// What the keeper of one sink is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that is written to.
    pub path: PathBuf,
    /// Bytes at which another file is begun. One letter is written even if it is longer.
    pub max_size: u64,
    /// How many files there are at most, that which is written to included.
    pub max_files: usize,
    /// Pause before a write that failed is tried again; it doubles with each further one,
    pub retry_first: Duration,
    /// up to this.
    pub retry_ceiling: Duration,
}

impl Config {
    /// The file of the sink `name`: the one that `dead_letters` says, else the default; none if that is empty. It is the
    /// same file wherever the daemon may be later.
    pub fn path(dead_letters: Option<&Path>, name: &str) -> Option<PathBuf> {
        let path = match dead_letters {
            Some(path) if path.as_os_str().is_empty() => return None,
            Some(path) => path.to_owned(),
            None => Path::new(FOLDER).join(format!("{name}.jsonl")),
        };
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// Tries whether the file can be written, and others made beside it; leaves none behind. The error says what to do.
    pub fn probe(&self) -> Result<(), String> {
        probe::file(&self.path).and_then(|()| probe::beside(&self.path)).map_err(|error| {
            format!("{error}; let the daemon write there, or name another file by `dead_letters` (\"\" keeps none)")
        })
    }

    /// Bytes of memory that the letters of a sink take, for lines of `max_line` bytes: on their way into a file, and
    /// while they wait for that.
    pub fn memory(max_line: usize) -> u64 {
        let writing = known::MEMORY + 2 * files::BUFFER + longest(max_line);
        let waiting = WAITING as usize * WAITING_BYTES + WAITING_DETAIL_BYTES;
        (writing + waiting) as u64
    }
}

/// Bytes of a letter that waits, and of its rejection without its text.
const WAITING_BYTES: usize = size_of::<Letter>() + size_of::<Rejection>() + 32;

/// Bytes of the longest letter for a line of `max_line` bytes: in JSON a control character takes six bytes.
pub fn longest(max_line: usize) -> usize {
    6 * max_line + (16 << 10)
}
