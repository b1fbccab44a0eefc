//! The dead letters of a queue: messages that are no reports. `docs/queues.md` describes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracing::{error, warn};

use crate::record::{Text, timestamp};
use crate::source::Unread;
use crate::telemetry::Seldom;

/// Bytes of letters that are held before they are written.
const WAITING: usize = 1 << 20;

/// Keeps the messages of one source that are no reports.
#[derive(Debug, Default)]
pub struct Letters {
    /// None: they are only logged.
    path: Option<PathBuf>,
    /// Bytes at which the file becomes the one with `.1` behind its name, in place of that.
    max_size: u64,
    waiting: Vec<u8>,
    said: Seldom,
}

impl Letters {
    /// Letters in a file at `path` of at most `max_size` bytes, and the one before it; without a path there are none.
    pub fn new(path: Option<PathBuf>, max_size: u64) -> Self {
        Letters { path, max_size, ..Letters::default() }
    }

    /// Bytes that are held at most, with messages of `max_message` bytes: in JSON a byte may take six.
    pub fn memory(max_message: usize) -> usize {
        max_message.saturating_mul(6).saturating_add(WAITING).saturating_mul(2)
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    pub(super) fn add(&mut self, source: &str, message: &Unread<'_>) {
        let Unread { bytes, id, code, reason } = *message;
        if let Some(unsaid) = self.said.tick() {
            warn!(
                source,
                id, code, reason, unsaid, "a message of the queue is no report: it is a dead letter"
            );
        }
        if self.path.is_none() {
            return;
        }
        let out = &mut self.waiting;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
        out.extend_from_slice(b"{\"time\":\"");
        timestamp::write_digits(now, 3, out);
        out.push(b'"');
        let mut member = |name: &str, value: &[u8]| {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            Text::plain(value).write_json(out);
        };
        member("source", source.as_bytes());
        if let Some(id) = id {
            member("id", id.as_bytes());
        }
        member("reason", code.as_bytes());
        member("detail", reason.as_bytes());
        match str::from_utf8(bytes) {
            Ok(text) => member("message", text.as_bytes()),
            Err(_) => member("message_base64", STANDARD.encode(bytes).as_bytes()),
        }
        out.extend_from_slice(b"}\n");
    }

    /// Puts on disk what was added. Says whether it is there; if not, it is gone: the messages stay with the queue, if it keeps any.
    pub(super) async fn write(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(path) = self.path.clone().filter(|_| !waiting.is_empty()) else { return true };
        let max_size = self.max_size;
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || append(&path, &waiting, max_size)).await;
        let result = written.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        if let Err(error) = &result {
            error!(path = shown, %error, "dead letters of a queue cannot be written: their messages stay with the queue, if it keeps any");
        }
        result.is_ok()
    }
}

/// The intakes of a source write to the same file: one at a time, or two would move it away for the same reason.
static APPENDING: Mutex<()> = Mutex::new(());

fn append(path: &Path, letters: &[u8], max_size: u64) -> io::Result<()> {
    let _turn = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let length = fs::metadata(path).map_or(0, |data| data.len());
    if length > 0 && length + letters.len() as u64 > max_size {
        let mut before = path.as_os_str().to_owned();
        before.push(".1");
        fs::rename(path, before)?;
    }
    let mut file: File = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(letters)?;
    file.sync_data()
}
