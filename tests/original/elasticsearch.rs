//! Elasticsearch 7.17, the last that takes the original's types: one for each index.

#[allow(dead_code, reason = "made for the tests of the sink")]
#[path = "../elasticsearch/server.rs"]
mod server;

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use server::{Place, Version};

use crate::document::{Document, host, is_own, json, one_spelling};
use crate::run::Store;
use crate::shared::{Running, Shared};

/// An `_id` that the server makes has so many characters.
const MADE: usize = 20;

static SERVER: Shared<server::Server> = Shared::new();

/// The server, and on it the indices of both.
pub(crate) struct Server {
    old: Place,
    new: Place,
    _server: Arc<Running<server::Server>>,
}

impl Server {
    pub(crate) async fn start(test: &str) -> Option<Server> {
        let version = Version { product: "elasticsearch".to_owned(), number: "7.17".to_owned() };
        if let Some(why) = version.missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        let server = SERVER.server(|| server::Server::start(&version, false)).await;
        let [old, new] = ["old", "new"].map(|side| server.place(&format!("{test}_{side}")));
        Some(Server { old, new, _server: server })
    }
}

async fn documents(place: &Place) -> Vec<Document> {
    let found = place.search(json!({"size": 1000})).await;
    found["hits"]["hits"].as_array().unwrap().iter().map(document).collect()
}

fn document(hit: &Value) -> Document {
    let source = hit["_source"].as_object().unwrap();
    let kind = if hit["_type"] == "_doc" { &source["metric"] } else { &hit["_type"] };
    let kind = kind.as_str().unwrap();
    let mut document = Document::new(source["name"].as_str().unwrap(), kind);
    document.put("_type", hit["_type"].to_string());
    document.put("_id", hit["_id"].to_string());
    for (field, value) in source.iter().filter(|(field, _)| *field != "@timestamp") {
        document.put(field, one_spelling(value).to_string());
    }
    // The original writes UTC without saying so.
    let time = source["@timestamp"].as_str().unwrap();
    let nanos = match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_nanosecond(),
        Err(_) => {
            time.parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp().as_nanosecond()
        }
    };
    document.put_time("@timestamp", nanos, if time.ends_with('Z') { "TIME_WITH_ZONE" } else { "TIME" });
    let day = hit["_index"].as_str().unwrap().rsplit('-').next().unwrap();
    assert_eq!(day.replace('.', "-"), time[..10]);
    document.replace("host", &json(&host()), "HOST");
    document.replace("_type", &json(kind), "KIND");
    document.replace("metric", &json(kind), "KIND");
    let id = hit["_id"].as_str().unwrap();
    if is_own(id) || id.len() == MADE {
        document.replace("_id", &json(id), "MADE");
    }
    document
}

impl Store for Server {
    const NAME: &str = "elasticsearch";
    const DIFFERENCES: &str = include_str!("differences/elasticsearch.txt");
    const EACH_KIND: bool = true;

    fn settings(&self, kind: &str) -> Vec<(&'static str, String)> {
        vec![("STORE_URL", self.old.url.clone()), ("STORE_PLACE", format!("{}_{kind}", self.old.index))]
    }

    fn sink(&self) -> String {
        format!(
            "[[sink]]\ntype = 'elasticsearch'\nconnection_url = '{}'\nindex_name = '{}'\napp_name = 'shop'\n",
            self.new.url, self.new.index
        )
    }

    async fn originals(&mut self) -> Vec<Document> {
        documents(&self.old).await
    }

    async fn ours(&mut self) -> Vec<Document> {
        documents(&self.new).await
    }
}
