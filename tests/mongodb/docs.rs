//! `docs/mongodb.md` is right: its configuration loads, its reports are stored as it says, its queries answer.

use futures_util::TryStreamExt;
use kaneda::sink::mongodb::Config;
use mongodb::bson::Document;

use crate::report::{batch, deliver, rejected};
use crate::server::Server;

const DOCS: &str = include_str!("../../docs/mongodb.md");

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    DOCS.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

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
    let table: toml::Table = toml::from_str(&blocks("toml")[0]).unwrap();
    let mut sink = table["sink"][0].as_table().unwrap().clone();
    assert_eq!(sink.remove("type").unwrap().as_str(), Some("mongodb"));
    sink.try_into::<Config>().unwrap().build("mongodb").unwrap();
}

#[test]
fn every_key_is_in_the_table() {
    let said = DOCS.split("## All keys").nth(1).unwrap().split("\n## ").next().unwrap();
    let error = toml::from_str::<Config>("no_such_key = 1").unwrap_err().to_string();
    let keys: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(keys.len() > 10, "{error}");
    for key in keys {
        assert!(said.contains(&format!("`{key}`")), "{key} is not in the table");
    }
}

#[tokio::test]
async fn the_reports_are_stored_as_shown_and_the_queries_find_them() {
    let Some(server) = Server::start("docs") else { return };
    let reports = blocks("report").remove(0);
    assert_eq!(rejected(&deliver(&*server.sink(), batch(&reports, 0)).await), []);
    let mut stored = server.documents().await;
    stored.iter_mut().for_each(|document| drop(document.remove("_id").unwrap()));
    let shown: Vec<Document> = blocks("stored")[0].lines().map(shell).collect();
    assert_eq!(stored.len(), shown.len());
    for document in shown {
        let name = document.get_str("name").unwrap();
        let of_name = stored.iter().find(|stored| stored.get_str("name").unwrap() == name);
        // With the order of its members.
        assert_eq!(format!("{of_name:?}"), format!("{:?}", Some(&document)));
        // Whether an integer is one of 32 or of 64 bits is all the same to a query.
    }

    let queries = blocks("js");
    assert_eq!(queries.len(), 3);
    for query in queries {
        let pipeline = query.trim().strip_prefix("db.reports.aggregate(").unwrap().strip_suffix(')').unwrap();
        let pipeline: Vec<Document> = shell(pipeline);
        let found = server.collection().await.aggregate(pipeline).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        assert_eq!(found.len(), 1, "{query}: {found:?}");
    }
}
