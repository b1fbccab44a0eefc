//! A broker of the bench's own.

use std::process::Command;

use crate::Result;

const NAME: &str = "bench";

/// Stopped when it is dropped.
pub(crate) struct Server {
    script: String,
    pub(crate) url: String,
}

impl Server {
    /// None, and a word: it is not here.
    pub(crate) fn start(kind: &str) -> Result<Option<Server>> {
        let script = format!("{}/scripts/servers/{kind}.sh", env!("CARGO_MANIFEST_DIR"));
        if !Command::new(&script).arg("have").status()?.success() {
            println!("{kind}: skipped; scripts/servers/{kind}.sh get gets it");
            return Ok(None);
        }
        let output = Command::new(&script).args(["start", NAME]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let url = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(Some(Server { script, url }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = Command::new(&self.script).args(["stop", NAME]).status() {
            eprintln!("{} {NAME} still runs: {error}", self.script);
        }
    }
}
