//! A server for one test: a real one that is given, or a stand-in of the test's own.

use kaneda::sink::Sink;
use kaneda::sink::rethinkdb::Config;
use serde_json::{Value, json};

use super::client::Client;
use super::standin::Standin;

/// Names a real server to use, `host:port`; its user `admin` has no password.
const GIVEN: &str = "KANEDA_TEST_RETHINKDB";

/// A server and a database of the test's own on it.
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) password: String,
    pub(crate) database: String,
    /// None: it is a real one.
    pub(crate) standin: Option<Standin>,
}

impl Server {
    /// A server for `test`, without its database.
    pub(crate) async fn start(test: &str) -> Server {
        // What an earlier run has left is dropped, so that no more than this is left by any number of them.
        let database = format!("kaneda_test_{test}");
        let Ok(address) = std::env::var(GIVEN) else { return Server::standin(test).await };
        let server = Server { address, password: String::new(), database, standin: None };
        let _ = server.client().await.answer(&json!([1, [58, [server.database]]]).to_string()).await;
        server
    }

    /// A stand-in also where a real server is given: for what no client can make a real one do.
    pub(crate) async fn standin(test: &str) -> Server {
        let password = "hush-hush".to_owned();
        let standin = Standin::start(&password).await;
        let address = standin.address.to_string();
        Server { address, password, database: format!("kaneda_test_{test}"), standin: Some(standin) }
    }

    /// Whether it is a real one.
    #[allow(dead_code, reason = "for the laws")]
    pub(crate) fn is_given() -> bool {
        std::env::var_os(GIVEN).is_some()
    }

    /// From now on a write hook of the table refuses documents with this name, with this text.
    pub(crate) async fn refuse(&self, table: &str, name: &str, text: &str) {
        if let Some(standin) = &self.standin {
            return standin.with(|store| store.hook(&self.database, table, name, text));
        }
        // set_write_hook(function(context, old, new) { branch(new("name") == name, error(text), new) })
        let is_meant = json!([17, [[170, [[10, [3]], "name"]], name]]);
        let hook = json!([69, [[2, [1, 2, 3]], [65, [is_meant, [12, [text]], [10, [3]]]]]]);
        self.client().await.run(json!([189, [self.table(table), hook]])).await;
    }

    /// The minimal configuration for it.
    pub(crate) fn config(&self) -> Config {
        self.config_at(&self.address)
    }

    /// The same, with another way to it.
    pub(crate) fn config_at(&self, address: &str) -> Config {
        toml::from_str(&format!(
            "host = {address:?}\ndb_name = {:?}\nuser = \"admin\"\npassword = {:?}",
            self.database, self.password
        ))
        .expect("a configuration")
    }

    /// A sink that writes to it.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        self.config().build("rethinkdb").expect("a sink")
    }

    pub(crate) async fn client(&self) -> Client {
        Client::start(&self.address, "admin", &self.password).await
    }

    /// Makes the database and a table.
    pub(crate) async fn create(&self, table: &str) {
        let mut client = self.client().await;
        client.run(json!([57, [self.database]])).await;
        client.run(json!([60, [[14, [self.database]], table]])).await;
    }

    /// The term of a table.
    pub(crate) fn table(&self, table: &str) -> Value {
        json!([15, [[14, [self.database]], table]])
    }

    /// The tables of the database, sorted.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let tables = self.client().await.run(json!([62, [[14, [self.database]]]])).await;
        let mut tables: Vec<String> = serde_json::from_value(tables).unwrap();
        tables.sort();
        tables
    }

    /// All documents of a table, sorted by name.
    pub(crate) async fn documents(&self, table: &str) -> Vec<Value> {
        let found = self.client().await.run(self.table(table)).await;
        let mut documents = found.as_array().unwrap().clone();
        documents.sort_by_key(|document| document["name"].to_string());
        documents
    }

    /// How many documents a table has.
    pub(crate) async fn count(&self, table: &str) -> u64 {
        self.client().await.run(json!([43, [self.table(table)]])).await.as_u64().unwrap()
    }
}
