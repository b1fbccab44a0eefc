//! What is stored, and where.

use kaneda::sink::{Outcome, Verdict};
use serde_json::{Value, json};

use crate::report::{batch, deliver, rejected};
use crate::server::Server;

fn time(seconds: f64) -> Value {
    json!({ "$reql_type$": "TIME", "epoch_time": seconds, "timezone": "+00:00" })
}

#[tokio::test]
async fn a_report_is_stored_in_kanedas_layout() {
    let server = Server::start("layout").await;
    let reports = batch(
        r#"{"name":"login","metric":"counter","value":1,"tags":{"from":"web page"},"timestamp":1700000000.007,"id":"1"}
load:0.5|g|@0.5|#env:prod,canary|T1700000000.000000002|h:db1|i:2
deploy.done:v42 "blue"\nsecond|event|T1700000000|i:3
q:{"took":12,"ok":true,"list":[1,"a"],"in":{"a":null},"no":null,"id":9}|k|m:query|T1700000001|i:4
"#,
    );
    assert_eq!(deliver(&*server.sink(), reports).await, vec![Verdict::Delivered; 4]);
    assert_eq!(server.tables().await, ["counter", "event", "gauge", "query"]);
    for (table, expected) in [
        (
            "counter",
            json!({"id": "1", "timestamp": time(1_700_000_000.007), "metric": "counter", "host": "web1", "name": "login",
                "value": 1, "tags": {"from": "web page"}}),
        ),
        (
            "gauge",
            json!({"id": "2", "timestamp": time(1_700_000_000.0), "timestamp_ns": "1700000000000000002",
                "metric": "gauge", "host": "db1", "name": "load", "value": 0.5, "rate": 0.5,
                "tags": ["env:prod", "canary"]}),
        ),
        (
            "event",
            json!({"id": "3", "timestamp": time(1_700_000_000.0), "metric": "event", "host": "web1",
                "name": "deploy.done", "value": "v42 \"blue\"\nsecond"}),
        ),
        (
            "query",
            json!({"id": "4", "timestamp": time(1_700_000_001.0), "metric": "query", "host": "web1", "name": "q",
                "took": 12, "ok": true, "list": [1, "a"], "in": {"a": null}, "no": null, "id_": 9}),
        ),
    ] {
        let documents = server.documents(table).await;
        assert!(same(&json!(documents), &json!([expected])), "{table}: {documents:?}");
    }
}

/// Whether two documents say the same: the server prints 5.0 as 5.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[tokio::test]
async fn one_table_may_hold_all_and_its_database_is_made() {
    let server = Server::start("one_table").await;
    let mut config = server.config();
    config.table_name = Some("reports".to_owned());
    let sink = config.build("rethinkdb").unwrap();
    assert_eq!(sink.send(batch("a:1|c\nb:1|g\nc:x|e\nd:1|k|m:a b\n")).await, Outcome::Delivered);
    assert_eq!(server.tables().await, ["reports"]);
    let metrics: Vec<_> =
        server.documents("reports").await.iter().map(|document| document["metric"].clone()).collect();
    assert_eq!(metrics, ["counter", "gauge", "event", "a b"]);
}

#[tokio::test]
async fn a_metric_gets_a_table_of_its_own_until_there_are_enough() {
    let server = Server::start("many_tables").await;
    server.create("there").await;
    let mut config = server.config();
    config.max_tables = 3.try_into().unwrap();
    let sink = config.build("rethinkdb").unwrap();
    let lines = "a:1|c\nb:1|k|m:a b\nc:1|k|m:a.b\nd:1|k|m:there\ne:1|k|m:more\n";
    for _ in 0..2 {
        assert_eq!(sink.send(batch(lines)).await, Outcome::Delivered);
    }
    let tables = server.tables().await;
    assert_eq!(tables.len(), 4);
    assert!(tables[0].starts_with("a_b_") && tables[1..] == ["counter", "custom", "there"], "{tables:?}");
    for (table, documents) in tables.iter().zip([2, 2, 4, 2]) {
        assert_eq!(server.count(table).await, documents, "{table}");
    }
    assert_eq!(sink.counters()[1], ("reports_without_own_table", 4));
    // After a restart each still goes where it went.
    assert_eq!(config.build("rethinkdb").unwrap().send(batch(lines)).await, Outcome::Delivered);
    assert_eq!((server.tables().await.len(), server.count("custom").await), (4, 6));
}

