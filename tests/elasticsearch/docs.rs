//! `docs/elasticsearch.md` is right: its configurations load, its reports are stored as it says, its queries find them.

use std::sync::Arc;

use kaneda::sink::elasticsearch::Config;
use serde_json::Value;

use crate::page::Page;
use crate::report::{batch, deliver};
use crate::server::Server;

const PAGE: Page = Page(include_str!("../../docs/elasticsearch.md"));

crate::tests! {
    the_configurations_of_the_page_load
    every_key_is_in_the_table_of_the_page
    the_reports_of_the_page_are_stored_as_shown_and_its_queries_find_them
}

async fn the_configurations_of_the_page_load(_: Arc<Server>) {
    PAGE.sinks::<Config>("elasticsearch").for_each(|config| config.check().unwrap());
}

async fn every_key_is_in_the_table_of_the_page(_: Arc<Server>) {
    PAGE.names_every_key_of::<Config>();
}

async fn the_reports_of_the_page_are_stored_as_shown_and_its_queries_find_them(server: Arc<Server>) {
    let place = server.place("docs");
    let mut config = place.config();
    config.app_name = Some("shop".to_owned());
    config.index_window.past = "36500d".parse().unwrap();
    let sink = config.build("s").unwrap();
    let verdicts = deliver(&*sink, batch(PAGE.blocks("report")[0])).await;
    assert_eq!(crate::report::rejected(&verdicts), []);
    let mut stored = place.documents().await;
    for document in &mut stored {
        assert_eq!(document["_index"], format!("{}-2023.11.14", place.index));
        document.as_object_mut().unwrap().retain(|name, _| name != "_id" && name != "_index");
    }
    let shown: Vec<Value> =
        PAGE.blocks("stored")[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(stored.len(), shown.len());
    for document in shown {
        assert!(stored.contains(&document), "{document} is not among {stored:#?}");
    }

    let queries = PAGE.blocks("query");
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
