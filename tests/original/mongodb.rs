//! MongoDB's protocol: the server of its tests.

#[allow(dead_code, reason = "made for the tests of the sink")]
#[path = "../mongodb/server.rs"]
mod server;

use std::sync::Arc;

use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{self, Bson, doc};
use serde_json::{Value, json};

use crate::document::{Document, host, is_own, json};
use crate::run::Store;
use crate::shared::{Running, Shared};

static SERVER: Shared<server::Server> = Shared::new();

/// The server, and on it a collection for each.
pub(crate) struct Server {
    client: Client,
    server: Arc<Running<server::Server>>,
    old: String,
    new: String,
}

impl Server {
    pub(crate) async fn start(test: &str) -> Option<Server> {
        if let Some(why) = server::Server::missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        let server = SERVER.server(|| server::Server::start("original").unwrap()).await;
        let client = Client::with_uri_str(&server.url).await.unwrap();
        Some(Server { client, server, old: format!("{test}_old"), new: format!("{test}_new") })
    }

    async fn documents(&self, collection: &str) -> Vec<Document> {
        let collection = self.client.database(&self.server.database).collection(collection);
        let found: Vec<bson::Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        found.iter().map(document).collect()
    }
}

fn document(stored: &bson::Document) -> Document {
    let kind = stored.get_str("metric").unwrap();
    let mut document = Document::new(stored.get_str("name").unwrap(), kind);
    for (field, value) in stored {
        match (&**field, value) {
            ("timestamp", Bson::DateTime(time)) => {
                document.put_time(field, i128::from(time.timestamp_millis()) * 1_000_000, "TIME");
            }
            ("timestamp_ns", Bson::Int64(nanos)) => document.put_time(field, i128::from(*nanos), "TIME"),
            ("_id", Bson::ObjectId(_)) => document.put(field, "OBJECT_ID"),
            _ => document.put(field, notation(value).to_string()),
        }
    }
    document.replace("host", &json(&host()), "HOST");
    document.replace("metric", &json(kind), "KIND");
    if let Ok(id) = stored.get_str("_id")
        && is_own(id)
    {
        document.replace("_id", &json(id), "MADE");
    }
    document
}

/// JSON in which every type of BSON looks different: of numbers a double has a point.
fn notation(value: &Bson) -> Value {
    match value {
        Bson::Int32(number) => json!(number),
        Bson::Double(number) if number.is_finite() => json!(number),
        Bson::Array(elements) => elements.iter().map(notation).collect(),
        Bson::Document(members) => {
            members.iter().map(|(name, value)| (name.clone(), notation(value))).collect()
        }
        Bson::String(text) => json!(text),
        Bson::Boolean(bool) => json!(bool),
        Bson::Null => Value::Null,
        Bson::Int64(number) => json!({"int64": number}),
        Bson::DateTime(time) => json!({"date": time.timestamp_millis()}),
        Bson::Binary(binary) => json!({"binary": binary.bytes}),
        _ => json!({"other": value.to_string()}),
    }
}

impl Store for Server {
    const NAME: &str = "mongodb";
    const DIFFERENCES: &str = include_str!("differences/mongodb.txt");

    fn settings(&self, _kind: &str) -> Vec<(&'static str, String)> {
        vec![
            ("STORE_URL", self.server.url.clone()),
            ("STORE_DATABASE", self.server.database.clone()),
            ("STORE_PLACE", self.old.clone()),
        ]
    }

    fn sink(&self) -> String {
        format!(
            "[[sink]]\ntype = 'mongodb'\nconnection_url = '{}'\ndb_name = '{}'\ncollection_name = '{}'\n",
            self.server.url, self.server.database, self.new
        )
    }

    async fn originals(&mut self) -> Vec<Document> {
        self.documents(&self.old).await
    }

    async fn ours(&mut self) -> Vec<Document> {
        self.documents(&self.new).await
    }
}
