//! A stage behind dispatch, for tests only: proves that a chunk's bytes are all that has to be kept of it.

use crate::protocol::{Class, Limits, lines, parse};
use crate::record::Chunk;
use crate::record::open::Table;

/// Forgets the records of `chunk`, and reads and parses its bytes again.
pub(super) fn reread(chunk: Chunk) -> Chunk {
    let before = chunk.len();
    let chunk = chunk.with_records(Table::default());
    // What was accepted stays accepted, whatever the limits are now.
    let limits = Limits::NONE;
    let dialect = chunk.origin().dialect;
    let mut table = Table::default();
    for line in lines(chunk.bytes()).filter(|line| line.class() == Class::Report) {
        let parsed = parse(line.bytes, dialect, &limits, &mut |record| {
            table.push(&record, chunk.bytes(), line.offset)
        });
        assert!(parsed.is_ok(), "an accepted line is refused: {:?}", String::from_utf8_lossy(line.bytes));
    }
    let chunk = chunk.with_records(table);
    assert_eq!(chunk.len(), before, "reading a chunk again gives other records");
    chunk
}
