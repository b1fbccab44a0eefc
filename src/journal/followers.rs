//! Those that the journal keeps entries for.

use super::entry::Head;
use super::log::Recovery;

/// Is told by the journal what becomes of it.
pub trait Followers: Send + Sync {
    /// It is open, and this was found in it. Calls `begin` with the last number that a chunk has, while none is given one:
    /// from then on it takes chunks.
    fn opened(&self, recovery: &Recovery, begin: &dyn Fn(u64));

    /// These entries go although sinks have not passed them. Gives the number of records that are lost with them.
    fn removed(&self, heads: &[Head], why: Why) -> u64;
}

/// Why a segment is removed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `max_size`.
    Size,
    /// `max_age`.
    Age,
}
