//! `docs/mongodb.md` is right: its configuration loads, its reports are stored as it says, its queries answer.

use futures_util::TryStreamExt;
use kaneda::sink::mongodb::Config;
use mongodb::bson::Document;

use crate::page::Page;
use crate::report::{batch, deliver, rejected};
use crate::server::Server;

const PAGE: Page = Page(include_str!("../../docs/mongodb.md"));

/// What the shell reads, as JSON that says the same.
fn shell<T: serde::de::DeserializeOwned>(text: &str) -> T {
    let mut parts = text.split("ISODate(");
    let mut json = parts.next().unwrap().to_owned();
    for part in parts {
        let (date, rest) = part.split_once(')').unwrap();
        json += &format!("{{\"$date\": {date}}}{rest}");
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
fn the_minimal_configuration_loads() {
    PAGE.sinks::<Config>("mongodb").next().unwrap().build("mongodb").unwrap();
}

#[test]
fn every_key_is_in_the_table() {
    PAGE.names_every_key_of::<Config>();
}

#[tokio::test]
async fn the_reports_are_stored_as_shown_and_the_queries_find_them() {
    let Some(server) = Server::start("docs") else { return };
    let reports = PAGE.blocks("report").remove(0);
    assert_eq!(rejected(&deliver(&*server.sink(), batch(reports)).await), []);
    let mut stored = server.documents().await;
    stored.iter_mut().for_each(|document| drop(document.remove("_id").unwrap()));
    let shown: Vec<Document> = PAGE.blocks("stored")[0].lines().map(shell).collect();
    assert_eq!(stored.len(), shown.len());
    for document in shown {
        let name = document.get_str("name").unwrap();
        let of_name = stored.iter().find(|stored| stored.get_str("name").unwrap() == name);
        // With the order of its members.
        assert_eq!(format!("{of_name:?}"), format!("{:?}", Some(&document)));
        // Whether an integer is one of 32 or of 64 bits is all the same to a query.
    }

    let queries = PAGE.blocks("js");
    assert_eq!(queries.len(), 3);
    for query in queries {
        let pipeline = query.trim().strip_prefix("db.reports.aggregate(").unwrap().strip_suffix(')').unwrap();
        let pipeline: Vec<Document> = shell(pipeline);
        let found = server.collection().await.aggregate(pipeline).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        assert_eq!(found.len(), 1, "{query}: {found:?}");
    }
}
