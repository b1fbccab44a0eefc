//! The original's workers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::client;

/// A worker that runs; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    said: PathBuf,
}

impl Worker {
    /// Starts one: a module of Python's, with the settings that are read from `environment`. What it says goes to `said`.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)], said: &Path) -> Worker {
        let mut command = client::command(arguments);
        command.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        // Its local time is not that of the daemon, which has none.
        command.env("TZ", "XXX-1").envs(environment.iter().copied());
        let file = File::create(said).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null());
        Worker { child: command.spawn().unwrap(), said: said.to_owned() }
    }

    /// Panics if it has ended.
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the original's worker has ended: {ended:?}\n{}", self.said());
    }

    /// All that it said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.said).unwrap()).into_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
