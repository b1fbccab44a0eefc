//! The tests, the same for every store.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kaneda::pipeline::ledger::Drop;

use crate::flow::{Flow, settled};
use crate::subject::Subject;

fn counters(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("report.{n}:{n}|c")).collect()
}

/// The names of `counters(0..count)`, sorted.
fn names(count: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..count).map(|n| format!("report.{n}")).collect();
    names.sort();
    names
}

async fn stored<S: Subject>(subject: &S) -> Vec<String> {
    let mut names = subject.names().await;
    names.sort();
    names
}

pub async fn every_report_is_delivered_once<S: Subject>() {
    let subject = S::start().await;
    let flow = Flow::start(subject.sink());
    for first in (0..2000).step_by(400) {
        flow.store(counters(first..first + 400)).await;
    }
    let terms = flow.finish().await;
    assert_eq!((terms.accepted, terms.delivered), (2000, 2000));
    assert_eq!(stored(&subject).await, names(2000));
}

pub async fn an_outage_is_waited_for<S: Subject>() {
    let mut subject = S::start().await;
    let mut flow = Flow::start(subject.sink());
    flow.store(counters(0..10)).await;
    subject.fail().await;
    let during = flow.send(counters(10..20)).await;
    flow.in_trouble().await;
    assert!(!during.is_complete());
    assert_ne!(flow.last_error(), "");
    subject.heal().await;
    settled(&during).await;
    flow.store(counters(20..30)).await;
    assert_eq!(flow.finish().await.delivered, 30);
    assert_eq!(stored(&subject).await, names(30));
}

pub async fn a_lost_reply_makes_no_duplicate<S: Subject>() {
    let subject = S::start().await;
    let flow = Flow::start_deaf(subject.sink());
    let mut lines = counters(0..50);
    lines.extend((50..100).map(|n| format!("report.{n}:{n}|c|i:client-{n}")));
    flow.store(lines).await;
    assert_eq!(flow.finish().await.delivered, 100);
    assert_eq!(stored(&subject).await, names(100));
}

pub async fn a_refused_report_takes_no_neighbour_along<S: Subject>() {
    let mut subject = S::start().await;
    let flow = Flow::start(subject.sink());
    // The store may be made only with the first report.
    flow.store(counters(0..1)).await;
    subject.refuse().await;
    let mut lines = counters(1..100);
    lines.insert(50, "refused:1|c".into());
    flow.store(lines).await;
    let terms = flow.finish().await;
    assert_eq!((terms.delivered, terms.rejected.values().sum()), (100, 1), "{terms:?}");
    assert_eq!(stored(&subject).await, names(100));
}

