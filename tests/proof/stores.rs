//! The stores behind a network that are installed here, with what they hold.

use std::process::Command;
use std::time::Duration;

/// The stores that were started, stopped when this is dropped.
pub(crate) struct Stores(Vec<Store>);

struct Store {
    /// The type of its sink.
    kind: &'static str,
    script: &'static str,
    arguments: Vec<String>,
    url: String,
}

/// Heap of the server that speaks MongoDB's protocol, which holds all that it has there.
const HEAP: &str = "2g";
/// How long a store may take to tell all that it has.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes a skipped store a failure.
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_SERVERS";

impl Stores {
    /// Starts what is installed, and says what is not.
    pub(crate) fn start(test: &str) -> Stores {
        let name = format!("{test}-{}", std::process::id());
        let known: [(&str, &str, &[&str]); 2] = [
            (
                "elasticsearch",
                concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/elasticsearch.sh"),
                &["8.17"],
            ),
            ("mongodb", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/mongodb.sh"), &[]),
        ];
        let mut stores = Vec::new();
        for (kind, script, version) in known {
            let is_built = match kind {
                "elasticsearch" => cfg!(feature = "elasticsearch"),
                _ => cfg!(feature = "mongodb"),
            };
            if !is_built {
                continue;
            }
            if !Command::new(script).arg("have").args(version).output().unwrap().status.success() {
                assert!(std::env::var_os(REQUIRED).is_none(), "no {kind} here: {script} get");
                eprintln!("skipped {kind} in {test}: it is not installed, see {script}");
                continue;
            }
            let mut arguments: Vec<String> = version.iter().map(|text| (*text).to_owned()).collect();
            arguments.push(name.clone());
            let mut start = Command::new(script);
            start.arg("start").args(&arguments).env("KANEDA_MONGODB_HEAP", HEAP);
            let output = start.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            stores.push(Store { kind, script, arguments, url });
        }
        Stores(stores)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// A sink for each.
    pub(crate) fn config(&self) -> String {
        let sink = |store: &Store| {
            let Store { kind, url, .. } = store;
            format!("[[sink]]\ntype = '{kind}'\nconnection_url = '{url}'\nflush_interval = '10ms'\n")
        };
        self.0.iter().map(sink).collect()
    }

    /// The `name` of each document, store by store.
    pub(crate) fn names(&self) -> Vec<(&'static str, Vec<String>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = async |store: &Store| match store.kind {
            #[cfg(feature = "elasticsearch")]
            "elasticsearch" => elasticsearch(&store.url).await,
            #[cfg(feature = "mongodb")]
            "mongodb" => mongodb(&store.url).await,
            kind => unreachable!("{kind} is not built"),
        };
        let names = |store: &Store| {
            let names = runtime.block_on(async { tokio::time::timeout(PATIENCE, told(store)).await });
            names.unwrap_or_else(|_| panic!("{} does not tell what it has", store.kind))
        };
        self.0.iter().map(|store| (store.kind, names(store))).collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = Command::new(self.script).arg("stop").args(&self.arguments).status();
    }
}

#[cfg(feature = "elasticsearch")]
async fn elasticsearch(url: &str) -> Vec<String> {
    use elasticsearch::http::Method;
    use elasticsearch::http::headers::HeaderMap;
    use elasticsearch::http::transport::Transport;
    use serde_json::{Value, json};

    let transport = Transport::single_node(url).unwrap();
    let post = async |path: &str, body: Option<Value>| -> Value {
        let body = body.map(|body| body.to_string());
        let answer =
            transport.send(Method::Post, path, HeaderMap::new(), None::<&()>, body, None).await.unwrap();
        let answer = answer.error_for_status_code().unwrap();
        answer.json().await.unwrap()
    };
    post("/_refresh", None).await;
    let ask = json!({"size": 10_000, "_source": ["name"], "sort": ["_doc"]});
    let mut page = post("/kaneda-*/_search?scroll=1m", Some(ask)).await;
    let mut names = Vec::new();
    loop {
        let hits = page["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{page}"));
        if hits.is_empty() {
            return names;
        }
        names.extend(hits.iter().map(|hit| hit["_source"]["name"].as_str().unwrap().to_owned()));
        let next = json!({"scroll": "1m", "scroll_id": page["_scroll_id"]});
        page = post("/_search/scroll", Some(next)).await;
    }
}

#[cfg(feature = "mongodb")]
async fn mongodb(url: &str) -> Vec<String> {
    use futures_util::TryStreamExt;
    use mongodb::bson::{Document, doc};

    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let collection = client.database("kaneda").collection::<Document>("reports");
    // Without a size the stand-in puts all into one message.
    let found = collection.find(Document::new()).projection(doc! { "name": 1 }).batch_size(5000);
    let found: Vec<Document> = found.await.unwrap().try_collect().await.unwrap();
    found.iter().map(|document| document.get_str("name").unwrap().to_owned()).collect()
}

/// An InfluxDB with a fault proxy in front of it.
#[cfg(feature = "influxdb")]
pub(crate) struct Faulty {
    proxy: crate::proxy::Proxy,
    runtime: tokio::runtime::Runtime,
    url: String,
    name: String,
}

#[cfg(feature = "influxdb")]
impl Faulty {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/influxdb.sh");

    /// None: it is not installed, which is said.
    pub(crate) fn start(test: &str) -> Option<Faulty> {
        if !Command::new(Self::SCRIPT).arg("have").status().unwrap().success() {
            assert!(std::env::var_os(REQUIRED).is_none(), "no influxd here: scripts/servers/influxdb.sh get");
            eprintln!("skipped {test}: influxd is not installed, see scripts/servers/influxdb.sh");
            return None;
        }
        // The queries are asked with a client of the same make as the sink's.
        kaneda::tls::provider();
        let name = format!("{test}-{}", std::process::id());
        let output = Command::new(Self::SCRIPT).args(["start", &name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let proxy = runtime.block_on(crate::proxy::Proxy::before(&url));
        Some(Faulty { proxy, runtime, url, name })
    }

    /// Its sink.
    pub(crate) fn config(&self) -> String {
        let url = &self.proxy.url;
        format!(
            "[[sink]]\ntype = 'influxdb'\nconnection_url = '{url}'\ndatabase = 'kaneda'\ntimeout = '2s'\nretry_ceiling = '1s'\n"
        )
    }

    pub(crate) fn set(&self, fault: crate::proxy::Fault) {
        self.runtime.block_on(self.proxy.set(fault));
    }

    /// How many points it has.
    pub(crate) fn points(&self) -> u64 {
        let query = format!("{}/query?db=kaneda&q=SELECT%20count(value)%20FROM%20counter", self.url);
        let answer =
            self.runtime.block_on(async { reqwest::get(query).await.unwrap().text().await.unwrap() });
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }
}

#[cfg(feature = "influxdb")]
impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = Command::new(Self::SCRIPT).args(["stop", &self.name]).status();
    }
}
