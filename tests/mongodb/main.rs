//! The MongoDB sink against a server of its protocol. Without one each test says that it is skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod docs;
mod fault;
#[allow(dead_code, reason = "these tests need less of it than the laws")]
#[allow(unreachable_pub, reason = "nothing outside uses a test")]
#[path = "../compliance/flow.rs"]
mod flow;
#[path = "../store/page.rs"]
mod page;
#[path = "../proxy/mod.rs"]
mod proxy;
#[path = "../store/report.rs"]
mod report;
#[allow(dead_code, reason = "the laws need more of it")]
mod server;
mod stand_in;
mod tls;
#[path = "../tls/mod.rs"]
mod tls_front;
mod told;

use kaneda::sink::{Outcome, Verdict};
use mongodb::bson::{Bson, DateTime, Document, doc};
use report::{batch, deliver, rejected};
use server::Server;

/// The documents without their ids, which are ours.
fn without_ids(mut documents: Vec<Document>) -> Vec<Document> {
    for document in &mut documents {
        assert!(document.remove("_id").is_some());
    }
    documents
}

#[tokio::test]
async fn a_report_is_stored_in_kanedas_layout() {
    let Some(server) = Server::start("layout") else { return };
    let sink = server.sink();
    let reports = batch(
        r#"{"name":"login","metric":"counter","value":1,"tags":{"from":"web","deep":{"a":[1,null]}},"timestamp":1700000000.000000001}
load:0.5|g|@0.5|#env:prod,canary|T1700000000.5|h:db1
deploy.done:v42 "blue"\nsecond|event|T1700000000|i:d-1
q:{"took":12,"ok":true,"list":[1,2.5,"a",[],{}],"no":null,"name":3,"timestamp_ns":1}|k|m:query|T1700000000
large:9223372036854775807:-3000000000:18446744073709551615|c|T1700000000
"#,
    );
    assert_eq!(deliver(&*sink, reports).await, vec![Verdict::Delivered; 7]);
    assert_eq!(server.find(doc! {"_id": "d-1"}).await.len(), 1);
    let second = DateTime::from_millis(1_700_000_000_000);
    let expected = [
        doc! {"metric": "event", "name": "deploy.done", "value": "v42 \"blue\"\nsecond", "timestamp": second, "host": "web1"},
        doc! {"metric": "counter", "name": "large", "value": i64::MAX, "timestamp": second, "host": "web1"},
        doc! {"metric": "counter", "name": "large", "value": -3_000_000_000_i64, "timestamp": second, "host": "web1"},
        doc! {"metric": "counter", "name": "large", "value": u64::MAX as f64, "timestamp": second, "host": "web1"},
        doc! {
            "metric": "gauge", "name": "load", "value": 0.5, "rate": 0.5, "tags": ["env:prod", "canary"],
            "timestamp": DateTime::from_millis(1_700_000_000_500), "host": "db1",
        },
        doc! {
            "metric": "counter", "name": "login", "value": 1, "tags": {"from": "web", "deep": {"a": [1, null]}},
            "timestamp": second, "timestamp_ns": 1_700_000_000_000_000_001_i64, "host": "web1",
        },
        doc! {
            "metric": "query", "name": "q", "timestamp": second, "host": "web1", "took": 12, "ok": true,
            "list": [1, 2.5, "a", [], {}], "no": null, "name_": 3, "timestamp_ns_": 1,
        },
    ];
    let mut documents = without_ids(server.documents().await);
    documents.sort_by_key(|document| document.get_str("name").unwrap().to_owned());
    assert_eq!(documents, expected);
}

#[tokio::test]
async fn our_id_again_is_ignored_and_a_clients_replaces() {
    let Some(server) = Server::start("ids") else { return };
    let sink = server.sink();
    let ours = batch("n:1|c\n".repeat(2500));
    assert_eq!(sink.send(ours.clone()).await, Outcome::Delivered);
    assert_eq!(sink.counters(), [("already_there", 0)]);
    assert_eq!(sink.send(ours).await, Outcome::Delivered);
    assert_eq!(sink.counters(), [("already_there", 2500)]);
    assert_eq!(server.documents().await.len(), 2500);

    let mixed = |value| batch(format!("a:1|c\nb:{value}|g|#x|i:the-id\nc:1|c\n"));
    assert_eq!(sink.send(mixed(1)).await, Outcome::Delivered);
    assert_eq!(sink.send(batch("b:2|g|i:the-id\n")).await, Outcome::Delivered);
    let found = server.find(doc! {"_id": "the-id"}).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].get("value"), found[0].get("tags")), (Some(&Bson::Int32(2)), None));
}

#[tokio::test]
async fn a_unique_index_of_the_users_rejects_alone() {
    let Some(server) = Server::start("unique") else { return };
    let sink = server.sink();
    let unique = mongodb::IndexModel::builder()
        .keys(doc! {"order": 1})
        .options(mongodb::options::IndexOptions::builder().unique(true).sparse(true).build())
        .build();
    server.collection().await.create_index(unique).await.unwrap();
    let mut lines = String::new();
    for n in 0..100 {
        lines += &format!(
            "paid:{{\"order\":{}}}|k{}\n",
            if n == 41 || n == 70 { 7 } else { n },
            if n == 70 { "|i:x" } else { "" }
        );
    }
    let reports = batch(&lines);
    let verdicts = deliver(&*sink, reports.clone()).await;
    assert_eq!(rejected(&verdicts), [(41, "duplicate_key"), (70, "duplicate_key")]);
    let Verdict::Rejected(rejection) = &verdicts[41] else { panic!() };
    assert!(rejection.detail.contains("order"), "the server's own reason: {rejection:?}");
    assert_eq!(server.documents().await.len(), 98);
    // Sent again, the others are there already, and these are no less refused.
    assert_eq!(rejected(&deliver(&*sink, reports).await), [(41, "duplicate_key"), (70, "duplicate_key")]);
}

#[tokio::test]
async fn an_older_server_gets_a_clear_error() {
    let Some(server) = Server::start_old("old") else { return };
    let sink = server.sink();
    let Outcome::Retry(why) = sink.send(batch("n:1|c\n")).await else { panic!("not an error") };
    for text in [why, sink.probe().await.unwrap_err()] {
        assert!(text.contains("MongoDB 4.4 or newer"), "{text}");
    }
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let Some(server) = Server::start("probe") else { return };
    server.sink().probe().await.unwrap();
    assert!(server.documents().await.is_empty());
}
