//! What a server says that the one of the tests cannot be made to say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kaneda::sink::mongodb::Config;
use kaneda::sink::{Outcome, Sink, Verdict};
use mongodb::bson::{Document, doc};

use crate::report::{batch, rejected};
use crate::stand_in::{StandIn, refusal};

fn sink(stand_in: &StandIn, more: &str) -> Box<dyn Sink> {
    let config: Config = toml::from_str(&format!("connection_url = {:?}\n{more}", stand_in.url)).unwrap();
    config.build("mongodb").unwrap()
}

fn name(command: &Document) -> &str {
    command.keys().next().unwrap()
}

/// Answers only to `insert`.
async fn to_insert(answer: Document) -> StandIn {
    StandIn::start(move |command| (name(command) == "insert").then(|| answer.clone())).await
}

async fn last_error(sink: &dyn Sink) -> String {
    match sink.send(batch("a:1|c\nb:1|c\n")).await {
        Outcome::Retry(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_write_concern_is_asked_for_and_its_failure_waits() {
    let error =
        doc! {"n": 2, "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}};
    let stand_in = to_insert(error).await;
    let sink = sink(&stand_in, "timeout = \"4s\"");
    let Outcome::Each(verdicts) = sink.send(batch("a:1|c\nb:1|c\n")).await else { panic!() };
    for verdict in verdicts {
        let Verdict::Retry(why) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("timed out") && why.contains("`w`"), "{why}");
    }
    let asked = stand_in.asked();
    let insert = asked.iter().find(|command| name(command) == "insert").unwrap();
    let concern = insert.get_document("writeConcern").unwrap();
    assert_eq!(*concern, doc! {"w": "majority", "j": true, "wtimeout": 3000});
    assert!(!insert.get_bool("ordered").unwrap());
}

#[tokio::test]
async fn who_may_not_write_is_told_what_to_do() {
    let stand_in = to_insert(refusal(13, "not authorized on kaneda to execute command")).await;
    let sink = sink(&stand_in, "");
    for text in [last_error(&*sink).await, sink.probe().await.unwrap_err()] {
        assert!(text.contains("readWrite on `db_name`"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_login_is_told_what_to_do_and_not_the_password() {
    let stand_in = StandIn::start(|command| {
        (name(command) == "saslStart").then(|| refusal(18, "Authentication failed."))
    })
    .await;
    let sink = sink(&stand_in, "user = \"me\"\npassword = \"guess-1234\"");
    for text in [last_error(&*sink).await, sink.probe().await.unwrap_err()] {
        assert!(text.contains("`user` and `password`") && !text.contains("guess-1234"), "{text}");
    }
}

#[tokio::test]
async fn a_primary_that_steps_down_is_waited_for() {
    let stand_in = to_insert(refusal(10107, "not primary")).await;
    assert!(last_error(&*sink(&stand_in, "")).await.contains("not primary"));
}

#[tokio::test]
async fn a_command_that_is_refused_for_a_document_is_split() {
    let stand_in = to_insert(refusal(22, "Invalid BSON")).await;
    let sink = sink(&stand_in, "");
    let Outcome::Refused(rejection) = sink.send(batch("a:1|c\nb:1|c\n")).await else { panic!() };
    assert!(rejection.detail.contains("Invalid BSON"));
    // Alone it is known; what went with another command is not sent again.
    let Outcome::Each(verdicts) = sink.send(batch("a:1|c\n")).await else { panic!() };
    assert_eq!(rejected(&verdicts), [(0, "refused")]);
}

#[tokio::test]
async fn what_is_stored_when_the_server_fails_in_the_middle_is_not_sent_again() {
    let stand_in = StandIn::start(|command| match name(command) {
        "insert" => Some(doc! {"n": 2}),
        "update" => Some(refusal(91, "shutting down")),
        _ => None,
    })
    .await;
    let Outcome::Each(verdicts) = sink(&stand_in, "").send(batch("a:1|c\nb:1|c|i:x\nc:1|c\n")).await else {
        panic!()
    };
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Delivered, &Verdict::Delivered));
    assert!(matches!(&verdicts[1], Verdict::Retry(why) if why.contains("shutting down")));
}

#[tokio::test]
async fn indexes_are_made_when_they_are_asked_for() {
    let stand_in = to_insert(doc! {"n": 1}).await;
    let sink = sink(&stand_in, "indexes = true\nretention = \"1d\"\ncollection_name = \"c\"");
    assert_eq!(sink.send(batch("a:1|c\n")).await, Outcome::Delivered);
    assert_eq!(sink.send(batch("a:1|c\n")).await, Outcome::Delivered);
    let asked = stand_in.asked();
    let names: Vec<_> = asked.iter().map(name).collect();
    assert_eq!(names, ["createIndexes", "createIndexes", "insert", "insert"]);
    assert_eq!(
        asked[..2],
        [
            doc! {"createIndexes": "c", "indexes": [
                {"key": {"name": 1, "timestamp": 1}, "name": "name_1_timestamp_1"},
            ]},
            doc! {"createIndexes": "c", "indexes": [
                {"key": {"timestamp": 1}, "name": "timestamp_1", "expireAfterSeconds": 86400},
            ]},
        ]
    );
}

#[tokio::test]
async fn another_retention_changes_the_index_and_a_failure_costs_no_report() {
    let changes = AtomicUsize::new(0);
    let stand_in = StandIn::start(move |command| match name(command) {
        "createIndexes" => Some(refusal(85, "an index with the same name is there")),
        "collMod" if changes.fetch_add(1, Ordering::Relaxed) > 0 => Some(refusal(13, "not authorized")),
        "insert" => Some(doc! {"n": 1}),
        _ => None,
    })
    .await;
    let sink = sink(&stand_in, "retention = \"2s\"");
    assert_eq!(sink.send(batch("a:1|c\n")).await, Outcome::Delivered);
    let change = stand_in.asked().into_iter().find(|command| name(command) == "collMod").unwrap();
    let index = doc! {"keyPattern": {"timestamp": 1}, "expireAfterSeconds": 2_i64};
    assert_eq!(change, doc! {"collMod": "reports", "index": index});
    assert!(sink.probe().await.unwrap_err().contains("`retention`"));
    assert_eq!(sink.send(batch("a:1|c\n")).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_time_series_is_made_and_only_inserted_into() {
    let stand_in = to_insert(doc! {"n": 2}).await;
    let sink = sink(&stand_in, "time_series = true\nretention = \"1d\"");
    assert_eq!(sink.send(batch("a:1|c\nb:1|c|i:x\n")).await, Outcome::Delivered);
    let asked = stand_in.asked();
    let names: Vec<_> = asked.iter().map(name).collect();
    assert_eq!(names, ["create", "collMod", "insert"]);
    let series = doc! {"timeField": "timestamp", "metaField": "name", "granularity": "seconds"};
    assert_eq!(asked[0], doc! {"create": "reports", "timeseries": series, "expireAfterSeconds": 86400});
    assert_eq!(asked[1], doc! {"collMod": "reports", "expireAfterSeconds": 86400_i64});
}

#[tokio::test]
async fn a_collection_that_is_no_time_series_is_not_written_to_as_one() {
    for (kind, is_taken) in [("timeseries", true), ("collection", false)] {
        let stand_in = StandIn::start(move |command| match name(command) {
            "create" => Some(refusal(48, "Collection already exists")),
            "listCollections" => {
                let batch = [doc! {"name": "reports", "type": kind}];
                Some(doc! {"cursor": {"id": 0_i64, "ns": "kaneda.$cmd", "firstBatch": batch}})
            }
            "insert" => Some(doc! {"n": 2}),
            _ => None,
        })
        .await;
        let sink = sink(&stand_in, "time_series = true");
        if is_taken {
            assert_eq!(sink.send(batch("a:1|c\nb:1|c\n")).await, Outcome::Delivered);
        } else {
            assert!(last_error(&*sink).await.contains("`time_series`"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_hangs_is_dropped_with_its_connection() {
    let (asked, inserts) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
    let told = std::sync::Arc::clone(&inserts);
    let (give_up, is_given_up) = std::sync::mpsc::channel::<()>();
    let is_given_up = std::sync::Mutex::new(is_given_up);
    let stand_in = StandIn::start(move |command| {
        (name(command) == "insert").then(|| {
            told.fetch_add(1, Ordering::Relaxed);
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                // The first answer comes when nobody waits for it any more.
                tokio::task::block_in_place(|| is_given_up.lock().unwrap().recv().unwrap());
                return doc! {"n": 0, "writeErrors": [{"index": 0, "code": 121, "errmsg": "late"}]};
            }
            doc! {"n": 2}
        })
    })
    .await;
    let sink = sink(&stand_in, "timeout = \"500ms\"");
    let started = std::time::Instant::now();
    while inserts.load(Ordering::Relaxed) == 0 {
        assert!(last_error(&*sink).await.contains("`timeout`"));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    give_up.send(()).unwrap();
    // The late answer is not taken for the one to this.
    let reports = batch("a:1|c\nb:1|c\n");
    while sink.send(reports.clone()).await != Outcome::Delivered {}
    assert!(inserts.load(Ordering::Relaxed) >= 2);
}
