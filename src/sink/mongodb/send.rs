//! One attempt at a batch.

use tokio::time::{Instant, timeout_at};

use super::answer::{self, Refusal};
use super::client::Client;
use super::command::{self, Command, Commands};
use super::failure;
use crate::record::Batch;
use crate::sink::{Outcome, Rejection, Verdict};

/// What came of an attempt.
pub(super) struct Sent {
    pub(super) outcome: Outcome,
    /// Documents that were there already, from an attempt whose answer was lost.
    pub(super) already_there: u64,
}

/// Sends `batch` within `timeout`. A command that gets no answer is dropped, and with it its connection.
pub(super) async fn send(client: &Client, batch: Batch) -> Sent {
    let end = Instant::now() + client.store().timeout;
    let mut attempt = Attempt { verdicts: vec![None; batch.len()], already_there: 0, refused: None };
    let failed = attempt.run(client, batch, end).await.err();
    Sent { already_there: attempt.already_there, outcome: attempt.outcome(failed) }
}

/// Tries whether the store can be used, within `timeout`.
pub(super) async fn probe(client: &Client) -> Result<(), String> {
    let end = Instant::now() + client.store().timeout;
    timeout_at(end, client.probe()).await.unwrap_or_else(|_| Err(TIMEOUT.to_owned()))
}

const TIMEOUT: &str = "no answer within `timeout`";

/// What is known so far.
struct Attempt {
    /// One a record; `None`: nothing is known yet.
    verdicts: Vec<Option<Verdict>>,
    already_there: u64,
    /// Why a command was refused as a whole.
    refused: Option<Rejection>,
}

impl Attempt {
    /// Sends one command after the other. The error is why not all of them were.
    async fn run(&mut self, client: &Client, batch: Batch, end: Instant) -> Result<(), String> {
        let most = timeout_at(end, client.max_documents()).await.map_err(|_| TIMEOUT)??;
        let target = client.store().target.clone();
        // Milliseconds of work for a large batch: not on a thread that sockets wait for.
        let made = tokio::task::spawn_blocking(move || command::commands(&target, &batch, most)).await;
        let Commands { commands, rejected } = match made {
            Ok(commands) => commands,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err("the daemon is stopping".to_owned()),
            },
        };
        for (place, verdict) in rejected {
            self.verdicts[place] = Some(verdict);
        }
        let namespace = client.store().target.namespace();
        for Command { verb, places, body } in commands {
            match timeout_at(end, client.run(body)).await.map_err(|_| TIMEOUT)? {
                Ok(reply) => {
                    let answer = answer::read(&reply, verb, places.len(), &namespace);
                    self.already_there += answer.already_there;
                    for (place, verdict) in places.into_iter().zip(answer.verdicts) {
                        self.verdicts[place] = Some(verdict);
                    }
                }
                Err(error) => match failure::read(&error) {
                    Refusal::NotNow(why) => return Err(why),
                    // The document to blame has to be looked for; alone it is known.
                    Refusal::Documents(rejection) if places.len() == 1 => {
                        self.verdicts[places[0]] = Some(Verdict::Rejected(rejection));
                    }
                    Refusal::Documents(rejection) => self.refused = Some(rejection),
                },
            }
        }
        Ok(())
    }

    fn outcome(self, failed: Option<String>) -> Outcome {
        let why = match (failed, self.refused) {
            (None, None) if self.verdicts.iter().all(|known| *known == Some(Verdict::Delivered)) => {
                return Outcome::Delivered;
            }
            (Some(why), _) if self.verdicts.iter().all(Option::is_none) => return Outcome::Retry(why),
            // The drain looks for the one to blame by halves.
            (None, Some(refused)) if self.verdicts.iter().all(Option::is_none) => {
                return Outcome::Refused(refused);
            }
            (Some(why), _) => why,
            // Among those that are sent again by themselves.
            (None, Some(refused)) => refused.detail,
            // Every command that was sent has verdicts for all of its documents.
            (None, None) => "nothing is known of it".to_owned(),
        };
        let verdicts = self.verdicts.into_iter();
        Outcome::Each(verdicts.map(|known| known.unwrap_or_else(|| Verdict::Retry(why.clone()))).collect())
    }
}
