//! RQ: the reports of Kaneda's `RQQueue`, from a Redis.

mod abandoned;
mod books;
mod broker;
mod config;
mod place;
mod script;

#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redis::RedisResult;
use tokio::join;
use tokio::task::{JoinError, JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::queue::{Connection, Error, Job, LONGEST_ID, Limits, RECONNECT_PAUSE};
use super::{Context, Kept, Message, Messages, Took, Unread, address};
use crate::status::State;
use crate::telemetry::Seldom;
use crate::tls;
use books::{Books, Open, count_gone};
use broker::{Broker, End, Look, MANY, Seen};
use config::BATCH;
pub use config::{Config, OtherJobs};
use place::Place;

/// How long the end waits for receipts; what has none then goes back to the queue.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How long a look is taken for what the queue is: jobs end, and workers are suspended.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Bytes of a reason that are kept with the job: some name what they have found.
const LONGEST_REASON: usize = 500;

/// A Redis that is not connected to yet.
pub struct Worker {
    broker: Broker,
}

impl Worker {
    /// Where the Redis is, and which queue.
    pub fn place(&self) -> String {
        self.broker.place()
    }
}

/// Makes what [`run`] needs, for the source `name`. The error names the key to change. That the Redis is away is no error.
pub fn worker(config: &Config, name: &str) -> io::Result<Worker> {
    config.check().map_err(address::invalid)?;
    let url = config.url().map_err(address::invalid)?;
    if config.tls.is_some() && !url.is_by_table() {
        return Err(address::invalid(tls::Error::Unused("rediss").to_string()));
    }
    let connection = Connection::new(url, "redis_url", name).map_err(address::invalid)?;
    Ok(Worker { broker: Broker::new(config, connection) })
}

/// Takes jobs until it is told to stop, and settles them when their reports are kept.
pub async fn run<M: Messages>(worker: Worker, intake: M, context: Context, config: Config) {
    let place = worker.place();
    let mut source = Source::new(worker, intake, context.clone(), config);
    while !context.stop.is_cancelled() {
        let pause = match source.turn().await {
            Ok(turn) => {
                context.counters.queue.condition.set(State::Ok);
                match turn {
                    Turn::More => continue,
                    Turn::Idle => source.config.poll_interval.get(),
                }
            }
            Err(error) => {
                warn!(place, %error, "the Redis of RQ cannot be reached or used; it is tried again");
                context.counters.queue.condition.fail(State::Retrying, format!("{place}: {error}"));
                source.disconnect();
                RECONNECT_PAUSE
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = context.stop.cancelled() => {}
            Some(joined) = source.waiting.join_next() => source.decide(joined),
        }
    }
    source.end().await;
}

/// Whether there may be more to take at once.
enum Turn {
    More,
    Idle,
}

struct Source<M: Messages> {
    books: Books,
    intake: M,
    limits: Limits,
    /// Flushes that are not decided, each with its jobs.
    waiting: JoinSet<(Kept, Vec<Open>)>,
    /// To be settled.
    done: Vec<Open>,
    /// To go back to the queue.
    lost: Vec<Open>,
    place: Place,
    /// The next look, if it was asked for, and since when.
    ahead: Option<(Instant, JoinHandle<RedisResult<Look>>)>,
    said: Seldom,
    /// Jobs that were taken since the intake was told to hurry.
    unhurried: usize,
    context: Context,
    config: Config,
}

impl<M: Messages> Source<M> {
    fn new(worker: Worker, intake: M, context: Context, config: Config) -> Self {
        Source {
            books: Books::new(worker.broker, Arc::clone(&context.counters)),
            intake,
            limits: Limits { max_message: config.max_message.bytes() as usize },
            waiting: JoinSet::new(),
            done: Vec::new(),
            lost: Vec::new(),
            place: Place::default(),
            ahead: None,
            said: Seldom::default(),
            unhurried: 0,
            context,
            config,
        }
    }

    /// One round: settles, takes, hands over.
    async fn turn(&mut self) -> RedisResult<Turn> {
        while let Some(joined) = self.waiting.try_join_next() {
            self.decide(joined);
        }
        if !self.books.is_here() {
            self.ahead = None;
            self.books.arrive().await?;
            self.place = Place::default();
        }
        if !self.lost.is_empty() {
            self.give_back_lost().await?;
            self.settle().await?;
            return Ok(Turn::Idle);
        }
        if self.books.look_after().await? {
            self.place.doubt();
        }
        let is_full = self.room() == 0;
        if !is_full && self.take().await? {
            return Ok(Turn::More);
        }
        if is_full {
            self.intake.hurry();
        }
        let makes_room = is_full && !self.done.is_empty();
        self.settle().await?;
        Ok(if makes_room { Turn::More } else { Turn::Idle })
    }

    /// Takes the next jobs that are for us. The others stay where they are. Says whether there may be more.
    async fn take(&mut self) -> RedisResult<bool> {
        let look = self.look().await?;
        self.books.suspend(look.is_suspended).await?;
        if look.is_suspended {
            return Ok(false);
        }
        self.place.look(look.start);
        if look.seen.is_empty() {
            return Ok(false);
        }
        let ours = self.read_all(look.seen).await?;
        let jobs: Vec<_> = ours.iter().map(|(seen, _)| (&*seen.id, seen.form)).collect();
        let (start, _) = self.place.next();
        let room = self.room().saturating_sub(jobs.len());
        let ahead = match room > 0 && !self.place.is_unsure() {
            true => Some(self.ask(room.min(BATCH)).await?),
            false => None,
        };
        // It is sent behind, and done while those that were taken are handed over.
        let (numbers, ahead) = join!(self.books.take(&jobs, start), async { ahead.map(tokio::spawn) });
        self.ahead = ahead.map(|ahead| (Instant::now(), ahead));
        let since = Timestamp::now();
        let mut open = Vec::new();
        for (number, (seen, job)) in numbers?.into_iter().zip(ours) {
            if let Some(number) = number {
                let reason = self.hand_over(&seen, &job, &mut open).await;
                open.push(Open { number, id: seen.id, form: seen.form, since, reason });
            }
        }
        let taken = open.len();
        self.flush(open).await;
        self.hurry(taken);
        Ok(true)
    }

    /// Looks at the next jobs in the queue, if that was not done ahead just now.
    async fn look(&mut self) -> RedisResult<Look> {
        match self.ahead.take() {
            Some((asked, ahead)) if asked.elapsed() < GOOD_FOR => {
                Ok(ahead.await.map_err(io::Error::from)??)
            }
            _ => {
                if self.place.is_unsure() {
                    let first = self.books.broker.first().await?;
                    self.place.compare(first.as_deref());
                }
                self.ask(self.room().min(BATCH)).await?.await
            }
        }
    }

    /// Asks for up to `most` of the next jobs, when what this gives is awaited.
    async fn ask(
        &mut self,
        most: usize,
    ) -> RedisResult<impl Future<Output = RedisResult<Look>> + Send + 'static> {
        let (start, before) = self.place.next();
        let look = self.books.broker.look(start, before, most).await?;
        let counters = Arc::clone(&self.context.counters);
        Ok(async move {
            let look = look.await?;
            count_gone(&counters, look.gone);
            Ok(look)
        })
    }

    /// Jobs that may be taken.
    fn room(&self) -> usize {
        self.config.prefetch.saturating_sub(self.books.held())
    }

    /// Reads jobs while the Redis settles others. Gives those that are for us.
    async fn read_all(&mut self, seen: Vec<Seen>) -> RedisResult<Vec<(Seen, Result<Job, Error>)>> {
        // As many as are taken: neither waits for the other.
        let many = self.done.len().min(BATCH);
        let settle = async { if many > 0 { self.books.settle(&self.done[..many]).await } else { Ok(()) } };
        let (limits, mut left) = (self.limits, self.config.batch_bytes());
        let read = async {
            // That is sent before.
            yield_now().await;
            let read = seen.into_iter().map_while(|seen| {
                // Deflated, they may be much smaller than they are. The others are looked at again.
                let (seen, job) = (left > 0).then(|| read(seen, limits))?;
                left = left.saturating_sub(job.as_ref().map_or(seen.data.len(), |job| job.line.len()));
                Some((seen, job))
            });
            read.collect::<Vec<_>>()
        };
        let (settled, read) = join!(settle, read);
        settled?;
        forget(&mut self.intake, self.done.drain(..many));
        let mut ours = Vec::with_capacity(read.len());
        for (seen, job) in read {
            match job {
                Err(Error::Other(function)) if self.config.other_jobs == OtherJobs::Leave => {
                    if let Some(unsaid) = self.said.tick() {
                        info!(function, unsaid, "a job of another function is left to others");
                    }
                    self.place.leave(seen.id);
                }
                job => ours.push((seen, job)),
            }
        }
        Ok(ours)
    }

    /// Half of `prefetch` is settled while the other half is taken: nobody waits for the other.
    fn hurry(&mut self, taken: usize) {
        self.unhurried += taken;
        if self.unhurried * 2 >= self.config.prefetch {
            self.intake.hurry();
            self.unhurried = 0;
        }
    }

    /// Hands a job that was taken to the intake. Why it fails, if it does.
    async fn hand_over(
        &mut self,
        seen: &Seen,
        job: &Result<Job, Error>,
        open: &mut Vec<Open>,
    ) -> Option<String> {
        self.context.counters.datagrams.add(1);
        self.context.counters.bytes.add(seen.length as u64);
        let id = known(&seen.id);
        let reason = loop {
            let (took, reason) = match job {
                Ok(Job { line }) => (self.intake.message(&Message { line, id, received: None }), None),
                Err(error) => {
                    let (code, reason) = (error.code(), error.to_string());
                    let unread = Unread { bytes: &seen.data, id, code, reason: &reason };
                    (self.intake.unread(&unread), Some(format!("{code}: {reason}")))
                }
            };
            match took {
                Took::Full => self.flush(std::mem::take(open)).await,
                Took::Refused(code, reason) => break Some(format!("{code}: {reason}")),
                Took::Taken | Took::Known => break reason,
            }
        };
        reason.map(|mut reason| {
            reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
            reason
        })
    }

    /// Sends off what was taken; its jobs wait for the receipt.
    async fn flush(&mut self, open: Vec<Open>) {
        if open.is_empty() {
            return;
        }
        let mut flush = pin!(self.intake.flush());
        // It may take long: nobody shall think that we are gone. A Redis that hangs does not keep it from going on: other sources
        // may stand behind it.
        let kept = loop {
            tokio::select! {
                kept = &mut flush => break kept,
                () = sleep_until(self.books.due()) => {}
            }
            let mut stay = pin!(self.books.stay());
            tokio::select! {
                kept = &mut flush => {
                    stay.await;
                    break kept;
                }
                () = &mut stay => {}
            }
        };
        self.waiting.spawn(async move { (kept.await, open) });
    }

    fn decide(&mut self, joined: Result<(Kept, Vec<Open>), JoinError>) {
        // A receipt cannot panic; if it did, its jobs would be refreshed until the end, and go back then.
        let Ok((kept, open)) = joined else { return };
        match kept {
            Kept::Stored | Kept::Decided => self.done.extend(open),
            Kept::Lost => self.lost.extend(open),
        }
    }

    /// Writes into the books what became of jobs.
    async fn settle(&mut self) -> RedisResult<()> {
        while !self.done.is_empty() {
            let many = self.done.len().min(MANY);
            self.books.settle(&self.done[..many]).await?;
            forget(&mut self.intake, self.done.drain(..many));
        }
        Ok(())
    }

    fn disconnect(&mut self) {
        self.ahead = None;
        self.books.broker.disconnect();
        self.books.count_connection();
    }

    /// What could not be kept, since its dead letter could not be written, is taken again later.
    async fn give_back_lost(&mut self) -> RedisResult<()> {
        self.books.give_back(&self.lost, End::Last).await?;
        forget(&mut self.intake, self.lost.drain(..));
        Ok(())
    }

    /// Settles what is kept soon, gives back the rest, and leaves.
    async fn end(mut self) {
        self.intake.hurry();
        let all = async {
            while let Some(joined) = self.waiting.join_next().await {
                self.decide(joined);
            }
        };
        let _late = timeout(END_PATIENCE, all).await;
        if let Some((_, ahead)) = self.ahead.take() {
            // It counts what it removes.
            let _late = timeout(END_PATIENCE, ahead).await;
        }
        if let Err(error) = self.settle().await {
            warn!(%error, "what is stored could not be settled: it comes again, and is stored once");
        }
        let returned = self.books.give_back_all().await;
        match returned {
            Ok(0) => {}
            Ok(returned) => info!(returned, "jobs that are not stored yet are back in the queue"),
            Err(error) => warn!(%error, "jobs that are not stored yet are put back by the next daemon"),
        }
        if let Err(error) = self.books.broker.deregister().await {
            warn!(%error, "RQ goes on to show this worker for a while");
        }
    }
}

/// These are not delivered again.
fn forget(intake: &mut impl Messages, jobs: impl Iterator<Item = Open>) {
    for open in jobs {
        if let Some(id) = known(&open.id) {
            intake.forget(id);
        }
    }
}

/// What a job says. Its data are kept if they are needed for a dead letter.
fn read(seen: Seen, limits: Limits) -> (Seen, Result<Job, Error>) {
    // One that is too long is there in part.
    let job = match Job::read(&seen.data, limits) {
        Err(other @ Error::Other(_)) => Err(other),
        _ if seen.length > limits.max_message => Err(Error::TooLong(limits.max_message)),
        read if known(&seen.id).is_some() => read,
        _ => Err(Error::BadId),
    };
    match job {
        Ok(job) => (Seen { data: Vec::new(), ..seen }, Ok(job)),
        Err(error) => (seen, Err(error)),
    }
}

/// The id of a job, if a document can have it.
fn known(id: &[u8]) -> Option<&str> {
    str::from_utf8(id).ok().filter(|id| (1..=LONGEST_ID).contains(&id.len()))
}
