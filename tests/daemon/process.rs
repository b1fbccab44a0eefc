//! A daemon of the test's own, as a process in a folder of its own: started, asked, ended.
//!
//! Several test binaries have this file; not each uses all of it.

#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::Value;

use crate::network::ask;

/// How long anything may take; far more than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Names another binary to test, such as one that is optimised.
const BINARY: &str = "KANEDA_TEST_BINARY";

/// An empty configuration, to which sources and sinks are added. It ends in `[admin]`: more of its keys may follow.
const HEAD: &str = "hostname = 'here'\nsync_timeout = '1m'\n[admin]\nlisten = '127.0.0.1:0'\n";

/// The store that tests look into.
pub(crate) const SQLITE: &str = "[[sink]]\ntype = 'sqlite'\npath = 'reports.db'\nflush_interval = '10ms'\n";

/// Rings and backlogs are all there is.
pub(crate) const NO_JOURNAL: &str = "[journal]\nenabled = false\n";

/// A source of a type, at any free port.
pub(crate) fn source(kind: &str) -> String {
    format!("[[source]]\ntype = '{kind}'\nlisten = '127.0.0.1:0'\n")
}

/// How to start one.
pub(crate) struct Start {
    command: Command,
    folder: tempfile::TempDir,
}

/// It runs. A test ends it with [`Daemon::end`]; one that failed leaves none behind.
pub(crate) struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    greeting: String,
    admin: SocketAddr,
    said: Arc<Mutex<String>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Start {
    /// `kaneda` without arguments or environment, in an empty folder.
    pub(crate) fn bare() -> Start {
        Start::in_folder(tempfile::tempdir().unwrap())
    }

    /// The same in the folder that another one left, with the configuration that lies there.
    pub(crate) fn again(ended: Ended) -> Start {
        let mut start = Start::in_folder(ended.folder);
        start.command.args(["run", "--config", "kaneda.toml"]);
        start
    }

    fn in_folder(folder: tempfile::TempDir) -> Start {
        let binary = std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_kaneda").into());
        let mut command = Command::new(binary);
        command.env_clear().current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        Start { command, folder }
    }

    /// With a configuration; [`HEAD`] goes before.
    pub(crate) fn with(config: &str) -> Start {
        Start::exactly(&format!("{HEAD}{config}"))
    }

    /// With this configuration, in which `admin` has to be on.
    pub(crate) fn exactly(config: &str) -> Start {
        let mut start = Start::bare();
        std::fs::write(start.folder.path().join("kaneda.toml"), config).unwrap();
        start.command.args(["run", "--config", "kaneda.toml"]);
        start
    }

    /// With a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Start {
        self.command.env(name, value);
        self
    }

    /// With sockets of these names, passed as systemd passes them. The test keeps its own handles.
    pub(crate) fn passing(mut self, sockets: &[(&str, &dyn AsFd)]) -> Start {
        self.command = passing(&self.command, sockets);
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self
    }

    /// As the child of another program, which finds it on its path and is signalled in its place.
    pub(crate) fn below(mut self, program: &[&str]) -> Start {
        let own = Path::new(self.command.get_program()).parent().unwrap();
        let path = [own.as_os_str(), &std::env::var_os("PATH").unwrap()].join(std::ffi::OsStr::new(":"));
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(self.command.get_args()).env_clear().env("PATH", path);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        self.command = command;
        self.command.stderr(Stdio::piped());
        self
    }

    /// Its standard output is a pipe, see [`Daemon::stdout`].
    pub(crate) fn pipe(mut self) -> Start {
        self.command.stdout(Stdio::piped());
        self
    }

    /// Starts one that has to start.
    pub(crate) fn daemon(self) -> Daemon {
        self.go().unwrap_or_else(|(code, said)| panic!("it ended with {code}: {said}"))
    }

    /// Starts one that must not: its exit status, and what it said.
    pub(crate) fn refusal(self) -> (i32, String) {
        match self.go() {
            Ok(daemon) => panic!("it runs: {}", daemon.greeting),
            Err(refusal) => refusal,
        }
    }

    /// Starts it; or its exit status, and what it said.
    pub(crate) fn go(mut self) -> Result<Daemon, (i32, String)> {
        let mut child = self.command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        let admin = loop {
            let start = greeting.len();
            if stderr.read_line(&mut greeting).unwrap() == 0 {
                return Err((child.wait().unwrap().code().unwrap(), greeting));
            }
            if let Some(address) = greeting[start..].trim().strip_prefix("kaneda: admin on http://") {
                break address.parse().unwrap();
            }
        };
        let said = Arc::new(Mutex::new(greeting.clone()));
        let hearing = Arc::clone(&said);
        // Or it would wait for someone to read what it says.
        let listener = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = hearing.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Ok(Daemon { child, folder: self.folder, greeting, admin, said, listener: Some(listener) })
    }
}

/// A command with sockets of these names, passed as systemd passes them, and no other environment than its own.
pub(crate) fn passing(command: &Command, sockets: &[(&str, &dyn AsFd)]) -> Command {
    let own = |socket: &dyn AsFd| -> OwnedFd { socket.as_fd().try_clone_to_owned().unwrap() };
    let mapping =
        |(child_fd, (_, socket)): (_, &(&str, &dyn AsFd))| FdMapping { parent_fd: own(*socket), child_fd };
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    // Only the process itself knows its pid: the shell turns into the daemon.
    let mut passing = Command::new("/bin/sh");
    passing
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    passing.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    passing.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    passing.current_dir(command.get_current_dir().unwrap());
    passing.fd_mappings((3..).zip(sockets).map(mapping).collect()).unwrap();
    passing
}

impl Daemon {
    pub(crate) fn start(config: &str) -> Daemon {
        Start::with(config).daemon()
    }

