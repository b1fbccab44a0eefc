//! Records that keep an old segment of the journal, made into a chunk that can be appended again for one sink.

use std::sync::Arc;

use crate::protocol::{self, Limits};
use crate::record::{Chunk, Dialect, Identity, LineOrigin, OpenChunk, Origin, report};

/// Bytes of lines that are carried at once; more stay where they are.
const MAX_BYTES: usize = 4 << 20;

/// The records of `chunk` with these indexes, in order, each a line that reads back as the same record with the same
/// identity, time and position; only `sink` takes it.
pub(super) fn chunk(chunk: &Chunk, indexes: &[u32], sink: &Arc<str>) -> Option<Chunk> {
    let mut open = OpenChunk::new(Origin { dialect: Dialect::Kaneda, ..chunk.origin().clone() });
    open.set_target(Some(Arc::clone(sink)));
    let mut line = Vec::new();
    for index in indexes {
        let index = *index as usize;
        let received = chunk.received(index);
        let time = chunk.receive_time(index);
        line.clear();
        report::write_unnamed(&received, &mut line);
        let id = match received.identity {
            Identity::Own(id) => id.to_string().into(),
            Identity::Client(_) => Box::default(),
        };
        open.begin_read(time);
        let at = open.append(&line).start;
        if open.bytes() > MAX_BYTES {
            return None;
        }
        open.set_line_origin(LineOrigin {
            at: at as u32,
            id,
            time: Some(time),
            position: Some(received.position),
        });
        let (bytes, table) = open.parts();
        let parsed =
            protocol::parse(&bytes[at..at + line.len()], Dialect::Kaneda, &Limits::NONE, &mut |record| {
                table.push(&record, bytes, at);
            });
        debug_assert!(parsed.is_ok(), "a record does not read back: {:?}", String::from_utf8_lossy(&line));
        parsed.ok()?;
    }
    open.close()
}
