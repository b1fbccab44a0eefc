//! RethinkDB under the laws: a stand-in, or the real server where one is given, behind a proxy that fails as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../rethinkdb/client.rs"]
mod client;
#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../rethinkdb/server.rs"]
mod server;
#[path = "../rethinkdb/standin/mod.rs"]
mod standin;

use std::sync::atomic::{AtomicUsize, Ordering};

use kaneda::sink::Sink;
use serde_json::Value;

use crate::outage::{Remote, survives};
use crate::proxy::{Fault, Proxy};
use crate::subject::{Subject, complies};
use server::Server;

/// Tells the databases of tests apart that run at the same time.
static STARTED: AtomicUsize = AtomicUsize::new(0);

struct Rethinkdb {
    server: Server,
    proxy: Proxy,
}

impl Subject for Rethinkdb {
    async fn start() -> Self {
        let server = Server::start(&format!("law_{}", STARTED.fetch_add(1, Ordering::Relaxed))).await;
        let proxy = Proxy::before(&server.address).await;
        server.sink().probe().await.unwrap();
        Rethinkdb { server, proxy }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let mut config = self.server.config_at(&self.proxy.address.to_string());
        config.timeout = "2s".parse().unwrap();
        config.build("rethinkdb").unwrap()
    }

    async fn fail(&mut self) {
        self.proxy.set(Fault::Away).await;
    }

    async fn heal(&mut self) {
        self.proxy.set(Fault::None).await;
    }

    async fn refuse(&mut self) {
        self.server.refuse("counter", "refused", "not this one").await;
    }

    async fn names(&self) -> Vec<String> {
        let documents = self.documents().await;
        documents.iter().map(|document| document["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn value(&self, name: &str) -> String {
        let documents = self.documents().await;
        let document = documents.iter().find(|document| document["name"] == name).unwrap();
        document["value"].as_str().map_or_else(|| document["value"].to_string(), str::to_owned)
    }

    fn secret(&self) -> Option<&str> {
        Some(&self.server.password)
    }

    fn excuse(law: &str) -> Option<&'static str> {
        match law {
            "no_secret_is_logged" if Server::is_given() => Some("a server that is given has no password"),
            "errors_for_a_while_cost_nothing" => {
                Some("a proxy cannot answer for it; the stand-in does, in tests/rethinkdb/fault.rs")
            }
            _ => None,
        }
    }
}

impl Remote for Rethinkdb {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn busy() -> Option<Fault> {
        None
    }
}

complies!(Rethinkdb);
survives!(Rethinkdb);

impl Rethinkdb {
    /// All documents, of all tables.
    async fn documents(&self) -> Vec<Value> {
        let mut documents = Vec::new();
        for table in self.server.tables().await {
            documents.extend(self.server.documents(&table).await);
        }
        documents
    }
}
