//! The original's own worker, PyPI kaneda 1.0, which writes its log.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::meter::{Meter, Spent};
use crate::{Queue, Result};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/kaneda/bin/python");
/// The settings that the tests of the original have.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original");
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(90);
/// In each line of its log.
const MARK: &[u8] = b" - kaneda.backends.logger - ";

pub(crate) fn have() -> bool {
    Path::new(PYTHON).exists()
}

/// A program of Python's, which has the packages of the original.
pub(crate) fn python() -> Command {
    let mut command = Command::new(PYTHON);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Takes all reports of a queue, as a worker that was started as Kaneda's documentation says.
pub(crate) fn take(queue: &dyn Queue, reports: usize) -> Result<Spent> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let (arguments, url) = queue.worker();
    let mut command = python();
    command.args(arguments).current_dir(folder.path()).process_group(0);
    command.env("PYTHONPATH", SETTINGS).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("STORE", "log").env("STORE_PLACE", &log).env("QUEUE_URL", url).env("QUEUE_PLACE", "kaneda");
    let worker = Worker(command.spawn()?);
    let end = Instant::now() + PATIENCE;
    let mut begun: Option<(Meter, usize)> = None;
    loop {
        let text = if log.exists() { std::fs::read(&log)? } else { Vec::new() };
        let done = memchr::memmem::find_iter(&text, MARK).count();
        match &begun {
            None if done > 0 => begun = Some((Meter::of_group(worker.0.id())?, done)),
            Some((meter, before)) if done >= reports => return Ok(meter.stop(done - before)?),
            _ if Instant::now() > end => {
                return Err(format!("{done} of {reports} reports after {PATIENCE:?}").into());
            }
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

/// Ended when it is dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // Its children are of its group.
        let group = format!("-{}", self.0.id());
        let ended = Command::new("kill").args(["-KILL", "--", &group]).status().and_then(|_| self.0.wait());
        if let Err(error) = ended {
            eprintln!("the original's worker still runs: {error}");
        }
    }
}