/// Each is one line; what it is good for stands in its name or its value.
fn odd_reports() -> Vec<Vec<u8>> {
    let long = "x".repeat(60 * 1024);
    let mut lines: Vec<Vec<u8>> = [
        "nul\0name:1|c".into(),
        "nul\0value:a\0b|s".into(),
        "nul_tag:1|c|#a\0b".into(),
        r#"{"name":"\u0000","metric":"m","value":{"\u0000":"\u0000"},"tags":{"\u0000":"\u0000"}}"#.into(),
        "$:1|c".into(),
        "$name.$set:1|c|#$tag:$".into(),
        r#"{"name":"$","metric":"m","value":{"$":1,"$set":{"$":1}},"tags":{"$":1}}"#.into(),
        ".:1|c".into(),
        "a..b.:1|c".into(),
        r#"{"name":".","metric":"m","value":{"a.b":1,".":2,"a":{"b":3}},"tags":{"a.b":1}}"#.into(),
        r#"{"name":"empty","metric":"m","value":{"":1,"a":{"":2}},"tags":{"":""}}"#.into(),
        r#"{"name":"empty_value","metric":"m","value":""}"#.into(),
        r#"{"name":"empty_object","metric":"m","value":{},"tags":{}}"#.into(),
        r#"{"name":"deep","metric":"m","value":[[[[[[[[{"a":[{}]}]]]]]]]]}"#.into(),
        format!("{long}:1|c"),
        format!("long_value:{long}|s"),
        format!("long_tag:1|c|#{long}"),
        format!(r#"{{"name":"long_member","metric":"m","value":{{"{long}":1}}}}"#),
        format!("u64:{}|c", u64::MAX),
        format!(r#"{{"name":"u64_member","metric":"m","value":{{"largest":{}}}}}"#, u64::MAX),
        format!("i64:{}|g", i64::MIN),
        format!("largest_double:{:e}|g", f64::MAX),
        "smallest_double:5e-324|g".into(),
        "earliest:1|c|T0.000000001".into(),
        "latest:1|c|T9223372035".into(),
        "newline_and_quotes:a\\nb\"c'd|e".into(),
        "comma, = and space:1|c|#a =b,c\\:d, ".into(),
        "sql'); DROP TABLE reports; --:1|c".into(),
        r#"{"name":"reserved","metric":"m","value":{"id":1,"name":2,"time":3,"metric":4,"_id":5,"tags":6,"host":7}}"#
            .into(),
        r#"{"name":"null","metric":"m","value":null}"#.into(),
        r#"{"name":"true","metric":"gauge","value":true}"#.into(),
        r#"{"name":"text","metric":"gauge","value":"text"}"#.into(),
        r#"{"name":"kind","metric":"\u0000 ,=\"\\ .$","value":1}"#.into(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    lines.push(b"not\xffutf8:\xfe|s|#\xfd".to_vec());
    lines
}

pub async fn odd_reports_are_stored_or_rejected_alone<S: Subject>() {
    let subject = S::start().await;
    let flow = Flow::start(subject.sink());
    let odd = odd_reports();
    let count = odd.len();
    let mut lines = vec![b"report.0:0|c".to_vec()];
    for (n, line) in odd.into_iter().enumerate() {
        lines.push(line);
        lines.push(format!("report.{0}:{0}|c", n + 1).into_bytes());
    }
    flow.store(lines).await;
    let terms = flow.finish().await;
    let rejected: u64 = terms.rejected.values().sum();
    assert!(!terms.rejected.contains_key("panic"), "{terms:?}");
    assert_eq!(terms.delivered + rejected, 2 * count as u64 + 1);
    let mut stored = stored(&subject).await;
    assert_eq!(stored.len() as u64, terms.delivered);
    stored.retain(|name| name.starts_with("report."));
    assert_eq!(stored, names(count + 1), "a neighbour was lost");
}

pub async fn a_repeated_client_id_replaces<S: Subject>() {
    let subject = S::start().await;
    let flow = Flow::start(subject.sink());
    flow.store(["report.0:first|s|i:the-id", "report.1:other|s"]).await;
    flow.store(["report.0:second|s|i:the-id"]).await;
    flow.store(["report.0:third|s|i:the-id", "report.0:fourth|s|i:the-id"]).await;
    assert_eq!(flow.finish().await.delivered, 5);
    assert_eq!(stored(&subject).await, names(2));
    assert_eq!(subject.value("report.0").await, "fourth");
}

pub async fn a_shutdown_ends_at_its_deadline<S: Subject>() {
    let mut subject = S::start().await;
    let mut flow = Flow::start(subject.sink());
    flow.store(counters(0..10)).await;
    subject.fail().await;
    flow.send(counters(10..25)).await;
    flow.in_trouble().await;
    let started = Instant::now();
    let (left, terms) = flow.stop(Duration::from_millis(200)).await;
    // The deadline, the second that a sink may take to close, and a slow machine.
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((left, terms.delivered), (15, 10));
    assert_eq!(terms.dropped[Drop::Shutdown as usize], 15);
    subject.heal().await;
    assert_eq!(stored(&subject).await, names(10));
}

pub async fn no_secret_is_logged<S: Subject>() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber in the process, `tracing` asks the thread that is first to log at a place whether that
    // place is of interest, for all threads and for ever; and other tests' threads have none.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut subject = S::start().await;
    let sink = subject.sink();
    let mut flow = Flow::start(subject.sink());
    flow.store(counters(0..1)).await;
    subject.fail().await;
    let during = flow.send(counters(1..2)).await;
    flow.in_trouble().await;
    let probed = format!("{:?}", sink.probe().await);
    let error = flow.last_error();
    subject.heal().await;
    settled(&during).await;
    flow.finish().await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the sink is in trouble"), "the log was not seen: {log}");
    let secret = subject.secret().expect("a store without a secret says so in `excuse`");
    for said in [log, probed, error] {
        assert!(!said.contains(secret), "{said}");
    }
}
