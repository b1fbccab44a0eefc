//! `docs/elasticsearch.md` is right: its configurations load, its reports are stored as it says, its queries find them.

use std::sync::Arc;

use kaneda::sink::elasticsearch::Config;
use serde_json::Value;

use crate::report::{batch, deliver};
use crate::server::Server;

const DOCS: &str = include_str!("../../docs/elasticsearch.md");

crate::tests! {
    the_configurations_of_the_page_load
    every_key_is_in_the_table_of_the_page
    the_reports_of_the_page_are_stored_as_shown_and_its_queries_find_them
}

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOCS.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

async fn the_configurations_of_the_page_load(_: Arc<Server>) {
    for block in blocks("toml") {
        let table: toml::Table = toml::from_str(block).unwrap();
        let mut sink = table["sink"][0].as_table().unwrap().clone();
        assert_eq!(sink.remove("type").unwrap().as_str(), Some("elasticsearch"));
        sink.try_into::<Config>().unwrap().check().unwrap();
    }
}

async fn every_key_is_in_the_table_of_the_page(_: Arc<Server>) {
    let said = DOCS.split("## All keys").nth(1).unwrap().split("\n## ").next().unwrap();
    let error = toml::from_str::<Config>("no_such_key = 1").unwrap_err().to_string();
    let keys: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(keys.len() > 10, "{error}");
    for key in keys {
        assert!(said.contains(&format!("`{key}`")), "{key} is not in the table");
    }
}

async fn the_reports_of_the_page_are_stored_as_shown_and_its_queries_find_them(server: Arc<Server>) {
    let place = server.place("docs");
    let mut config = place.config();
    config.app_name = Some("shop".to_owned());
    config.index_window.past = "36500d".parse().unwrap();
    let sink = config.build("s").unwrap();
    let verdicts = deliver(&*sink, batch(blocks("report")[0])).await;
    assert_eq!(crate::report::rejected(&verdicts), []);
    let mut stored = place.documents().await;
    for document in &mut stored {
        assert_eq!(document["_index"], format!("{}-2023.11.14", place.index));
        document.as_object_mut().unwrap().retain(|name, _| name != "_id" && name != "_index");
    }
    let shown: Vec<Value> =
        blocks("stored")[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(stored.len(), shown.len());
    for document in shown {
        assert!(stored.contains(&document), "{document} is not among {stored:#?}");
    }

    let queries = blocks("query");
    let found: Vec<Value> = {
        let mut found = Vec::new();
        for query in queries {
            found.push(place.search(serde_json::from_str(query).unwrap()).await);
        }
        found
    };
    let minute = &found[0]["aggregations"]["minutes"]["buckets"][0];
    assert_eq!(minute["logins"]["value"], 3.0, "{minute}");
    let host = &found[1]["aggregations"]["hosts"]["buckets"][0];
    assert_eq!(
        (&host["key"], &host["minutes"]["buckets"][0]["took"]["value"]),
        (&"db1".into(), &12.5.into())
    );
    assert_eq!(found[2]["hits"]["total"]["value"], 2);
    assert_eq!(found[3]["hits"]["hits"][0]["_source"]["name"], "deploy.done");
    assert_eq!(found[3]["hits"]["hits"][0]["_id"], "deploy-42");
}
