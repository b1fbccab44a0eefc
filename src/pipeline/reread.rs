//! A stage behind dispatch, for tests only: proves that a chunk's bytes are all that has to be kept of it.

use crate::journal::reread::records;
use crate::record::Chunk;

/// Forgets the records of `chunk`, and reads and parses its bytes again.
pub(super) fn reread(chunk: Chunk) -> Chunk {
    let before = chunk.len();
    let (table, refused) = records(chunk.bytes(), chunk.origin().dialect);
    assert_eq!(refused, 0, "an accepted line is refused");
    let chunk = chunk.with_records(table);
    assert_eq!(chunk.len(), before, "reading a chunk again gives other records");
    chunk
}
