//! `docs/rethinkdb.md` is right: its configuration loads, its reports are stored as it says, its queries answer, asked by
//! RethinkDB's own driver for Python. `scripts/test-tools.sh` gets that one; without it the queries are skipped, or
//! fail where `KANEDA_TEST_REQUIRE_CLIENTS` is set.

use std::path::PathBuf;
use std::process::Command;

use kaneda::sink::rethinkdb::Config;
use serde_json::{Value, json};

use crate::page::Page;
use crate::report::{batch, deliver, rejected};
use crate::server::Server;
use crate::stored::same;

const PAGE: Page = Page(include_str!("../../docs/rethinkdb.md"));
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_CLIENTS";

#[test]
fn the_minimal_configuration_loads() {
    PAGE.sinks::<Config>("rethinkdb").next().unwrap().build("rethinkdb").unwrap();
}

#[test]
fn every_key_is_in_the_table() {
    PAGE.names_every_key_of::<Config>();
}

#[tokio::test]
async fn the_reports_are_stored_as_shown() {
    let server = Server::start("shown").await;
    assert_eq!(rejected(&deliver(&*server.sink(), batch(PAGE.blocks("report")[0])).await), []);
    let shown: Vec<Value> =
        PAGE.blocks("stored")[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut count = 0;
    for table in server.tables().await {
        for document in server.documents(&table).await {
            let shown = shown.iter().find(|shown| shown["id"] == document["id"]).unwrap();
            assert!(same(&document, shown), "{document}");
            count += 1;
        }
    }
    assert_eq!(count, shown.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_find_what_they_say() {
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/python/bin/python"));
    if !Command::new(&python).args(["-c", "import rethinkdb"]).status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os(REQUIRED).is_none(), "the driver is needed: run scripts/test-tools.sh");
        eprintln!("skipped: no Python driver of RethinkDB here; scripts/test-tools.sh gets it");
        return;
    }
    let server = Server::start("queries").await;
    let lines = "login:1|c\nlogin:2|c\nother:4|c\nlogin:8|c|T1000\n\
                 load:2|g|T1700000002|h:b\nload:1|g|T1700000001|h:a\nother:9|g\n\
                 deploy:v1|e|#canary,x\ndeploy:v2|e|#x\ndeploy:v3|e\n\
                 {\"name\":\"deploy\",\"metric\":\"event\",\"value\":\"v4\",\"tags\":{\"from\":\"web\",\"by\":\"me\"}}\n";
    assert_eq!(rejected(&deliver(&*server.sink(), batch(lines)).await), []);
    let ask = |query: &str| {
        let (host, port) = server.address.rsplit_once(':').unwrap();
        // What a query gives may be a cursor; times are printed as texts.
        let script = format!(
            "import json\nfrom rethinkdb import r\n\
             conn = r.connect(host={host:?}, port={port}, user='admin', password={:?})\n\
             found = ({}).run(conn)\n\
             found = found if isinstance(found, (int, float, dict, list)) else list(found)\n\
             print(json.dumps(found, default=str))\nconn.close()\n",
            server.password,
            query.trim().replace("'kaneda'", &format!("'{}'", server.database))
        );
        let output = Command::new(&python).args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let queries = PAGE.blocks("python");
    let answers: Vec<Value> =
        tokio::task::block_in_place(|| queries.iter().map(|query| ask(query)).collect());
    let [sum, gauge, listed, tagged, deleted] = &answers[..] else { panic!("{} queries", answers.len()) };
    assert_eq!(sum, &json!(3));
    let values: Vec<_> = gauge.as_array().unwrap().iter().map(|row| (&row["value"], &row["host"])).collect();
    assert_eq!(values, [(&json!(1), &json!("a")), (&json!(2), &json!("b"))]);
    assert!(gauge[0]["timestamp"].as_str().unwrap().starts_with("2023-11-14 22:13:21"), "{gauge}");
    for (found, value) in [(listed, "v1"), (tagged, "v4")] {
        let values: Vec<_> = found.as_array().unwrap().iter().map(|event| event["value"].clone()).collect();
        assert_eq!(values, [value]);
    }
    assert_eq!(deleted["deleted"], 1);
    assert_eq!(server.count("counter").await, 3);
}
