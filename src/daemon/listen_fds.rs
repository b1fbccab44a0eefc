//! The file descriptors that a service manager passes (`sd_listen_fds(3)`), and so all `unsafe` of taking them over.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};
use std::{env, fs};

use anyhow::{Context as _, ensure};
use socket2::Socket;

/// What was passed to this process; it may not be a socket.
#[derive(Debug)]
pub struct Passed {
    /// Of `LISTEN_FDNAMES`; `unknown` without it. Several may have one name.
    pub name: String,
    /// Closed in processes that this one starts.
    pub socket: Socket,
}

/// Takes over the file descriptors that `LISTEN_FDS` counts, if `LISTEN_PID` is this process; and removes these
/// variables, so that they are taken once.
///
/// # Errors
///
/// When the variables cannot be read or count what is not open; and in a process that has several threads.
pub fn passed() -> anyhow::Result<Vec<Passed>> {
    if env::var_os("LISTEN_PID").is_none() {
        return Ok(Vec::new());
    }
    let threads = fs::read_dir("/proc/self/task").context("LISTEN_FDS: /proc/self/task")?.count();
    ensure!(threads == 1, "LISTEN_FDS: sockets are taken over before the first thread is started");
    // SAFETY: the environment must not be changed while another thread may read it; there is no other.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() };
    let passed =
        passed.context("LISTEN_PID, LISTEN_FDS or LISTEN_FDNAMES is not as sd_listen_fds(3) says")?;
    let own = |(descriptor, name)| {
        // SAFETY: it is open, or the call above had failed at it. Nothing in this process owns it: it was there when
        // the process began, with the variables that say for whom, and they are gone now.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Passed { name, socket: descriptor.into() }
    };
    Ok(passed.map(own).collect())
}