    /// Where the source of that name listens.
    pub(crate) fn address(&self, source: &str) -> SocketAddr {
        let start = format!("kaneda: source {source} (");
        let line = self.greeting.lines().find(|line| line.starts_with(&start)).unwrap();
        line.rsplit_once(" on ").unwrap().1.parse().unwrap()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The read end of its standard output.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// The most memory it has held, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    #[cfg(target_os = "linux")]
    fn memory_of(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|said| said.strip_prefix(line)).unwrap();
        found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// What `/status` says. Whatever happened before: nothing was lost uncounted.
    pub(crate) fn status(&self) -> Value {
        let (code, body) = ask(self.admin, "GET", "/status", &[], b"");
        assert_eq!(code, 200, "{body}");
        let status: Value = serde_json::from_str(&body).unwrap();
        let lines = &status["lines"];
        assert_eq!(
            count(&lines["received"]),
            count(&lines["accepted"]) + count(&lines["skipped"]) + count(&lines["rejected"]),
            "{status:#}"
        );
        for sink in status["sinks"].as_array().unwrap() {
            let terms = ["delivered", "waiting", "rejected", "dropped"];
            let sum: u64 = terms.iter().map(|term| count(&sink[term])).sum();
            assert_eq!(count(&sink["accepted"]), sum, "{status:#}");
        }
        status
    }

    /// Asks for the status until it is as it should be.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let mut is_status_so = || {
            last = self.status();
            is_so(&last)
        };
        if !wait(&mut is_status_so) {
            panic!("never {what}: {last:#}\n{}", self.said());
        }
        last
    }

    /// Waits until the sink of that name has stored so many records.
    pub(crate) fn until_delivered(&self, name: &str, records: u64) -> Value {
        let what = format!("{records} records delivered to {name}");
        self.until(&what, |status| count(&sink(status, name)["delivered"]) >= records)
    }

    /// All that it said on stderr.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub(crate) fn until_said(&self, text: &str) {
        assert!(wait(|| self.said().contains(text)), "never said `{text}`: {}", self.said());
    }

    /// What the store has, in the order of arrival: for each row its columns, null as `-`.
    pub(crate) fn rows(&self, columns: &str) -> Vec<String> {
        rows(&self.path("reports.db"), columns)
    }

    /// What the cursor of this sink says was delivered. It is written once a second.
    pub(crate) fn delivered_by_cursor(&self, sink: &str) -> u64 {
        let bytes = std::fs::read(self.path(format!("kaneda-data/journal/{sink}.cursor"))).unwrap();
        u64::from_le_bytes(bytes[32..40].try_into().unwrap())
    }

    /// Sends a signal, as TERM.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Has it stand still at a moment at which something is so. Whether there is one.
    pub(crate) fn stop_when(&self, mut is_so: impl FnMut() -> bool) -> bool {
        wait(|| {
            self.signal("STOP");
            let is_so = is_so();
            if !is_so {
                self.signal("CONT");
            }
            is_so
        })
    }

    /// Takes away the limit on the size of its files.
    #[cfg(target_os = "linux")]
    pub(crate) fn may_write(&self) {
        let pid = self.child.id().to_string();
        let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap();
        assert!(raised.success());
    }

    /// Ends it as a failing machine does.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.listener.take().unwrap().join().unwrap();
        Ended { folder: std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()) }
    }

    /// Bytes of memory that it holds now.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    /// Files that it has open now.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Ends it as an operator does: it has counted everything, and ends with 0. What it said, and its folder.
    pub(crate) fn end(self) -> (String, Ended) {
        self.status();
        self.signal("TERM");
        self.ended()
    }

    /// Waits for the end of one that was told to end, with 0.
    pub(crate) fn ended(mut self) -> (String, Ended) {
        let mut status = None;
        let is_over = wait(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(is_over, "it does not end: {}", self.said());
        self.listener.take().unwrap().join().unwrap();
        let said = self.said();
        assert_eq!(status.unwrap().code(), Some(0), "{said}");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (said, Ended { folder })
    }

    /// Waits until the store has so many records, ends the daemon, and returns these columns, sorted.
    pub(crate) fn stored(self, records: u64, columns: &str) -> Vec<String> {
        self.until_delivered("sqlite", records);
        let (_, ended) = self.end();
        let mut rows = ended.rows(columns);
        rows.sort();
        rows
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a daemon has left.
pub(crate) struct Ended {
    folder: tempfile::TempDir,
}

impl Ended {
    pub(crate) fn rows(&self, columns: &str) -> Vec<String> {
        rows(&self.path("reports.db"), columns)
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn rows(store: &Path, columns: &str) -> Vec<String> {
    let store = rusqlite::Connection::open(store).unwrap();
    let mut rows = store.prepare(&format!("select {columns} from reports order by rowid")).unwrap();
    let width = rows.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let column = |at| -> rusqlite::Result<String> {
            Ok(match row.get(at)? {
                rusqlite::types::Value::Null => "-".to_owned(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Real(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Blob(_) => panic!("a blob"),
            })
        };
        Ok((0..width).map(column).collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    };
    rows.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A number, or the sum of numbers by reason.
pub(crate) fn count(term: &Value) -> u64 {
    match term {
        Value::Object(reasons) => reasons.values().map(|count| count.as_u64().unwrap()).sum(),
        count => count.as_u64().unwrap(),
    }
}

/// The sink of that name in a status.
pub(crate) fn sink<'a>(status: &'a Value, name: &str) -> &'a Value {
    named(&status["sinks"], name)
}

/// What has that name in a list.
pub(crate) fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|item| item["name"] == name).unwrap()
}

/// Asks until it is so. Says whether it became so in time.
pub(crate) fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
