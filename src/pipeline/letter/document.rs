//! A letter as a line of JSON. `docs/dead-letters.md` describes it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Letter;
use crate::record::{Identity, Text, report, timestamp};

/// Digits of a second.
const NANOS: u8 = 9;

/// Appends `letter` of the sink `sink` with a line feed behind it. What tells it from all others goes to `key`: our id,
/// or the whole report where the client named it, since reports that differ may have one name.
pub(in crate::pipeline) fn write(sink: &str, letter: &Letter, out: &mut Vec<u8>, key: &mut Vec<u8>) {
    let received = letter.chunk.received(letter.index);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    out.extend_from_slice(b"{\"time\":\"");
    timestamp::write_digits(now, 3, out);
    out.extend_from_slice(b"\",\"received\":\"");
    timestamp::write_digits(letter.chunk.receive_time(letter.index), NANOS, out);
    out.extend_from_slice(b"\",\"sink\":");
    Text::plain(sink.as_bytes()).write_json(out);
    out.extend_from_slice(b",\"reason\":");
    Text::plain(letter.rejection.reason.as_bytes()).write_json(out);
    if !letter.rejection.detail.is_empty() {
        out.extend_from_slice(b",\"detail\":");
        Text::plain(letter.rejection.detail.as_bytes()).write_json(out);
    }
    let own = match received.identity {
        Identity::Own(id) => Some(id.to_string()),
        Identity::Client(_) => None,
    };
    out.extend_from_slice(
        format!(",\"own_id\":{},\"position\":{}", own.is_some(), received.position).as_bytes(),
    );
    out.extend_from_slice(b",\"report\":");
    let start = out.len();
    report::write(&received, out);
    key.clear();
    match own {
        Some(id) => key.extend_from_slice(id.as_bytes()),
        None => key.extend_from_slice(&out[start..]),
    }
    out.extend_from_slice(b"}\n");
}

/// A letter that was read.
#[derive(Debug, Deserialize)]
pub(in crate::pipeline) struct Read<'a> {
    /// The sink that refused it.
    pub(in crate::pipeline) sink: String,
    own_id: bool,
    /// Letters that people write may lack it.
    received: Option<String>,
    pub(in crate::pipeline) position: Option<u64>,
    #[serde(borrow)]
    report: &'a RawValue,
}

/// A report to be sent again.
pub(in crate::pipeline) struct Line {
    /// A line of the protocol, without its LF. If the id is ours it is not in it.
    pub(in crate::pipeline) bytes: Vec<u8>,
    /// Our id; empty if the client named the report.
    pub(in crate::pipeline) own_id: String,
    /// When it was first received, nanoseconds since 1970.
    pub(in crate::pipeline) received: Option<i64>,
}

impl<'a> Read<'a> {
    /// Reads a line. The error is a sentence.
    pub(in crate::pipeline) fn of(line: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("this is no dead letter: {error}"))
    }

    /// What tells it from all others, as [`write`] has it.
    pub(super) fn key(&self) -> Option<String> {
        if !self.own_id {
            return Some(self.report.get().to_owned());
        }
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        serde_json::from_str::<Named>(self.report.get()).ok().map(|named| named.id)
    }

    /// Its report.
    pub(in crate::pipeline) fn line(&self) -> Result<Line, String> {
        let received = match &self.received {
            Some(text) => Some(nanos(text).ok_or_else(|| format!("`received` is no time: `{text}`"))?),
            None => None,
        };
        if !self.report.get().starts_with('{') {
            return Err("`report` is no object".to_owned());
        }
        if !self.own_id {
            return Ok(Line {
                bytes: self.report.get().as_bytes().to_vec(),
                own_id: String::new(),
                received,
            });
        }
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(self.report.get())
            .map_err(|error| format!("`report` is no object: {error}"))?;
        let id = members.remove("id").and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        let own_id =
            id.filter(|id| !id.is_empty()).ok_or("`report` has no text as `id`, but `own_id` is true")?;
        let bytes = serde_json::to_vec(&members).map_err(|error| error.to_string())?;
        Ok(Line { bytes, own_id, received })
    }
}

/// RFC 3339 as nanoseconds since 1970.
fn nanos(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok()?.as_nanosecond().try_into().ok()
}
