//! MongoDB under the laws: a server of its protocol, behind a proxy that fails as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../mongodb/server.rs"]
mod server;

use kaneda::sink::Sink;
use kaneda::sink::mongodb::Config;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use crate::outage::{Remote, survives};
use crate::proxy::{Fault, Proxy};
use crate::subject::{Subject, complies};
use server::Server;

struct Mongodb {
    server: Server,
    proxy: Proxy,
}

impl Subject for Mongodb {
    async fn start() -> Self {
        let server = Server::start("law").expect("a test without a server is excused");
        let proxy = Proxy::before(&server.address()).await;
        Mongodb { server, proxy }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let config = Config {
            connection_url: Some(self.server.behind(&self.proxy.address.to_string()).as_str().into()),
            timeout: "2s".parse().unwrap(),
            ..self.server.config()
        };
        config.build("mongodb").unwrap()
    }

    async fn fail(&mut self) {
        self.proxy.set(Fault::Away).await;
    }

    async fn heal(&mut self) {
        self.proxy.set(Fault::None).await;
    }

    async fn refuse(&mut self) {
        let collection = self.server.collection().await;
        let options = IndexOptions::builder().unique(true).build();
        let unique = IndexModel::builder().keys(doc! {"name": 1}).options(options).build();
        collection.create_index(unique).await.unwrap();
        collection.insert_one(doc! {"name": "refused"}).await.unwrap();
    }

    async fn names(&self) -> Vec<String> {
        let text = |document: &Document| document.get_str("name").unwrap().to_owned();
        // A report has a metric; what stands in the way of one has none.
        self.server.find(doc! {"metric": {"$exists": true}}).await.iter().map(text).collect()
    }

    async fn value(&self, name: &str) -> String {
        let found = self.server.find(doc! {"name": name}).await;
        assert_eq!(found.len(), 1);
        found[0].get_str("value").unwrap().to_owned()
    }

    fn secret(&self) -> Option<&str> {
        self.server.password.as_deref()
    }

    fn excuse(law: &str) -> Option<&'static str> {
        if Server::missing().is_some() {
            return Some("skipped: no MongoDB server here; get one with scripts/servers/mongodb.sh get");
        }
        (law == "no_secret_is_logged" && !Server::asks_for_login()).then_some(
            "the server of the tests asks for no login; tests/mongodb/told.rs has a password to look for",
        )
    }
}

impl Remote for Mongodb {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// `tests/mongodb/fault.rs` has a server that answers errors for a while.
    fn busy() -> Option<Fault> {
        None
    }
}

complies!(Mongodb);
survives!(Mongodb);
