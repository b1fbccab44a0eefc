//! The InfluxDB sink against the real server. Without one each test says that it is skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bucket;
mod docs;
mod fault;
mod nasty;
#[path = "../store/page.rs"]
mod page;
#[path = "../proxy/mod.rs"]
mod proxy;
#[path = "../store/report.rs"]
mod report;
mod secured;
mod server;
#[path = "../tls/mod.rs"]
mod tls;
mod victoriametrics;

use std::fmt::Write;

use kaneda::sink::{Outcome, Verdict};
use report::{batch, batch_behind, deliver, rejected};
use serde_json::json;
use server::Server;

fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn a_report_is_stored_in_kanedas_layout() {
    let Some(server) = Server::start("layout") else { return };
    let sink = server.sink();
    let reports = batch(
        r#"{"name":"login","metric":"counter","value":1,"tags":{"from":"web page"},"timestamp":1700000000.000000001}
load:0.5|g|@0.5|#env:prod,canary|T1700000000.000000002|h:db1
deploy.done:v42 "blue"\nsecond|event|T1700000000.000000003|i:d-1
q:{"took":12,"ok":true,"user":"x","list":[1,"a"],"in":{"a":null},"no":null,"time":3}|k|m:query|T1700000000.000000004
"#,
    );
    assert_eq!(deliver(&*sink, reports).await, vec![Verdict::Delivered; 4]);
    let expected = [
        (
            "counter",
            json!({"time": 1_700_000_000_000_000_001_i64, "host": "web1", "from": "web page", "name": "login", "value": 1}),
        ),
        (
            "gauge",
            json!({"time": 1_700_000_000_000_000_002_i64, "host": "db1", "env": "prod", "canary": "true", "name": "load", "value": 0.5, "rate": 0.5}),
        ),
        (
            "event",
            json!({"time": 1_700_000_000_000_000_003_i64, "host": "web1", "name": "deploy.done", "value": "v42 \"blue\"\nsecond", "id": "d-1"}),
        ),
        (
            "query",
            json!({"time": 1_700_000_000_000_000_004_i64, "host": "web1", "name": "q", "took": 12, "ok": true, "user": "x", "list": "[1,\"a\"]", "in": "{\"a\":null}", "time_": 3}),
        ),
    ];
    for (measurement, point) in expected {
        let rows = server.rows(&format!("SELECT * FROM \"{measurement}\"")).await;
        assert_eq!(rows, [object(point)], "{measurement}");
    }
    let tags = server.query("SHOW TAG KEYS FROM gauge").await;
    assert_eq!(tags[0]["values"], json!([["canary"], ["env"], ["host"]]));
}

#[tokio::test]
async fn types_of_our_own_layout_never_conflict() {
    let Some(server) = Server::start("types") else { return };
    let mut config = server.config();
    for integers in [false, true] {
        config.integers = integers;
        config.database = format!("{}_{integers}", server.database);
        let mut lines = String::new();
        for metric in ["gauge", "event", "mine"] {
            for value in
                ["1", "0.5", "18446744073709551615", "-1e300", "\"t\"", "true", "null", "[1]", "{\"a\":1}"]
            {
                let _ = writeln!(lines, r#"{{"name":"n","metric":"{metric}","value":{value}}}"#);
            }
        }
        let sink = config.build("influxdb").unwrap();
        assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), []);
        let fields = server.query(&format!("SHOW FIELD KEYS ON {} FROM event", config.database)).await;
        assert_eq!(fields[0]["values"], json!([["a", "float"], ["name", "string"], ["value", "string"]]));
        let fields = server.query(&format!("SHOW FIELD KEYS ON {} FROM gauge", config.database)).await;
        let expected = if integers {
            json!([
                ["a", "float"],
                ["float", "float"],
                ["name", "string"],
                ["text", "string"],
                ["value", "integer"]
            ])
        } else {
            json!([["a", "float"], ["name", "string"], ["text", "string"], ["value", "float"]])
        };
        assert_eq!(fields[0]["values"], expected);
    }
}

#[tokio::test]
async fn as_many_reports_of_one_second_are_as_many_points_even_when_sent_twice() {
    let Some(server) = Server::start("distinct") else { return };
    let sink = server.sink();
    let mut before = 0;
    for _ in 0..50 {
        let lines = "hits:1|c|T1700000000\n".repeat(2_000) + &"load:1:2:3|g\n".repeat(100);
        let reports = batch_behind(before, &lines);
        before += lines.len() as u64;
        assert_eq!(sink.send(reports.clone()).await, Outcome::Delivered);
        assert_eq!(sink.send(reports).await, Outcome::Delivered);
    }
    assert_eq!(server.count("counter").await, 100_000);
    assert_eq!(server.count("gauge").await, 50 * 300);
}

