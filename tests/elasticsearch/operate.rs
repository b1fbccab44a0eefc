//! What the operator of a store can do to it, and what the sink does to the store.

use std::sync::Arc;

use elasticsearch::http::Method;
use kaneda::sink::{Outcome, Verdict};
use serde_json::{Value, json};

use crate::report::{batch, deliver, last_error, rejected, store};
use crate::server::{Place, Server};

crate::tests! {
    our_template_is_put_once_with_a_version_and_an_older_one_of_ours_is_replaced
    a_template_of_the_users_is_never_overwritten_nor_shadowed
    without_a_template_every_report_is_stored_too
    what_a_strict_mapping_refuses_is_rejected_alone_with_the_stores_reason
    a_body_that_is_too_large_is_split
    a_blocked_or_closed_index_is_waited_for
    an_index_without_its_shard_holds_up_no_other
    a_store_that_answers_before_its_disk_is_told
    a_data_stream_takes_reports_and_ignores_an_id_again
    a_check_stores_nothing
}

fn today(place: &Place) -> String {
    format!("{}-{}", place.index, jiff::Timestamp::now().strftime("%Y.%m.%d"))
}

async fn template(place: &Place, name: &str) -> Value {
    let answer = place.ask(Method::Get, &format!("/_index_template/{name}"), Value::Null).await;
    answer["index_templates"][0]["index_template"].clone()
}

async fn our_template_is_put_once_with_a_version_and_an_older_one_of_ours_is_replaced(server: Arc<Server>) {
    let place = server.place("template");
    store(&*place.sink(), "n:1|c\n").await;
    let put = template(&place, &place.index).await;
    assert_eq!(put["_meta"]["managed_by"], "kaneda");
    let version = put["version"].as_u64().unwrap();
    let mapping = place.ask(Method::Get, &format!("/{}/_mapping", today(&place)), Value::Null).await;
    assert_eq!(mapping[today(&place)]["mappings"]["properties"]["name"]["type"], "keyword", "it is in force");

    let path = format!("/_index_template/{}", place.index);
    for (stored, then) in [(0, version), (version, version), (version + 1, version + 1)] {
        let ours = json!({"index_patterns": [format!("{}-*", place.index)], "version": stored,
                          "_meta": {"managed_by": "kaneda"}});
        place.ask(Method::Put, &path, ours).await;
        store(&*place.sink(), "n:1|c\n").await;
        let now = template(&place, &place.index).await;
        assert_eq!(now["version"], then);
        let is_replaced = !now["template"].is_null();
        assert_eq!(is_replaced, stored < version, "only an older one is replaced");
    }
}

async fn a_template_of_the_users_is_never_overwritten_nor_shadowed(server: Arc<Server>) {
    let mapping = json!({"properties": {"name": {"type": "text"}}});
    // Of our name; of another name with the lowest priority; of the old kind.
    for (n, path) in
        ["_index_template/NAME", "_index_template/other_NAME", "_template/old_NAME"].iter().enumerate()
    {
        let place = server.place("users_template");
        let path = format!("/{}", path.replace("NAME", &place.index));
        let patterns = json!([format!("{}-*", place.index)]);
        let theirs = match n {
            2 => json!({"index_patterns": patterns, "mappings": mapping}),
            _ => json!({"index_patterns": patterns, "template": {"mappings": mapping}}),
        };
        place.ask(Method::Put, &path, theirs).await;
        store(&*place.sink(), "n:1|c\n").await;
        let stored = place.ask(Method::Get, &format!("/{}/_mapping", today(&place)), Value::Null).await;
        assert_eq!(stored[today(&place)]["mappings"]["properties"]["name"]["type"], "text", "{path}");
    }
}

async fn without_a_template_every_report_is_stored_too(server: Arc<Server>) {
    let place = server.place("no_template");
    let mut config = place.config();
    config.template = false;
    let sink = config.build("s").unwrap();
    let lines =
        "n:1|g\nn:v42|s\nn:true|k\nn:{\"took\":1}|k\nn:{\"took\":\"long\"}|k\nn:[[1],{\"a\":1}]|k\nn:2|g\n";
    store(&*sink, lines).await;
    store(&*sink, "n:2026-01-01|s\nn:1.5|g\n").await;
    assert_eq!(place.documents().await.len(), 9);
    let (status, _) =
        place.try_ask(Method::Get, &format!("/_index_template/{}", place.index), Value::Null).await;
    assert_eq!(status, 404);
}

async fn what_a_strict_mapping_refuses_is_rejected_alone_with_the_stores_reason(server: Arc<Server>) {
    let place = server.place("strict");
    let names = ["@timestamp", "metric", "name", "value", "text", "host"];
    let properties: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "keyword"}))).collect();
    let theirs = json!({"index_patterns": [format!("{}-*", place.index)],
                        "template": {"mappings": {"dynamic": "strict", "properties": properties}}});
    place.ask(Method::Put, &format!("/_index_template/{}", place.index), theirs).await;
    let verdicts = deliver(&*place.sink(), batch("a:1|c\nb:{\"took\":1}|k\nc:1|c\n")).await;
    assert_eq!(rejected(&verdicts), [(1, "strict_mapping")]);
    assert!(matches!(&verdicts[1], Verdict::Rejected(why) if why.detail.contains("strict")), "{verdicts:?}");
    assert_eq!(place.documents().await.len(), 2);
}

