//! Dead letters that are handed in again: each becomes a chunk of its own, so that its fate is known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::dispatch::Closed;
use super::ingest::Ingest;
use super::letter::document::{Line, Read};
use super::receipt::{Receipt, Why};
use crate::protocol::{self, Limits};
use crate::record::{Chunk, Dialect, LineOrigin, OpenChunk, Origin};

pub use super::letter::longest;

/// Letters that are taken at once: each takes one of the 4096 slots of a ring.
pub const MAX_LETTERS: usize = 256;
/// The name of the source that their records come from.
const SOURCE: &str = "replay";

/// What came of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// Its line, from 1.
    pub line: usize,
    /// In one word.
    pub outcome: Outcome,
    /// In a sentence, where it was not delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of a letter, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is stored.
    Delivered,
    /// It was refused for good once more.
    Rejected,
    /// It was taken, and lost before it was stored.
    Dropped,
    /// It was taken and is kept, but was not stored within `sync_timeout`.
    Late,
    /// It was not taken: there was no room within `sync_timeout`, or the daemon is stopping.
    NotTaken,
    /// Its line is no letter.
    Unreadable,
    /// Its sink is not one of the daemon's.
    UnknownSink,
}

/// Hands `letters`, one a line and no more than [`MAX_LETTERS`], to the sinks that they came from, or to `all`. Gives
/// the fate of each, in order; blank lines have none. Done within `sync_timeout` and the time that it takes to find room.
pub async fn replay(ingest: &Ingest, letters: &[u8], all: bool) -> Vec<Fate> {
    let mut fates = Vec::new();
    let mut open = Vec::new();
    let deadline = Instant::now() + ingest.sync_timeout;
    for (at, line) in letters.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        // Its fate is what the stores say, not that it is on disk.
        let receipt = Receipt::of_verdicts();
        let refused = match read(ingest, line, all) {
            Err(refused) => Some(refused),
            Ok(chunk) => {
                let submitted = ingest.dispatch.submit_whole(vec![chunk], &receipt);
                match timeout_at(deadline, submitted).await {
                    Ok(Ok(())) => None,
                    Ok(Err(closed @ Closed)) => Some((Outcome::NotTaken, closed.to_string())),
                    Err(_) => Some((Outcome::NotTaken, "the sink has no room: see /ready".to_owned())),
                }
            }
        };
        let (outcome, why) = match refused {
            Some((outcome, why)) => (outcome, Some(why)),
            None => {
                open.push((fates.len(), receipt));
                (Outcome::Delivered, None)
            }
        };
        fates.push(Fate { line: at + 1, outcome, why });
    }
    ingest.replayed.add(open.len() as u64);
    ingest.dispatch.hurry();
    for (place, receipt) in open {
        let is_late = timeout_at(deadline, receipt.complete()).await.is_err();
        let fate = &mut fates[place];
        if is_late {
            (fate.outcome, fate.why) = (Outcome::Late, Some(ingest.why_late()));
        } else if let Some(loss) = receipt.take_loss() {
            fate.outcome = match loss.why {
                Why::Rejected(_) => Outcome::Rejected,
                Why::Dropped(_) => Outcome::Dropped,
            };
            fate.why = Some(loss.to_string());
        }
    }
    fates
}

/// The chunk of a letter.
pub(super) fn read(ingest: &Ingest, line: &[u8], all: bool) -> Result<Chunk, (Outcome, String)> {
    let unreadable = |why| (Outcome::Unreadable, why);
    let letter = Read::of(line).map_err(unreadable)?;
    let lanes = ingest.dispatch.lanes();
    let target = lanes.iter().find(|lane| *lane.name == *letter.sink).map(|lane| Arc::clone(&lane.name));
    if target.is_none() && !all {
        return Err((Outcome::UnknownSink, format!("there is no sink `{}`", letter.sink)));
    }
    let Line { bytes, own_id, received } = letter.line().map_err(unreadable)?;
    let is_own = !own_id.is_empty();
    // What a report does not say is not made up: it was without it when it was first stored.
    let origin = Origin { source: SOURCE.into(), dialect: Dialect::Kaneda, host: "".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(ingest.now(bytes.len() + 1));
    open.append(&bytes);
    open.set_target(target.filter(|_| !all));
    open.set_line_origin(LineOrigin { at: 0, id: own_id.into(), time: received, position: letter.position });
    let (chunk, table) = open.parts();
    let line = &chunk[..bytes.len()];
    let parsed = protocol::parse(line, Dialect::Kaneda, &Limits::NONE, &mut |record| {
        table.push(&record, chunk, 0);
    });
    if let Err(error) = parsed {
        return Err(unreadable(format!("`report` is refused: {error}")));
    }
    let chunk = open.close().ok_or_else(|| unreadable("`report` says nothing".to_owned()))?;
    // All letters without one would be one document.
    if !is_own && chunk.client_id(0).is_none() {
        return Err(unreadable("`report` has no `id`, and `own_id` is false".to_owned()));
    }
    Ok(chunk)
}
