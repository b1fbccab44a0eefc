//! Elasticsearch under the laws: the real server, behind a proxy that fails as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../elasticsearch/server.rs"]
mod server;

use std::sync::OnceLock;

use kaneda::sink::Sink;
use kaneda::sink::address::List;

use crate::flow::{Flow, settled};
use crate::outage::{Remote, survives};
use crate::proxy::{Fault, Proxy};
use crate::subject::{Subject, complies};
use server::{Place, Server, Version};

const PASSWORD: &str = "hush-hush";

/// One server for all laws: it takes a gigabyte. Its script stops it when this process has ended.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Elasticsearch {
    place: Place,
    proxy: Proxy,
}

/// The first of the chosen versions; the tests of the sink itself run against all.
fn version() -> Version {
    Version::chosen().remove(0)
}

impl Subject for Elasticsearch {
    async fn start() -> Self {
        let server = SERVER.get_or_init(|| Server::start(&version(), false));
        Elasticsearch { place: server.place("law"), proxy: Proxy::before(&server.url).await }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let mut config = self.place.config();
        config.connection_url = Some(List::One(self.proxy.url.as_str().into()));
        config.user = Some("kaneda".into());
        config.password = Some(PASSWORD.into());
        config.timeout = "2s".parse().unwrap();
        config.build("elasticsearch").unwrap()
    }

    async fn fail(&mut self) {
        self.proxy.set(Fault::Away).await;
    }

    async fn heal(&mut self) {
        self.proxy.set(Fault::None).await;
    }

    async fn refuse(&mut self) {
        let body = r#"{"error":{"type":"illegal_argument_exception","reason":"not this one"},"status":400}"#;
        self.proxy.set(Fault::Answer { to: "\"name\":\"refused\"", status: 400, body }).await;
    }

    async fn names(&self) -> Vec<String> {
        let documents = self.place.documents().await;
        documents.iter().map(|document| document["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn value(&self, name: &str) -> String {
        let documents = self.place.documents().await;
        let document = documents.iter().find(|document| document["name"] == name).unwrap();
        document["value"].as_str().unwrap().to_owned()
    }

    fn secret(&self) -> Option<&str> {
        Some(PASSWORD)
    }

    fn excuse(_law: &str) -> Option<&'static str> {
        version().missing().map(|why| &*why.leak())
    }
}

complies!(Elasticsearch);

impl Remote for Elasticsearch {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

survives!(Elasticsearch);

/// Answers that only this store gives, or what stands before it.
#[tokio::test]
async fn an_answer_that_decides_nothing_is_waited_for() {
    if let Some(why) = Elasticsearch::excuse("") {
        return println!("does not apply: {why}");
    }
    let subject = Elasticsearch::start().await;
    let mut flow = Flow::start(subject.sink());
    flow.store(["before:1|c"]).await;
    for (n, (status, body, text)) in [
        (
            503,
            r#"{"error":{"type":"cluster_block_exception","reason":"no master"},"status":503}"#,
            "no master",
        ),
        (429, r#"{"error":{"type":"es_rejected_execution_exception","reason":"full"}}"#, "full"),
        (401, "", "`password`"),
        (403, "", "the right to write"),
        (400, "<html>a proxy", "`connection_url`"),
        (200, "{}", "not an answer"),
        (200, r#"{"errors":false,"items":[]}"#, "0 answers for"),
    ]
    .into_iter()
    .enumerate()
    {
        subject.proxy.set(Fault::Answer { to: "_bulk", status, body }).await;
        let during = flow.send([format!("n{n}:1|c")]).await;
        flow.in_trouble_again().await;
        assert!(flow.last_error().contains(text), "{text}: {}", flow.last_error());
        assert!(!during.is_complete() && flow.terms().balance());
        subject.proxy.set(Fault::None).await;
        settled(&during).await;
    }
    assert_eq!(flow.finish().await.delivered, 8);
    assert_eq!(subject.names().await.len(), 8);
}
