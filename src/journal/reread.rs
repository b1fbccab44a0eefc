//! The records of lines that were accepted before: a chunk's bytes are all that has to be kept of it.

use crate::protocol::{Class, Limits, lines, parse};
use crate::record::Dialect;
use crate::record::open::Table;

/// Reads the lines of a chunk again: its records, and how many lines are refused by now. Those are skipped.
pub fn records(chunk: &[u8], dialect: Dialect) -> (Table, usize) {
    // What was accepted stays accepted, whatever the limits are now.
    let limits = Limits::NONE;
    let mut table = Table::default();
    let mut refused = 0;
    for line in lines(chunk).filter(|line| line.class() == Class::Report) {
        let mark = table.mark();
        let parsed =
            parse(line.bytes, dialect, &limits, &mut |record| table.push(&record, chunk, line.offset));
        if parsed.is_err() {
            table.rewind(mark);
            refused += 1;
        }
    }
    (table, refused)
}
