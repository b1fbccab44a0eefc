//! Which chunks the journal does not have, because the disk failed when they came.

/// Ranges of sequence numbers, ascending; the last one may have no end yet.
#[derive(Debug, Default)]
pub(super) struct Unheld(Vec<(u64, u64)>);

/// Ranges that are told apart; of more the oldest are taken for one.
const RANGES: usize = 64;

impl Unheld {
    /// Chunks from `first` on are not on disk, until [`Unheld::end`].
    pub(super) fn begin(&mut self, first: u64) {
        match self.0.last_mut() {
            Some((from, end)) if *end == u64::MAX => *from = first.min(*from),
            _ => self.0.push((first, u64::MAX)),
        }
        if self.0.len() > RANGES {
            self.0[1].0 = self.0[0].0;
            self.0.remove(0);
        }
    }

    /// Chunks from `sequence` on go to disk again.
    pub(super) fn end(&mut self, sequence: u64) {
        if let Some((_, end)) = self.0.last_mut().filter(|(_, end)| *end == u64::MAX) {
            *end = sequence;
        }
    }

    /// Whether the journal lacks this chunk.
    pub(super) fn has(&self, sequence: u64) -> bool {
        self.0.iter().any(|(from, end)| (*from..*end).contains(&sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_came_while_the_disk_failed() {
        let mut unheld = Unheld::default();
        assert!(!unheld.has(5));
        unheld.begin(5);
        unheld.begin(7);
        assert!(!unheld.has(4) && unheld.has(5) && unheld.has(1000));
        unheld.end(9);
        unheld.end(12);
        assert!(unheld.has(8) && !unheld.has(9) && !unheld.has(12));
        for first in 10..10 + 2 * RANGES as u64 {
            unheld.begin(first * 10);
            unheld.end(first * 10 + 5);
        }
        assert!(unheld.0.len() <= RANGES && unheld.has(6) && unheld.has(1372) && !unheld.has(1376));
    }
}