#[tokio::test]
async fn a_table_that_was_dropped_is_made_again() {
    let server = Server::start("dropped").await;
    let sink = server.sink();
    assert_eq!(sink.send(batch("a:1|c\n")).await, Outcome::Delivered);
    server.client().await.run(json!([58, [server.database]])).await;
    assert_eq!(deliver(&*sink, batch("a:2|c\n")).await, [Verdict::Delivered]);
    assert_eq!(server.count("counter").await, 1);
}

#[tokio::test]
async fn an_id_of_ours_stays_as_it_is_and_a_clients_replaces() {
    let server = Server::start("ids").await;
    let sink = server.sink();
    let first = batch("own:1|g\nclient:1|g|i:a\n");
    for _ in 0..2 {
        assert_eq!(sink.send(first.clone()).await, Outcome::Delivered);
    }
    assert_eq!(sink.counters()[0], ("already_stored", 1));
    assert_eq!(sink.send(batch("client:2|g|i:a\n")).await, Outcome::Delivered);
    let values: Vec<_> =
        server.documents("gauge").await.into_iter().map(|document| document["value"].clone()).collect();
    assert_eq!(values, [2, 1]);
    if let Some(standin) = &server.standin {
        let asked = standin.with(|store| store.inserts[..2].to_vec());
        assert_eq!(asked[0].conflict.as_deref(), Some("error"));
        assert_eq!(asked[1].conflict.as_deref(), Some("replace"));
        assert!(asked.iter().all(|asked| asked.durability.as_deref() == Some("hard")));
    }
}

#[tokio::test]
async fn a_large_batch_is_stored_whole_and_again() {
    let server = Server::start("large").await;
    let mut config = server.config();
    // The stand-in is not made for speed.
    config.timeout = "60s".parse().unwrap();
    let sink = config.build("rethinkdb").unwrap();
    let large = format!("n:{}|s\n", "x".repeat(60_000)).repeat(20);
    let reports = batch(&("n:1|c|#env:prod\n".repeat(1200) + &large));
    for _ in 0..2 {
        assert_eq!(sink.send(reports.clone()).await, Outcome::Delivered);
    }
    assert_eq!((server.count("counter").await, server.count("set").await), (1200, 20));
    assert_eq!(sink.counters()[0], ("already_stored", 1220));
}

#[tokio::test]
async fn numbers_and_names_that_are_special_to_the_server_are_stored_as_they_were_sent() {
    let server = Server::start("special").await;
    let lines = r#"a:9007199254740993|c
{"name":"b","metric":"counter","value":{"n":18446744073709551615,"t":{"$reql_type$":"TIME"},"$reql_type$":1,"a":{"b":1,"b":2}}}
{"name":"c","metric":"counter","value":[1e308,5e-324,0.00001e312,123456789012345678901234567890]}
d:1.7976931348623157e308|c
{"name":"e","metric":"counter","value":1,"tags":{"$reql_type$":"BINARY","x":"1","x":"2"}}
"#;
    assert_eq!(rejected(&deliver(&*server.sink(), batch(lines)).await), []);
    let [a, b, c, d, e] = &server.documents("counter").await[..] else { panic!("not five") };
    assert_eq!(a["exact"], json!({"/value": "9007199254740993"}));
    assert_eq!(b["exact"], json!({"/n": "18446744073709551615"}));
    assert_eq!((&b["t"], &b["$reql_type$_"]), (&json!({"$reql_type$_": "TIME"}), &json!(1)));
    assert_eq!(b["a"], json!({"b": 2}));
    assert!(same(&c["value"], &json!([1e308, 5e-324, 1e307, 123_456_789_012_345_678_901_234_567_890_f64])));
    assert_eq!(c["exact"], json!({"/value/3": "123456789012345678901234567890"}));
    assert_eq!(d["value"].as_f64(), Some(f64::MAX));
    assert_eq!(e["tags"], json!({"$reql_type$_": "BINARY", "x": "2"}));
}

#[tokio::test]
async fn what_nests_as_deep_as_a_line_may_is_stored_and_read_back() {
    let server = Server::start("deep").await;
    let sink = server.sink();
    let deep = "[".repeat(63) + &"]".repeat(63);
    let reports = batch(format!("{{\"name\":\"deep\",\"metric\":\"m\",\"value\":{deep}}}\nn:1|k|m:m\n"));
    for _ in 0..2 {
        assert_eq!(sink.send(reports.clone()).await, Outcome::Delivered);
    }
    assert_eq!(server.documents("m").await[0]["value"].to_string(), deep);
}
