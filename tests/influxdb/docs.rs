//! `docs/influxdb.md` is right: its configuration loads, its reports are stored as it says, its queries answer.

use kaneda::sink::influxdb::Config;

use crate::page::Page;
use crate::report::{batch, deliver, rejected};
use crate::server::Server;
use crate::victoriametrics::VictoriaMetrics;

const PAGE: Page = Page(include_str!("../../docs/influxdb.md"));

#[test]
fn every_configuration_is_good() {
    assert_eq!(PAGE.blocks("toml").len(), 4);
    PAGE.sinks::<Config>("influxdb").for_each(|config| config.check().unwrap());
}

#[test]
fn every_key_is_in_the_table() {
    PAGE.names_every_key_of::<Config>();
}

#[tokio::test]
async fn the_reports_are_stored_as_shown_and_the_queries_find_them() {
    let Some(server) = Server::start("docs") else { return };
    // What is shown, written by hand: the server's own reading of it is what the sink's points are compared with.
    let client = reqwest::Client::new();
    let other = format!("{}_shown", server.database);
    server.query(&format!("CREATE DATABASE {other}")).await;
    let shown = PAGE.blocks("stored").remove(0);
    let written = client
        .post(format!("{}/write?db={other}", server.url))
        .basic_auth(&server.user, Some(&server.password))
        .body(shown)
        .send();
    assert_eq!(written.await.unwrap().status(), 204);

    let reports = PAGE.blocks("report").remove(0);
    assert_eq!(rejected(&deliver(&*server.sink(), batch(reports)).await), []);
    for measurement in ["counter", "event", "query", "gauge"] {
        let mut ours = server.rows(&format!("SELECT * FROM \"{measurement}\"")).await;
        let mut theirs = server.rows(&format!("SELECT * FROM {other}..\"{measurement}\"")).await;
        for row in ours.iter_mut().chain(&mut theirs) {
            row.remove("time");
        }
        assert!(!ours.is_empty() && ours == theirs, "{measurement}: {ours:?} {theirs:?}");
    }

    let queries = PAGE.blocks("sql");
    assert_eq!(queries.len(), 3);
    for query in queries {
        assert!(!server.query(query).await.is_empty(), "nothing found by {query}");
    }
}

#[tokio::test]
async fn the_queries_of_victoriametrics_find_the_reports() {
    let Some(server) = VictoriaMetrics::start("docs") else { return };
    let sink = VictoriaMetrics::config(&server.url).build("influxdb").unwrap();
    assert_eq!(rejected(&deliver(&*sink, batch(PAGE.blocks("report").remove(0))).await), []);
    let queries = PAGE.blocks("promql").remove(0);
    let mut found = Vec::new();
    for query in queries.lines() {
        found.push(server.query(query).await);
    }
    assert_eq!(found, ["1", "0.5", "1"]);
}
