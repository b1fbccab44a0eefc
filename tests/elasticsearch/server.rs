//! The real stores: each version started by its script, and stopped with this process at the latest.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use elasticsearch::http::Method;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use kaneda::sink::Sink;
use kaneda::sink::elasticsearch::Config;
use serde_json::{Value, json};

/// Names the versions to run against, as `elasticsearch-8.17,opensearch-3.4`.
const CHOSEN: &str = "KANEDA_TEST_ELASTICSEARCH_VERSIONS";
const DEFAULT: &str =
    "elasticsearch-8.17,elasticsearch-9.2,elasticsearch-7.17,opensearch-3.4,opensearch-2.19";
/// Makes a skipped test a failed one.
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_SERVERS";

/// A product and its version, such as `opensearch` and `3.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) product: String,
    pub(crate) number: String,
}

impl Version {
    /// Those that were asked for, in the order in which they are to be run.
    pub(crate) fn chosen() -> Vec<Version> {
        let chosen = std::env::var(CHOSEN).unwrap_or_else(|_| DEFAULT.to_owned());
        let version = |text: &str| {
            let (product, number) = text.trim().split_once('-').expect(CHOSEN);
            Version { product: product.to_owned(), number: number.to_owned() }
        };
        chosen.split(',').map(version).collect()
    }

    /// Why it cannot be had without a download. A panic where tests may not be skipped.
    pub(crate) fn missing(&self) -> Option<String> {
        if self.script(&["have", &self.number]).is_ok() {
            return None;
        }
        let why =
            format!("no {self} here; get it with scripts/servers/{}.sh get {}", self.product, self.number);
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        Some(why)
    }

    /// What its script prints, or its complaint.
    fn script(&self, arguments: &[&str]) -> Result<String, String> {
        let script = format!("{}/scripts/servers/{}.sh", env!("CARGO_MANIFEST_DIR"), self.product);
        let output = Command::new(script).args(arguments).output().expect("the script runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text").trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.product, self.number)
    }
}

/// A running server, stopped when it is dropped.
pub(crate) struct Server {
    pub(crate) version: Version,
    pub(crate) url: String,
    /// Where its certificates are.
    pub(crate) folder: String,
    name: String,
}

impl Server {
    pub(crate) fn start(version: &Version, is_secure: bool) -> Server {
        let process = std::process::id().to_string();
        let name = format!("test-{process}");
        let mut arguments = vec!["start", &version.number, &name, "--quick", "--with", &process];
        arguments.extend(is_secure.then_some("--secure"));
        let url = version.script(&arguments).unwrap_or_else(|error| panic!("{version}: {error}"));
        let folder = version.script(&["folder", &version.number, &name]).expect("a folder");
        Server { version: version.clone(), url, folder, name }
    }

    pub(crate) fn is_opensearch(&self) -> bool {
        self.version.product == "opensearch"
    }

    /// Indices of a test's own, with a name like `test`.
    pub(crate) fn place(&self, test: &str) -> Place {
        static PLACES: AtomicUsize = AtomicUsize::new(0);
        let name: String = test.chars().take(40).collect();
        let index = format!("{name}_{}", PLACES.fetch_add(1, Ordering::Relaxed));
        let url = elasticsearch::http::Url::parse(&self.url).expect("a URL");
        let transport = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy().build();
        Place { url: self.url.clone(), index, transport: transport.expect("a transport") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.version.script(&["stop", &self.version.number, &self.name]);
        if let Err(error) = stopped {
            eprintln!("{}: {error}", self.version);
        }
    }
}

/// Indices on a server whose names begin alike.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// The `index_name`.
    pub(crate) index: String,
    transport: Transport,
}

impl Place {
    /// The minimal configuration for it.
    pub(crate) fn config(&self) -> Config {
        let text = format!("connection_url = {:?}\nindex_name = {:?}", self.url, self.index);
        toml::from_str(&text).expect("a configuration")
    }

    /// A sink that writes to it.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        self.config().build("elasticsearch").expect("a sink")
    }

    /// Asks the server; panics if it does not answer 200.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        match self.try_ask(method, path, body).await {
            (200, answer) => answer,
            (status, answer) => panic!("{path}: {status} {answer}"),
        }
    }

    pub(crate) async fn try_ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then(|| body.to_string());
        let send = self.transport.send(method, path, HeaderMap::new(), None::<&()>, body, None);
        let response = send.await.expect("an answer");
        let status = response.status_code().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("a text")).unwrap_or_default())
    }

    /// What a search finds in all of its indices.
    pub(crate) async fn search(&self, body: Value) -> Value {
        self.ask(Method::Post, &format!("/{}*/_refresh", self.index), Value::Null).await;
        let path = format!("/{}*/_search", self.index);
        // The shard of an index that was just made may not be there yet.
        for _ in 0..600 {
            match self.try_ask(Method::Post, &path, body.clone()).await {
                (503, _) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                (200, answer) => return answer,
                (status, answer) => panic!("{path}: {status} {answer}"),
            }
        }
        panic!("{path}: 503 for half a minute")
    }

    /// All documents, each with `_id` and `_index` in it, ordered by name.
    pub(crate) async fn documents(&self) -> Vec<Value> {
        let answer = self.search(json!({"size": 10000, "track_total_hits": true})).await;
        let hits = answer["hits"]["hits"].as_array().expect("hits");
        assert_eq!(answer["hits"]["total"]["value"], hits.len(), "more than one page");
        let mut documents: Vec<Value> = hits
            .iter()
            .map(|hit| {
                let mut document = hit["_source"].clone();
                document["_id"] = hit["_id"].clone();
                document["_index"] = hit["_index"].clone();
                document
            })
            .collect();
        documents.sort_by_key(|document| document["name"].as_str().unwrap_or_default().to_owned());
        documents
    }

    /// How many documents a query finds.
    pub(crate) async fn count(&self, query: Value) -> u64 {
        let answer = self.search(json!({"query": query, "size": 0, "track_total_hits": true})).await;
        answer["hits"]["total"]["value"].as_u64().expect("a number")
    }
}
