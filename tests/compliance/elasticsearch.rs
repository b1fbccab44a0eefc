//! Elasticsearch under the laws: the real server, behind a proxy that fails as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../elasticsearch/server.rs"]
mod server;

use std::sync::OnceLock;
use std::time::Duration;

use kaneda::sink::Sink;
use kaneda::sink::address::List;

use crate::flow::{Flow, settled};
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
        config.timeout = "5s".parse().unwrap();
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

/// What the network and the server can do, one after the other: every report is stored once, and the sums are right.
#[tokio::test]
async fn after_every_fault_each_report_is_stored_once() {
    if let Some(why) = Elasticsearch::excuse("") {
        return println!("skipped: {why}");
    }
    let unavailable = r#"{"error":{"type":"cluster_block_exception","reason":"no master"},"status":503}"#;
    let busy = r#"{"error":{"type":"es_rejected_execution_exception","reason":"full"},"status":429}"#;
    for (fault, text) in [
        (Fault::Away, "no connection"),
        (Fault::Hang, "`timeout`"),
        (Fault::Answer { to: "_bulk", status: 503, body: unavailable }, "no master"),
        (Fault::Answer { to: "_bulk", status: 429, body: busy }, "full"),
        (Fault::Answer { to: "_bulk", status: 401, body: "" }, "`password`"),
        (Fault::Answer { to: "_bulk", status: 400, body: "<html>a proxy" }, "`connection_url`"),
        (Fault::Answer { to: "_bulk", status: 200, body: "{}" }, "not an answer"),
        (Fault::HalfReply, ""),
        (Fault::LoseReply, ""),
    ] {
        let subject = Elasticsearch::start().await;
        let mut flow = Flow::start(subject.sink());
        flow.store(["before:1|c"]).await;
        subject.proxy.set(fault.clone()).await;
        let mut lines: Vec<String> = (0..50).map(|n| format!("n{n}:1|c")).collect();
        lines.extend((50..100).map(|n| format!("n{n}:1|c|i:client-{n}")));
        let during = flow.send(&lines).await;
        flow.in_trouble().await;
        assert!(flow.last_error().contains(text), "{fault:?}: {}", flow.last_error());
        assert!(!during.is_complete());
        subject.proxy.set(Fault::None).await;
        settled(&during).await;
        // `finish` asserts that accepted = delivered + waiting + rejected + dropped.
        let terms = flow.finish().await;
        assert_eq!((terms.accepted, terms.delivered), (101, 101), "{fault:?}");
        assert_eq!(subject.names().await.len(), 101, "{fault:?}");
    }
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    if let Some(why) = Elasticsearch::excuse("") {
        return println!("skipped: {why}");
    }
    let subject = Elasticsearch::start().await;
    let flow = Flow::start(subject.sink());
    flow.store(["before:1|c"]).await;
    subject.proxy.set(Fault::Slow { piece: 1000, pause: Duration::from_millis(1) }).await;
    flow.store((0..100).map(|n| format!("n{n}:1|c"))).await;
    assert_eq!(flow.finish().await.delivered, 101);
    assert_eq!(subject.names().await.len(), 101);
}
