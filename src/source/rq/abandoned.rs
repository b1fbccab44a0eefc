//! Jobs in the hands of workers that are gone: they go back to the queue.
//!
//! RQ's own maintenance (`rq/registry.py`, `StartedJobRegistry.cleanup`; `rq/intermediate_queue.py`) fails such a job unless it
//! was queued with retries. A report can be stored again without harm, so it is queued again. Jobs of other functions are not
//! ours to judge: they stay for that maintenance.

use std::collections::{HashMap, HashSet};

use redis::RedisResult;

use super::broker::{Broker, End, Held, MANY, is_ours};
use crate::source::queue::Job;

/// Which jobs are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All: whoever is gone at our start is gone.
    All,
    /// After the connection broke: those that we have taken without being told. Other workers may be about to come back.
    Own,
    /// Those of which nothing was heard for so many seconds.
    Unheard(u64),
}

/// Puts jobs back that nobody works on any more; `ours` are those that we do. How many.
pub(super) async fn reclaim(broker: &mut Broker, which: Which, ours: &HashSet<&[u8]>) -> RedisResult<u64> {
    let unheard = if let Which::Unheard(seconds) = which { Some(seconds) } else { None };
    let mut workers = Workers::default();
    let (mut back, mut skip) = (0, 0);
    loop {
        let held = broker.in_hand(unheard, skip).await?;
        let mut left = Vec::new();
        for job in &held {
            let is_left = match job {
                job if job.worker == broker.name() => !ours.contains(&*job.id),
                _ if which == Which::Own => false,
                job if is_ours(&job.worker) => workers.is_gone(broker, &job.worker).await?,
                // RQ would call it abandoned.
                job => !job.head.is_empty() && !Job::is_other(&job.head),
            };
            if is_left {
                left.push(job);
            }
        }
        // The first that was taken is the first again.
        left.reverse();
        let left: Vec<_> =
            left.iter().map(|Held { id, execution, worker, .. }| (&**id, &**execution, &**worker)).collect();
        if !left.is_empty() {
            back += broker.give_back(&left, End::Next).await?;
        }
        if held.len() < MANY {
            break;
        }
        skip += held.len() - left.len();
    }
    if which != Which::Own {
        let between = broker.between().await?;
        let reports = between.iter().filter(|[_, head]| !Job::is_other(head));
        let ids: Vec<_> = reports.map(|[id, _]| id.as_slice()).collect();
        if !ids.is_empty() {
            back += broker.rescue(&ids).await?;
        }
    }
    Ok(back)
}

/// What is known of other workers of this program.
#[derive(Default)]
struct Workers {
    /// Whether they are gone.
    gone: HashMap<String, bool>,
    /// The names of connections. None inside: Redis does not tell.
    connected: Option<Option<HashSet<String>>>,
}

impl Workers {
    async fn is_gone(&mut self, broker: &mut Broker, worker: &str) -> RedisResult<bool> {
        if let Some(is_gone) = self.gone.get(worker) {
            return Ok(*is_gone);
        }
        let connected = match &mut self.connected {
            Some(connected) => connected,
            none => none.insert(broker.connected().await?),
        };
        let is_gone = match (connected, broker.worker(worker).await?) {
            (Some(connected), _) if connected.contains(worker) => false,
            // It was not heard of for longer than its entry is good for.
            (_, None) => true,
            (connected, Some(is_named)) => is_named && connected.is_some(),
        };
        self.gone.insert(worker.to_owned(), is_gone);
        Ok(is_gone)
    }
}