async fn a_body_that_is_too_large_is_split(server: Arc<Server>) {
    let place = server.place("too_large");
    let sink = place.sink();
    // The servers of tests take 16 MB.
    let long = "x".repeat(60 * 1024);
    let lines: String = (0..200).map(|n| format!("n{n}:{long}|s\n")).collect();
    let reports = batch(lines);
    let first = sink.send(reports.clone()).await;
    assert!(matches!(&first, Outcome::Refused(why) if why.reason == "too_large"), "{first:?}");
    assert_eq!(rejected(&deliver(&*sink, reports).await), []);
    assert_eq!(place.count(json!({"match_all": {}})).await, 200);
}

async fn a_blocked_or_closed_index_is_waited_for(server: Arc<Server>) {
    let place = server.place("blocked");
    let sink = place.sink();
    store(&*sink, "n:1|c\n").await;
    let settings = format!("/{}/_settings", today(&place));
    for (n, block) in ["index.blocks.write", "index.blocks.read_only_allow_delete"].iter().enumerate() {
        place.ask(Method::Put, &settings, json!({*block: true})).await;
        assert!(last_error(&*sink, "n:1|c\n").await.contains("cluster_block_exception"));
        place.ask(Method::Put, &settings, json!({*block: null})).await;
        store(&*sink, "n:1|c\n").await;
        assert_eq!(place.count(json!({"match_all": {}})).await, n as u64 + 2);
    }
    place.ask(Method::Post, &format!("/{}/_close", today(&place)), Value::Null).await;
    assert!(last_error(&*sink, "n:1|c\n").await.contains("index_closed_exception"));
    place.ask(Method::Post, &format!("/{}/_open", today(&place)), Value::Null).await;
    store(&*sink, "n:1|c\n").await;
}

async fn an_index_without_its_shard_holds_up_no_other(server: Arc<Server>) {
    let place = server.place("unassigned");
    let mut config = place.config();
    // Half of it the server waits for shards, also for that of the index that it has to make.
    config.timeout = "10s".parse().unwrap();
    let sink = config.build("s").unwrap();
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let index = format!("{}-{}", place.index, yesterday.strftime("%Y.%m.%d"));
    let nowhere = json!({"settings": {"index.routing.allocation.require._name": "nobody"}});
    place.ask(Method::Put, &format!("/{index}?wait_for_active_shards=0"), nowhere).await;
    let reports = batch(format!("a:1|c\nb:1|c|T{}\nc:1|c\n", yesterday.as_second()));
    let Outcome::Each(verdicts) = sink.send(reports).await else { panic!("not decided one by one") };
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Delivered, &Verdict::Delivered));
    assert!(
        matches!(&verdicts[1], Verdict::Retry(why) if why.contains("unavailable_shards")),
        "{verdicts:?}"
    );
}

async fn a_store_that_answers_before_its_disk_is_told(server: Arc<Server>) {
    let place = server.place("async");
    let sink = place.sink();
    assert!(sink.durability().contains("not asked yet"));
    store(&*sink, "n:1|c\n").await;
    assert!(sink.durability().contains("is request"), "{}", sink.durability());
    let is_async = json!({"index.translog.durability": "async"});
    // Of an index that is there; and of those that a template of the user's will make.
    place.ask(Method::Put, &format!("/{}/_settings", today(&place)), is_async.clone()).await;
    let future = server.place("async_template");
    let theirs =
        json!({"index_patterns": [format!("{}-*", future.index)], "template": {"settings": is_async}});
    future.ask(Method::Put, &format!("/_index_template/{}", future.index), theirs).await;
    for place in [place, future] {
        let sink = place.sink();
        store(&*sink, "n:1|c\n").await;
        assert!(sink.durability().contains("is async"), "{}", sink.durability());
    }
}

async fn a_data_stream_takes_reports_and_ignores_an_id_again(server: Arc<Server>) {
    let place = server.place("stream");
    let mut config = place.config();
    config.data_stream = true;
    let sink = config.build("s").unwrap();
    if !server.is_opensearch() {
        // The build that the tests run has no module for them: the reports wait, and it is said what for.
        let why = last_error(&*sink, "n:1|c\n").await;
        assert!(why.contains("data stream") || why.contains("data_stream"), "{why}");
        return;
    }
    let reports = batch("ours:1|c\ntheirs:first|s|i:one\nold:1|c|T1000000000\n");
    for _ in 0..2 {
        assert_eq!(deliver(&*sink, reports.clone()).await, vec![Verdict::Delivered; 3]);
    }
    store(&*sink, "theirs:second|s|i:one\n").await;
    let documents = place.documents().await;
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[2]["value"], "first");
    // A second sink finds it made.
    store(&*config.build("s").unwrap(), "n:1|c\n").await;
    // A sink that was not told is.
    let mut plain = place.config();
    plain.template = false;
    plain.index_name = place.index.clone();
    let dated = server.place("dated_stream");
    let theirs = json!({"index_patterns": [format!("{}-*", dated.index)], "data_stream": {}});
    dated.ask(Method::Put, &format!("/_index_template/{}", dated.index), theirs).await;
    let why = last_error(&*dated.sink(), "n:1|c|i:mine\n").await;
    assert!(why.contains("`data_stream`"), "{why}");
}

async fn a_check_stores_nothing(server: Arc<Server>) {
    let place = server.place("check");
    let sink = place.sink();
    sink.probe().await.unwrap();
    let indices = place.ask(Method::Get, &format!("/{}*/_settings", place.index), Value::Null).await;
    assert_eq!(indices, json!({}));
    let mut nobody = place.config();
    nobody.connection_url = None;
    nobody.port = 1;
    let why = nobody.build("s").unwrap().probe().await.unwrap_err();
    assert!(why.starts_with("http://127.0.0.1:1: no connection"), "{why}");
}
