//! The daemon, as it is installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::meter::{Meter, Spent};
use crate::{Queue, Result};

/// How often it is asked what it has done, which costs it something.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(90);
/// Names another binary to measure.
const BINARY: &str = "KANEDA_TEST_BINARY";

/// Takes all reports of a queue into the null sink, with the journal as it is by default or without.
pub(crate) fn take(queue: &dyn Queue, reports: usize, has_journal: bool) -> Result<Spent> {
    let (source, counter) = queue.source();
    let daemon = Daemon::start(&format!(
        "[admin]\nlisten = '127.0.0.1:0'\n[journal]\nenabled = {has_journal}\n[[source]]\nname = 'queue'\n{source}\n[[sink]]\ntype = 'null'\n"
    ))?;
    let end = Instant::now() + PATIENCE;
    let mut begun: Option<(Meter, usize)> = None;
    loop {
        let done = daemon.count(counter)?;
        match &begun {
            None if done > 0 => begun = Some((Meter::of_group(daemon.child.id())?, done)),
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
struct Daemon {
    child: Child,
    admin: String,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(config: &str) -> Result<Daemon> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("kaneda.toml"), config)?;
        let binary = std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_kaneda").into());
        let mut command = Command::new(binary);
        command
            .args(["run", "--config", "kaneda.toml"])
            .env_clear()
            .current_dir(folder.path())
            .process_group(0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("no stderr")?);
        let mut all = String::new();
        let admin = loop {
            let start = all.len();
            if said.read_line(&mut all)? == 0 {
                return Err(format!("the daemon ended: {all}").into());
            }
            if let Some(address) = all[start..].trim().strip_prefix("kaneda: admin on http://") {
                break address.to_owned();
            }
        };
        // Or it would wait for somebody to read what it says.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(Daemon { child, admin, _folder: folder })
    }

    /// A counter of the source.
    fn count(&self, counter: &str) -> Result<usize> {
        let mut connection = TcpStream::connect(&self.admin)?;
        connection.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let status: Value = serde_json::from_str(body)?;
        let count = &status["sources"][0]["counters"][counter];
        let count = match count {
            Value::Object(parts) => parts.values().filter_map(Value::as_u64).sum(),
            count => count.as_u64().ok_or(format!("no {counter}: {status}"))?,
        };
        Ok(count as usize)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that it gives back what it has in hand; by its pid.
        let ended =
            Command::new("kill").arg(self.child.id().to_string()).status().and_then(|_| self.child.wait());
        if let Err(error) = ended {
            eprintln!("the daemon still runs: {error}");
        }
    }
}
