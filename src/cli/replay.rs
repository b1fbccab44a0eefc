//! `kaneda replay`: hands dead letters to a running daemon, in pieces, and says what came of each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;

use super::request;
use crate::admin::replay::Fates;
use crate::pipeline::replay::{MAX_LETTERS, Outcome};

/// Where to, and how.
#[derive(Debug)]
pub struct Daemon {
    /// Host and port of its admin address.
    pub authority: String,
    /// What it asks for, if it does.
    pub token: Option<String>,
    /// Bytes that it takes at once.
    pub max_body: usize,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Whether every sink is to get the letters, not only the one that each came from.
    pub all: bool,
}

/// Why it ended before all letters were sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The daemon cannot be reached, or went away.
    #[error("http://{authority}: {error}: is the daemon running there?")]
    Network {
        /// Its address.
        authority: String,
        /// Why.
        error: io::Error,
    },
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
    /// What was to be said could not be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// How many letters met each fate.
pub type Sums = BTreeMap<Outcome, usize>;

/// Sends the letters of `files`, in order, and writes a line for each that was not delivered, and the sums. Says
/// whether all were delivered.
pub async fn run(daemon: &Daemon, files: &[PathBuf], out: &mut impl Write) -> Result<bool, Error> {
    let mut sums = Sums::new();
    for path in files {
        let done = file(daemon, path, &mut sums, out).await;
        if done.is_err() {
            // What was done before is not in doubt.
            writeln!(out, "{}", text(&sums))?;
        }
        done?;
    }
    writeln!(out, "{}", text(&sums))?;
    Ok(sums.keys().all(|outcome| *outcome == Outcome::Delivered))
}

async fn file(daemon: &Daemon, path: &Path, sums: &mut Sums, out: &mut impl Write) -> Result<(), Error> {
    let broken = |error| Error::File { path: path.to_owned(), error };
    let opened = File::open(path).map_err(broken)?;
    // Letters that are refused again while it is read are written behind it: those are not for this time.
    let length = opened.metadata().map_err(broken)?.len();
    let mut input = BufReader::new(io::Read::take(opened, length));
    let mut piece = Piece::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_end = input.read_until(b'\n', &mut line).map_err(broken)? == 0;
        let is_too_long = line.len() > daemon.max_body;
        let is_full =
            is_too_long || piece.lines == MAX_LETTERS || piece.body.len() + line.len() > daemon.max_body;
        if (is_end || is_full) && piece.lines > 0 {
            send(daemon, path, &mut piece, sums, out).await?;
        }
        if is_end {
            return Ok(());
        }
        if is_too_long {
            piece.before += 1;
            *sums.entry(Outcome::Unreadable).or_default() += 1;
            writeln!(out, "{}:{}: unreadable: it is too long for a letter", path.display(), piece.before)?;
            continue;
        }
        piece.lines += 1;
        piece.body.extend_from_slice(&line);
    }
}

/// Lines of a file that are sent at once.
#[derive(Default)]
struct Piece {
    /// Lines of the file before it.
    before: usize,
    lines: usize,
    body: Vec<u8>,
}

async fn send(
    daemon: &Daemon,
    path: &Path,
    piece: &mut Piece,
    sums: &mut Sums,
    out: &mut impl Write,
) -> Result<(), Error> {
    let page = if daemon.all { "/replay?all" } else { "/replay" };
    let body = std::mem::take(&mut piece.body);
    let answer = async {
        let stream = TcpStream::connect(&daemon.authority).await?;
        request::post(stream, &daemon.authority, page, daemon.token.as_deref(), body).await
    };
    let answer = tokio::time::timeout(daemon.timeout, answer).await;
    let (status, answer) = answer
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(|error| Error::Network { authority: daemon.authority.clone(), error })?;
    let line = piece.before + 1;
    let stopped =
        |why: &str| Error::Refused(format!("{}:{line}: not sent from here on: {why}", path.display()));
    if status != hyper::StatusCode::OK {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let refusal = serde_json::from_slice::<Refusal>(&answer);
        return Err(stopped(&refusal.map_or_else(|_| status.to_string(), |refusal| refusal.error)));
    }
    let fates: Fates = serde_json::from_slice(&answer)
        .map_err(|error| stopped(&format!("an answer that is not Kaneda's: {error}")))?;
    for fate in fates.letters {
        *sums.entry(fate.outcome).or_default() += 1;
        if fate.outcome != Outcome::Delivered {
            let line = piece.before + fate.line;
            let why = fate.why.unwrap_or_default();
            writeln!(out, "{}:{line}: {}: {why}", path.display(), word(fate.outcome))?;
        }
    }
    piece.before += piece.lines;
    piece.lines = 0;
    Ok(())
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Rejected => "rejected",
        Outcome::Dropped => "dropped",
        Outcome::Late => "late",
        Outcome::NotTaken => "not taken",
        Outcome::Unreadable => "unreadable",
        Outcome::UnknownSink => "unknown sink",
    }
}

/// `2 delivered, 1 rejected`.
fn text(sums: &Sums) -> String {
    let delivered = sums.get(&Outcome::Delivered).copied().unwrap_or_default();
    let others = sums.iter().filter(|(outcome, _)| **outcome != Outcome::Delivered);
    let others = others.map(|(outcome, letters)| format!(", {letters} {}", word(*outcome)));
    format!("{delivered} delivered") + &others.collect::<String>()
}
