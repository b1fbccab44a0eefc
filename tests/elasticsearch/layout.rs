//! What a document looks like in the store, and that every report becomes one.

use std::sync::Arc;

use kaneda::sink::Verdict;
use serde_json::{Value, json};

use crate::report::{batch, deliver, rejected, store};
use crate::server::Server;

crate::tests! {
    a_report_is_stored_in_kanedas_layout
    under_one_name_every_kind_of_value_is_stored
    a_member_that_conflicts_keeps_its_document_and_its_neighbours
    more_members_than_an_index_may_have_are_in_extra
    members_with_names_and_values_that_no_store_takes_are_kept
    tags_as_a_list_and_as_an_object_are_found_by_one_query
    our_id_again_is_ignored_and_a_clients_replaces
    each_report_is_in_the_index_of_its_day_and_one_outside_of_the_window_is_rejected_alone
    bodies_are_taken_with_gzip
}

async fn a_report_is_stored_in_kanedas_layout(server: Arc<Server>) {
    let place = server.place("layout");
    let mut config = place.config();
    config.app_name = Some("shop".into());
    let now = jiff::Timestamp::now();
    let lines = format!(
        "login:1|c|#from:web,canary|T{0}\ndeploy.done:v42 \"blue\"\\nsecond|event|i:d-1|T{0}|h:db1\n\
         q:{{\"took\":12.5,\"ok\":true,\"in\":{{\"a\":[1]}},\"name\":3}}|k|m:query|@0.5|T{0}\n",
        now.as_second()
    );
    store(&*config.build("s").unwrap(), lines).await;
    let time = jiff::Timestamp::from_second(now.as_second()).unwrap().to_string();
    let index = format!("{}-{}", place.index, now.strftime("%Y.%m.%d"));
    let mut documents = place.documents().await;
    assert_eq!(documents[0]["_id"], "d-1");
    for document in &mut documents {
        assert_eq!(document["_index"], index);
        document.as_object_mut().unwrap().retain(|name, _| name != "_id" && name != "_index");
    }
    assert_eq!(
        documents,
        [
            json!({"@timestamp": time, "metric": "event", "name": "deploy.done", "value": "v42 \"blue\"\nsecond",
                   "text": "v42 \"blue\"\nsecond", "host": "db1", "app_name": "shop"}),
            json!({"@timestamp": time, "metric": "counter", "name": "login", "value": 1,
                   "tags": ["from:web", "canary"], "host": "web1", "app_name": "shop"}),
            json!({"@timestamp": time, "metric": "query", "name": "q", "rate": 0.5, "host": "web1",
                   "app_name": "shop", "took": 12.5, "ok": true, "in": {"a": [1]}, "name_": 3}),
        ]
    );
}

async fn under_one_name_every_kind_of_value_is_stored(server: Arc<Server>) {
    let place = server.place("values");
    let mut lines = String::new();
    let values = [
        "1",
        "0.5",
        "18446744073709551615",
        "-1e300",
        "\"t\"",
        "\"12\"",
        "\"NaN\"",
        "true",
        "null",
        "[[1],[2,[3]]]",
        "[{\"a\":1},{\"a\":\"b\"}]",
        "[1,\"a\",null]",
        "{\"a\":1}",
    ];
    for metric in ["gauge", "event", "mine"] {
        for value in values {
            lines += &format!("{{\"name\":\"n\",\"metric\":\"{metric}\",\"value\":{value}}}\n");
        }
    }
    let long = "x".repeat(60 * 1024);
    lines += &format!("{long}:1|c\nlong:{long}|s\ntagged:1|c|#{long}\n");
    store(&*place.sink(), lines).await;
    let documents = place.documents().await;
    assert_eq!(documents.len(), 3 * values.len() + 3);
    assert!(documents.iter().any(|document| document["name"] == *long && document["value"] == 1));
    assert_eq!(documents.iter().filter(|document| !document["extra"].is_null()).count(), 0);
    // Of the texts none was taken for a number, not even "12".
    let sum = place
        .search(json!({"size": 0, "query": {"term": {"metric": "mine"}},
                       "aggs": {"sum": {"value_count": {"field": "value"}}}}))
        .await;
    let is_bool_counted = u64::from(!sum["aggregations"]["sum"]["value"].is_null()) * 4;
    assert_eq!(sum["aggregations"]["sum"]["value"], is_bool_counted, "{sum}");
    assert_eq!(place.count(json!({"term": {"text.keyword": "t"}})).await, 3);
}

