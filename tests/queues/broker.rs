//! A broker that a script of `scripts/servers` runs, for this process: it ends with it, however that ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Stopped when it is dropped.
pub(crate) struct Broker {
    script: String,
    name: String,
    pub(crate) url: String,
    /// Stops it when its own input is at an end.
    warden: Child,
}

/// Whether one of `kind` can be started without getting anything; else a word that `user` is skipped, or an error where
/// none may be.
pub(crate) fn is_there(kind: &str, user: &str) -> io::Result<bool> {
    if Command::new(script(kind)).arg("have").status()?.success() {
        return Ok(true);
    }
    if std::env::var_os("KANEDA_TEST_REQUIRE_SERVERS").is_some() {
        return Err(io::Error::other(format!("{kind} is needed: run scripts/servers/{kind}.sh get")));
    }
    eprintln!("skipped {user}: no {kind} here; scripts/servers/{kind}.sh get gets it");
    Ok(false)
}

fn script(kind: &str) -> String {
    format!("{}/scripts/servers/{kind}.sh", env!("CARGO_MANIFEST_DIR"))
}

impl Broker {
    /// One of `kind` for `user`.
    pub(crate) fn start(kind: &str, user: &str, options: &[&str]) -> io::Result<Broker> {
        let script = script(kind);
        let name = format!("{user}-{}", std::process::id());
        // In a group of its own: what ends this process does not end it.
        let warden = Command::new("/bin/sh")
            .args(["-c", &format!("cat; exec '{script}' stop '{name}'")])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut broker = Broker { script, name, url: String::new(), warden };
        let output = Command::new(&broker.script).args(["start", &broker.name]).args(options).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
        }
        broker.url = String::from_utf8(output.stdout).map_err(io::Error::other)?.trim().to_owned();
        Ok(broker)
    }

    /// Has its script do something with it.
    #[allow(dead_code, reason = "a bench only starts it")]
    pub(crate) fn run(&self, command: &str) {
        let status = Command::new(&self.script).args([command, &self.name]).status().unwrap();
        assert!(status.success(), "{} {command} {}: {status}", self.script, self.name);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        if let Err(error) = self.warden.wait() {
            eprintln!("{} may still run: {error}", self.name);
        }
    }
}
