//! One run: the client reports to both queues, the original's worker stores from the one, the daemon from the other.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::client;
use crate::difference::assert_listed;
use crate::document::Document;
use crate::process::{PATIENCE, Start, count};
use crate::queue::Queue;
use crate::worker::Worker;

/// The kinds of all reports.
const KINDS: [&str; 6] = ["gauge", "counter", "timing", "event", "xml", "search"];

/// A store that both write to.
pub(crate) trait Store {
    /// What settings of the original's and the daemon's type call it.
    const NAME: &str;
    /// What differs, and why.
    const DIFFERENCES: &str;
    /// Whether the original can store one kind alone in a place, so that each has a worker of its own.
    const EACH_KIND: bool = false;

    /// What the original's settings say, by the names in `kanedasettings.py`. `kind`: of this one alone.
    fn settings(&self, kind: &str) -> Vec<(&'static str, String)>;

    /// The daemon's sink.
    fn sink(&self) -> String;

    /// What the original has stored.
    async fn originals(&mut self) -> Vec<Document>;

    /// What the daemon has stored.
    async fn ours(&mut self) -> Vec<Document>;
}

/// Runs it, and compares.
pub(crate) async fn compare<S: Store>(mut store: S, queue: Queue) {
    let folder = tempfile::tempdir().unwrap();
    let old = if S::EACH_KIND { "old.{}" } else { "old" };
    let kinds: &[&str] = if S::EACH_KIND { &KINDS } else { &[""] };
    let begin = now();
    let mut workers: Vec<Worker> = Vec::new();
    for kind in kinds {
        let place = old.replace("{}", kind);
        let (arguments, of_queue) = queue.of_worker(&place);
        let settings = store.settings(kind);
        let mut environment = vec![("STORE", S::NAME)];
        environment.extend(of_queue.iter().chain(&settings).map(|(name, value)| (*name, &**value)));
        let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
        workers.push(Worker::start(&arguments, &environment, &folder.path().join(format!("said{kind}"))));
    }
    // Without a `hostname`: it finds out the machine's, as the original does.
    let admin = "[admin]\nlisten = '127.0.0.1:0'\n";
    // Twice a run the last report is waited for.
    let soon = "flush_interval = '50ms'\n";
    let daemon = Start::exactly(&format!("{admin}{}{}{soon}", queue.of_daemon(), store.sink())).daemon();

    let of_client = queue.of_client(old);
    let arguments: Vec<&str> =
        ["tests/original/reports.py"].into_iter().chain(of_client.iter().map(|a| &**a)).collect();
    let mut reporting = client::command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let first = KINDS.map(|kind| format!("last.{kind}"));
    until_stored(&mut store, &mut workers, &first).await;
    let mut told = reporting.stdin.take().unwrap();
    told.write_all(b"\n").unwrap();
    until_stored(&mut store, &mut workers, &["very.last".to_owned()]).await;
    drop(told);
    let names = client::end(reporting);
    let sent: BTreeSet<String> = names.lines().map(str::to_owned).collect();
    assert_eq!(sent.len(), names.lines().count(), "a name comes twice");

    let refused = queue.refused();
    let expected = (sent.len() - refused.len()) as u64;
    daemon.until("all stored or refused", |status| {
        let sink = &status["sinks"][0];
        count(&sink["delivered"]) + count(&sink["rejected"]) == expected
    });
    let (old, new) = (store.originals().await, store.ours().await);
    let (_, ended) = daemon.end();
    let letters =
        std::fs::read_to_string(ended.path(format!("kaneda-data/dead/source-{}.jsonl", of_client[0])))
            .unwrap();
    let letters: Vec<Value> = letters.lines().map(|letter| serde_json::from_str(letter).unwrap()).collect();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, refused, "{letters:#?}");
    // A store may keep only milliseconds.
    let window = begin - 1_000_000..=now();
    for (field, time) in old.iter().chain(&new).flat_map(|document| &document.times) {
        assert!(window.contains(time), "{field}: {time} is not in {window:?}");
    }
    assert_listed(&old, &new, &sent, S::DIFFERENCES);
}

/// Waits until both have stored these.
async fn until_stored<S: Store>(store: &mut S, workers: &mut [Worker], names: &[String]) {
    // A worker for each kind takes its time to start.
    let end = Instant::now() + 3 * PATIENCE;
    let has = |documents: &[Document]| {
        names.iter().all(|name| documents.iter().any(|document| document.name == *name))
    };
    loop {
        let asked = Instant::now();
        let is_old = has(&store.originals().await);
        if is_old && has(&store.ours().await) {
            return;
        }
        workers.iter_mut().for_each(Worker::assert_alive);
        if Instant::now() > end {
            workers.iter().for_each(|worker| println!("{}", worker.said()));
            let by = if is_old { "daemon" } else { "original" };
            panic!("the {by} has not stored all of {names:?}");
        }
        // What stores is not to wait for what asks.
        tokio::time::sleep(asked.elapsed().max(Duration::from_millis(50))).await;
    }
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128
}
