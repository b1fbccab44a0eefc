//! Those that the journal keeps entries for.

use super::entry::Head;
use super::log::Recovery;

/// Is told by the journal what becomes of it.
pub trait Followers: Send + Sync {
    /// It is open, and this was found in it. Calls `begin` with the last number that a chunk has, while none is given one:
    /// from then on it takes chunks.
    fn opened(&self, recovery: &Recovery, begin: &dyn Fn(u64));

    /// All entries up to the number `last` go although sinks have not passed them; of the last ones these can be read. Gives the
    /// number of records that are lost with them.
    fn removed(&self, heads: &[Head], last: u64, why: Why) -> u64;
}

/// Why a segment is removed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `max_size`.
    Size,
    /// `max_age`.
    Age,
}

impl Why {
    /// The word of cursors and of `/status`.
    pub fn code(self) -> &'static str {
        match self {
            Why::Size => "journal_full",
            Why::Age => "journal_age",
        }
    }
}
