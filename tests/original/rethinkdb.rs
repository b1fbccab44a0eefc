//! RethinkDB: the stand-in of its tests, or a real one.

#[allow(dead_code, reason = "made for the tests of the sink")]
#[path = "../rethinkdb/client.rs"]
mod client;
#[allow(dead_code, reason = "made for the tests of the sink")]
#[path = "../rethinkdb/server.rs"]
mod server;
#[path = "../rethinkdb/standin/mod.rs"]
mod standin;

use serde_json::{Value, json};

use crate::document::{Document, host, is_own, json};
use crate::run::Store;

/// A server with a database for each.
pub(crate) struct Server {
    server: server::Server,
    old: String,
    new: String,
}

impl Server {
    pub(crate) async fn start(test: &str) -> Option<Server> {
        let server = server::Server::start(test).await;
        let (old, new) = (format!("{}_old", server.database), format!("{}_new", server.database));
        for database in [&old, &new] {
            // What an earlier run has left on a real one.
            let _ = server.client().await.answer(&json!([1, [58, [database]]]).to_string()).await;
        }
        Some(Server { server, old, new })
    }

    async fn documents(&mut self, database: &str) -> Vec<Document> {
        let mut client = self.server.client().await;
        let databases = client.run(json!([59, []])).await;
        if !databases.as_array().unwrap().contains(&database.into()) {
            return Vec::new();
        }
        let mut documents = Vec::new();
        for table in client.run(json!([62, [[14, [database]]]])).await.as_array().unwrap() {
            let found = client.run(json!([15, [[14, [database]], table]])).await;
            let table = table.as_str().unwrap();
            documents.extend(found.as_array().unwrap().iter().map(|stored| document(table, stored)));
        }
        documents
    }
}

fn document(table: &str, stored: &Value) -> Document {
    let mut document = Document::new(stored["name"].as_str().unwrap(), table);
    for (field, value) in stored.as_object().unwrap() {
        match &**field {
            "timestamp" if value["$reql_type$"] == "TIME" => {
                assert_eq!(value["timezone"], "+00:00");
                let millis = (value["epoch_time"].as_f64().unwrap() * 1000.0).round() as i128;
                document.put_time(field, millis * 1_000_000, "TIME");
            }
            "timestamp_ns" => document.put_time(field, value.as_str().unwrap().parse().unwrap(), "TIME"),
            _ => document.put(field, value.to_string()),
        }
    }
    document.replace("host", &json(&host()), "HOST");
    document.replace("metric", &json(table), "KIND");
    if let Some(id) = stored["id"].as_str()
        && (is_own(id) || id.starts_with("made-up-"))
    {
        document.replace("id", &json(id), "MADE");
    }
    document
}

impl Store for Server {
    const NAME: &str = "rethinkdb";
    const DIFFERENCES: &str = include_str!("differences/rethinkdb.txt");

    fn settings(&self, _kind: &str) -> Vec<(&'static str, String)> {
        vec![
            ("STORE_URL", self.server.address.clone()),
            ("STORE_PASSWORD", self.server.password.clone()),
            ("STORE_PLACE", self.old.clone()),
        ]
    }

    fn sink(&self) -> String {
        format!(
            "[[sink]]\ntype = 'rethinkdb'\nhost = '{}'\nuser = 'admin'\npassword = '{}'\ndb_name = '{}'\n",
            self.server.address, self.server.password, self.new
        )
    }

    async fn originals(&mut self) -> Vec<Document> {
        self.documents(&self.old.clone()).await
    }

    async fn ours(&mut self) -> Vec<Document> {
        self.documents(&self.new.clone()).await
    }
}