async fn a_member_that_conflicts_keeps_its_document_and_its_neighbours(server: Arc<Server>) {
    let place = server.place("conflict");
    let sink = place.sink();
    store(&*sink, "first:{\"took\":1,\"in\":{\"a\":1},\"word\":\"x\",\"yes\":true}|k|m:query\n").await;
    let lines = [
        r#"in:{"in":5,"took":2}"#,
        r#"took:{"took":{"a":1},"in":{"a":3}}"#,
        r#"took_text:{"took":"long","in":{"a":3}}"#,
        r#"word:{"word":[{"a":1}],"took":4}"#,
        r#"yes:{"yes":"perhaps","took":5}"#,
        r#"all:{"in":6,"took":[{"a":1}],"word":{"a":1},"yes":12}"#,
        r#"path:{"in.a":{"b":1},"took":7}"#,
    ]
    .map(|line| format!("{line}|k|m:query\nneighbour:1|c\n"));
    store(&*sink, lines.concat()).await;
    let documents = place.documents().await;
    assert_eq!(documents.len(), 15);
    let of = |name: &str| documents.iter().find(|document| document["name"] == name).unwrap().clone();
    assert_eq!((&of("in")["took"], &of("in")["extra"]), (&json!(2), &json!(r#"{"in":5}"#)));
    assert_eq!(of("took_text")["took"], "long", "a text for a number is not indexed, but kept");
    // OpenSearch takes an object for a number or a word, and keeps it without indexing it.
    let took = of("took");
    assert!(took["extra"] == r#"{"took":{"a":1}}"# || took["took"] == json!({"a": 1}), "{took}");
    let all = of("all");
    assert!(all["extra"].as_str().unwrap().contains("\"in\":6"), "{all}");
    assert!(place.count(json!({"term": {"took": 2}})).await == 1, "what did not conflict is indexed");
    assert!(place.count(json!({"exists": {"field": "extra"}})).await >= 2);
    let (_, moved) = sink.counters()[0];
    assert_eq!(moved, place.count(json!({"exists": {"field": "extra"}})).await);
}

async fn more_members_than_an_index_may_have_are_in_extra(server: Arc<Server>) {
    let place = server.place("many");
    let many =
        |from: usize| (from..from + 600).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(",");
    let lines = format!("a:{{{}}}|k\nb:{{{}}}|k\nc:1|c\n", many(0), many(600));
    store(&*place.sink(), lines).await;
    let documents = place.documents().await;
    assert_eq!(documents.len(), 3);
    let with_extra: Vec<&Value> = documents.iter().filter(|document| document["extra"].is_string()).collect();
    assert_eq!(with_extra.len(), 1);
    let extra: Value = serde_json::from_str(with_extra[0]["extra"].as_str().unwrap()).unwrap();
    assert_eq!(extra.as_object().unwrap().len(), 600);
}

async fn members_with_names_and_values_that_no_store_takes_are_kept(server: Arc<Server>) {
    let place = server.place("names");
    let long = "x".repeat(60 * 1024);
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let lists = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let objects = [
        r#"{"":1,".":2,"a..b":3,".c":4,"d.":5," ":6,"ok":7}"#.to_owned(),
        r#"{"_id":1,"_source":2,"_type":3,"_routing":4,"_doc_count":5,"_x":6,"_size":7,"_ignored":8}"#
            .to_owned(),
        r#"{"nested":{"":1},"ok":1}"#.to_owned(),
        r#"{"nested":{"..":1},"ok":1}"#.to_owned(),
        r#"{"twice":{"a":1,"a":2},"ok":1}"#.to_owned(),
        r#"{"dots.and.dots":1,"dots.and":2,"dots":3}"#.to_owned(),
        r#"{"star*":1,"$":2,"\u0000":"\u0000","é":3,"a\nb":4}"#.to_owned(),
        r#"{"large":18446744073709551615,"larger":123456789012345678901234567890,"largest":1e308}"#
            .to_owned(),
        r#"{"@timestamp":1,"value":2,"text":3,"tags":4,"host":5,"extra":6,"labels":7,"app_name":8}"#
            .to_owned(),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"deep":{deep}}}"#),
        format!(r#"{{"lists":{lists}}}"#),
        format!(r#"{{"text_value":"{long}"}}"#),
        r#"{"mixed":[{"a":1},2,"x"]}"#.to_owned(),
    ];
    let mut lines = String::new();
    for (n, object) in objects.iter().enumerate() {
        lines += &format!("o{n:02}:{object}|k\nt{n:02}:1|c\n");
        lines += &format!("{{\"name\":\"tags{n:02}\",\"metric\":\"m\",\"value\":1,\"tags\":{object}}}\n");
    }
    store(&*place.sink(), lines).await;
    assert_eq!(place.documents().await.len(), 3 * objects.len());
}

async fn tags_as_a_list_and_as_an_object_are_found_by_one_query(server: Arc<Server>) {
    let place = server.place("tags");
    let lines = r#"a:1|c|#plan:pro,canary
{"name":"b","metric":"counter","value":2,"tags":{"plan":"pro","n":{"a":1}}}
{"name":"c","metric":"counter","value":4,"tags":["plan:pro"]}
{"name":"d","metric":"counter","value":8,"tags":{"plan":"free"}}
"#;
    store(&*place.sink(), lines).await;
    assert_eq!(place.count(json!({"term": {"tags": "plan:pro"}})).await, 3);
    let documents = place.documents().await;
    assert_eq!(documents[1]["labels"], json!({"plan": "pro", "n": {"a": 1}}));
    assert_eq!(documents[1]["tags"], json!(["plan:pro", "n:{\"a\":1}"]));
}

async fn our_id_again_is_ignored_and_a_clients_replaces(server: Arc<Server>) {
    let place = server.place("ids");
    let sink = place.sink();
    let reports = batch("ours:1|c\nours:2:3|ms\ntheirs:first|s|i:the id\n");
    for _ in 0..2 {
        assert_eq!(deliver(&*sink, reports.clone()).await, vec![Verdict::Delivered; 4]);
    }
    store(&*sink, "theirs:second|s|i:the id\n").await;
    let documents = place.documents().await;
    assert_eq!(documents.len(), 4);
    assert_eq!((&documents[3]["_id"], &documents[3]["value"]), (&json!("the id"), &json!("second")));
}

async fn each_report_is_in_the_index_of_its_day_and_one_outside_of_the_window_is_rejected_alone(
    server: Arc<Server>,
) {
    let place = server.place("days");
    let now = jiff::Timestamp::now();
    let day = |days: i64| now.as_second() + days * 86_400;
    let lines: String = [0, -1, -30, -32, 2, 0]
        .into_iter()
        .enumerate()
        .map(|(n, days)| format!("n{n}:1|c|T{}\n", day(days)))
        .collect();
    let verdicts = deliver(&*place.sink(), batch(lines)).await;
    assert_eq!(rejected(&verdicts), [(3, "time_out_of_window"), (4, "time_out_of_window")]);
    let documents = place.documents().await;
    for (document, days) in documents.iter().zip([0, -1, -30, 0]) {
        let date = jiff::Timestamp::from_second(day(days)).unwrap().strftime("%Y.%m.%d").to_string();
        assert_eq!(document["_index"], format!("{}-{date}", place.index));
    }
    let mut config = place.config();
    config.index_window.past = "60d".parse().unwrap();
    store(&*config.build("s").unwrap(), format!("n:1|c|T{}\n", day(-32))).await;
}

async fn bodies_are_taken_with_gzip(server: Arc<Server>) {
    let place = server.place("gzip");
    let mut config = place.config();
    config.gzip = true;
    let sink = config.build("s").unwrap();
    store(&*sink, "n:1|c\n".repeat(1000)).await;
    assert_eq!(place.count(json!({"match_all": {}})).await, 1000);
}
