//! Lines on their way through a ring and a drain into a sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use kaneda::pipeline::drain::{self, Drain};
use kaneda::pipeline::ledger::Terms;
use kaneda::pipeline::letter::Logged;
use kaneda::pipeline::ring::Ring;
use kaneda::pipeline::{Dispatch, Lane, Receipt, WhenFull};
use kaneda::protocol::{Limits, parse};
use kaneda::record::{Batch, Chunk, Dialect, OpenChunk, Origin};
use kaneda::sink::{Answer, Outcome, Sink};
use kaneda::unit;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So long no test waits for anything; only to fail instead of to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time, which goes on with each byte read as that of the daemon does.
static CLOCK: AtomicI64 = AtomicI64::new(1_700_000_000_000_000_000);

/// A running drain.
pub struct Flow {
    dispatch: Dispatch,
    deadline: watch::Sender<Option<Instant>>,
    drain: JoinHandle<drain::Rest>,
    retries: watch::Receiver<usize>,
}

impl Flow {
    /// Drains into `sink`.
    pub fn start(sink: Box<dyn Sink>) -> Self {
        Self::start_with(Tap::new(sink, false))
    }

    /// Drains into `sink`, whose first answer is lost.
    pub fn start_deaf(sink: Box<dyn Sink>) -> Self {
        Self::start_with(Tap::new(sink, true))
    }

    fn start_with(tap: Tap) -> Self {
        let config = drain::Config {
            flush_interval: unit::Duration::from_millis(1),
            batch_max_records: 500.try_into().expect("is not 0"),
            retry_first: unit::Duration::from_millis(1),
            retry_ceiling: unit::Duration::from_millis(20),
            ..drain::Config::default()
        };
        let room = Arc::new(Notify::new());
        let ring = Ring::new(4 << 20, config.batch_size(), Arc::clone(&room));
        let lane = Arc::new(Lane::new("subject", "subject", ring, WhenFull::Wait));
        let (deadline, end) = watch::channel(None);
        let retries = tap.retries.subscribe();
        let drain = Drain::new(Arc::clone(&lane), Arc::new(tap), config, Arc::new(Logged::default()));
        let drain = tokio::spawn(drain.run(end));
        Flow { dispatch: Dispatch::new(vec![lane], room), deadline, drain, retries }
    }

    /// Sends lines as one chunk.
    pub async fn send<L: AsRef<[u8]>>(&self, lines: impl IntoIterator<Item = L>) -> Receipt {
        let receipt = Receipt::new();
        self.dispatch.submit(vec![chunk(lines)], &receipt).await;
        self.dispatch.hurry();
        receipt
    }

    /// Sends lines as one chunk and waits until all are decided.
    pub async fn store<L: AsRef<[u8]>>(&self, lines: impl IntoIterator<Item = L>) {
        settled(&self.send(lines).await).await;
    }

    /// Waits until the sink has asked for a batch to be sent again.
    pub async fn in_trouble(&mut self) {
        let retries = self.retries.wait_for(|retries| *retries > 0);
        tokio::time::timeout(PATIENCE, retries).await.expect("the sink never asked for a retry").unwrap();
    }

    /// Waits until the sink asks once more for a batch to be sent again.
    pub async fn in_trouble_again(&mut self) {
        let before = *self.retries.borrow();
        let retries = self.retries.wait_for(|retries| *retries > before);
        tokio::time::timeout(PATIENCE, retries).await.expect("the sink never asked for a retry").unwrap();
    }

    /// What has become of the records so far.
    pub fn terms(&self) -> Terms {
        self.dispatch.lanes()[0].ledger.terms()
    }

    /// What the sink says was its last trouble.
    pub fn last_error(&self) -> String {
        self.dispatch.lanes()[0].health.condition.get().1.unwrap_or_default()
    }

    /// Ends the drain `within` a time. Returns how many records were left, and what became of all.
    pub async fn stop(self, within: Duration) -> (usize, Terms) {
        self.dispatch.close();
        self.deadline.send_replace(Some(Instant::now() + within));
        let left =
            tokio::time::timeout(PATIENCE, self.drain).await.expect("the drain never ended").unwrap().dropped;
        let terms = self.dispatch.lanes()[0].ledger.terms();
        assert!(terms.balance(), "{terms:?}");
        (left, terms)
    }

    /// Ends the drain when everything is decided.
    pub async fn finish(self) -> Terms {
        let (left, terms) = self.stop(PATIENCE).await;
        assert_eq!(left, 0);
        terms
    }
}

/// Waits until all chunks beside which `receipt` travels are decided.
pub async fn settled(receipt: &Receipt) {
    tokio::time::timeout(PATIENCE, receipt.complete()).await.expect("some reports were never decided");
}

/// The chunk of `lines`, each of which must be right.
pub fn chunk<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Chunk {
    let origin = Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "here".into() };
    let lines: Vec<L> = lines.into_iter().collect();
    let bytes: usize = lines.iter().map(|line| line.as_ref().len() + 1).sum();
    let mut open = OpenChunk::new(origin);
    open.begin_read(CLOCK.fetch_add(bytes as i64, Ordering::Relaxed));
    for line in lines {
        let line = line.as_ref();
        let at = open.append(line).start;
        let (bytes, table) = open.parts();
        let text = &bytes[at..at + line.len()];
        parse(text, Dialect::Kaneda, &Limits::default(), &mut |record| table.push(&record, bytes, at))
            .unwrap_or_else(|error| panic!("{error:?}: {}", String::from_utf8_lossy(line)));
    }
    open.close().expect("a chunk of no records")
}

/// A sink that lets the test see what another one answers.
struct Tap {
    sink: Box<dyn Sink>,
    retries: watch::Sender<usize>,
    loses_answer: AtomicBool,
}

impl Tap {
    fn new(sink: Box<dyn Sink>, loses_answer: bool) -> Self {
        Tap { sink, retries: watch::Sender::new(0), loses_answer: loses_answer.into() }
    }
}

impl Sink for Tap {
    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async {
            let outcome = self.sink.send(batch).await;
            if self.loses_answer.swap(false, Ordering::Relaxed) {
                return Outcome::Retry("the reply was lost".into());
            }
            if let Outcome::Retry(_) = outcome {
                self.retries.send_modify(|retries| *retries += 1);
            }
            outcome
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        self.sink.probe()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.sink.close()
    }
}
