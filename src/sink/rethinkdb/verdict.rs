//! What is known of the records of a batch while its answers come in.

use std::ops::Range;

use super::insert::Insert;
use crate::sink::{Outcome, Rejection, Verdict};

/// What is known of the records of a batch.
pub(super) struct Verdicts {
    each: Vec<Option<Verdict>>,
    /// Why a query with more than one document was refused: the culprit is found when they come apart.
    refused: Option<Rejection>,
}

/// Who is to blame for a query that failed.
pub(super) enum Reason {
    /// The server, or who rules it.
    Wait(String),
    /// The query.
    Refused(Rejection),
}

impl Verdicts {
    /// Of so many records, of which nothing is known.
    pub(super) fn new(records: usize) -> Self {
        Verdicts { each: vec![None; records], refused: None }
    }

    /// All documents of a range met the same fate.
    pub(super) fn settle(&mut self, insert: &Insert, range: Range<usize>, verdict: &Verdict) {
        for record in &insert.records[range] {
            self.each[*record] = Some(verdict.clone());
        }
    }

    /// The query that inserts a range failed.
    pub(super) fn fail(&mut self, insert: &Insert, range: Range<usize>, reason: Reason) {
        match reason {
            Reason::Wait(why) => self.settle(insert, range, &Verdict::Retry(why)),
            Reason::Refused(rejection) if range.len() == 1 => {
                self.settle(insert, range, &Verdict::Rejected(rejection));
            }
            Reason::Refused(rejection) => self.refused = Some(rejection),
        }
    }

    /// What came of the batch.
    pub(super) fn outcome(self) -> Outcome {
        if let Some(rejection) = self.refused {
            return Outcome::Refused(rejection);
        }
        let undecided = || Verdict::Retry("the server was not asked".to_owned());
        let each: Vec<_> = self.each.into_iter().map(|verdict| verdict.unwrap_or_else(undecided)).collect();
        if each.iter().all(|verdict| *verdict == Verdict::Delivered) {
            return Outcome::Delivered;
        }
        match &each[0] {
            Verdict::Retry(why) if each.iter().all(|verdict| matches!(verdict, Verdict::Retry(_))) => {
                Outcome::Retry(why.clone())
            }
            _ => Outcome::Each(each),
        }
    }
}