#[tokio::test]
async fn a_client_id_and_a_time_are_one_point_wherever_they_are_sent_again() {
    let Some(server) = Server::start("client_id") else { return };
    let sink = server.sink();
    deliver(&*sink, batch("paid:1|c|T1700000000|i:order-1\npaid:1|c|T1700000000|i:order-2\n")).await;
    deliver(&*sink, batch_behind(7_777, "paid:5|c|T1700000000|i:order-1\n")).await;
    let mut rows = server.rows("SELECT id, value FROM counter").await;
    rows.iter_mut().for_each(|row| drop(row.remove("time")));
    rows.sort_by_key(|row| row["id"].to_string());
    assert_eq!(
        rows,
        [object(json!({"id": "order-1", "value": 5})), object(json!({"id": "order-2", "value": 1}))]
    );
}

#[tokio::test]
async fn a_conflict_is_rejected_alone() {
    let Some(server) = Server::start("conflict") else { return };
    let sink = server.sink();
    // In a new measurement the server stores nothing of a batch with a conflict in it.
    let mut lines = String::new();
    for n in 0..100 {
        let took = if n == 41 { "\"long\"".to_owned() } else { n.to_string() };
        let _ = writeln!(lines, "q:{{\"took\":{took}}}|k|m:query");
    }
    assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), [(41, "type_conflict")]);
    assert_eq!(server.count("\"query\"").await, 99);
    // In a known one it stores the rest.
    assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), [(41, "type_conflict")]);
    assert_eq!(server.count("\"query\"").await, 198);
}

#[tokio::test]
async fn a_batch_of_nothing_but_conflicts_takes_one_request() {
    let Some(server) = Server::start("all_conflicts") else { return };
    let sink = server.sink();
    deliver(&*sink, batch("q:{\"took\":1}|k|m:query\n")).await;
    let outcome = sink.send(batch("q:{\"took\":\"x\"}|k|m:query\n".repeat(50))).await;
    let Outcome::Each(verdicts) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rejected(&verdicts).len(), 50);
}

#[tokio::test]
async fn a_point_outside_of_the_retention_policy_is_rejected_alone() {
    let Some(server) = Server::start("retention") else { return };
    server.sink().probe().await.unwrap();
    server
        .query(&format!("CREATE RETENTION POLICY short ON {} DURATION 1h REPLICATION 1", server.database))
        .await;
    let mut config = server.config();
    config.retention_policy = Some("short".to_owned());
    let sink = config.build("influxdb").unwrap();
    let lines = "n:1|c\n".repeat(20) + "n:2|c|T1000\n" + &"n:1|c\n".repeat(20);
    assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), [(20, "outside_retention")]);
    assert_eq!(server.count("short.counter").await, 40);

    config.retention_policy = Some("nowhere".to_owned());
    let Outcome::Retry(why) = config.build("influxdb").unwrap().send(batch("n:1|c\n")).await else {
        panic!()
    };
    assert!(why.contains("`retention_policy`"), "{why}");
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it_and_nothing_is_given_up() {
    let Some(server) = Server::start("password") else { return };
    let mut config = server.config();
    config.password = Some("guess-1234".into());
    let sink = config.build("influxdb").unwrap();
    let Outcome::Retry(why) = sink.send(batch("n:1|c\n")).await else { panic!("given up") };
    let probe = sink.probe().await.unwrap_err();
    for text in [why, probe] {
        assert!(text.contains("`password`") && !text.contains("guess-1234"), "{text}");
    }
}

#[tokio::test]
async fn a_user_who_may_only_write_needs_a_database_that_is_there() {
    let Some(server) = Server::start("writer") else { return };
    server.query("CREATE USER writer_kaneda WITH PASSWORD 'w'").await;
    let mut config = server.config();
    (config.user, config.password) = (Some("writer_kaneda".to_owned()), Some("w".into()));
    let sink = config.build("influxdb").unwrap();
    let missing = sink.probe().await.unwrap_err();
    assert!(missing.contains("`user`"), "{missing}");
    server.query(&format!("CREATE DATABASE {}", server.database)).await;
    let forbidden = sink.probe().await.unwrap_err();
    assert!(forbidden.contains("WRITE"), "{forbidden}");
    server.query(&format!("GRANT WRITE ON {} TO writer_kaneda", server.database)).await;
    sink.probe().await.unwrap();
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    server.query("DROP USER writer_kaneda").await;
}

#[tokio::test]
async fn a_missing_database_is_created_unless_that_is_forbidden() {
    let Some(server) = Server::start("missing") else { return };
    let mut config = server.config();
    config.database = "odd \"name\" of it".to_owned();
    config.create_database = false;
    let Outcome::Retry(why) = config.build("influxdb").unwrap().send(batch("n:1|c\n")).await else {
        panic!()
    };
    assert!(why.contains("`create_database`"), "{why}");
    config.create_database = true;
    assert_eq!(config.build("influxdb").unwrap().send(batch("n:1|c\n")).await, Outcome::Delivered);
}

#[tokio::test]
async fn bodies_are_taken_with_and_without_gzip() {
    let Some(server) = Server::start("gzip") else { return };
    let mut config = server.config();
    for (gzip, count) in [(true, 1), (false, 2)] {
        config.gzip = gzip;
        assert_eq!(config.build("influxdb").unwrap().send(batch("n:1|c\n")).await, Outcome::Delivered);
        assert_eq!(server.count("counter").await, count);
    }
}
