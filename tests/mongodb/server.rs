//! The server: one that is given, or one of the test's own that is stopped behind it.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt;
use kaneda::sink::Sink;
use kaneda::sink::mongodb::Config;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection};

/// Names a server to use, `mongodb://[user:password@]host[:port]`; its user may make databases.
const GIVEN: &str = "KANEDA_TEST_MONGODB";
/// Makes a skipped test a failed one.
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_SERVERS";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/mongodb.sh");

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A server and a database of the test's own on it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) database: String,
    /// Of the login in the URL.
    pub(crate) password: Option<String>,
    /// What the script knows it by, if it was started here.
    started: Option<String>,
}

impl Server {
    /// Why there is none to be had without a download. A panic where tests may not be skipped.
    pub(crate) fn missing() -> Option<String> {
        let is_here = || Command::new(SCRIPT).arg("have").status().expect("the script runs").success();
        if std::env::var_os(GIVEN).is_some() || is_here() {
            return None;
        }
        let why =
            format!("no MongoDB server here; get one with scripts/servers/mongodb.sh get, or set {GIVEN}");
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        Some(why)
    }

    /// A server for `test`, or a word on standard error that it is skipped.
    pub(crate) fn start(test: &str) -> Option<Server> {
        if let Ok(url) = std::env::var(GIVEN) {
            // What an earlier run has left must not be found.
            let number = STARTED.fetch_add(1, Ordering::Relaxed);
            let database = format!("kaneda_{test}_{}_{number}", std::process::id());
            let password = login(&url).and_then(|login| Some(login.split_once(':')?.1.to_owned()));
            return Some(Server { url, database, password, started: None });
        }
        if let Some(why) = Server::missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        Some(Server::launch(test, &[]))
    }

    /// A server of our own that says to be older than the daemon can use.
    pub(crate) fn start_old(test: &str) -> Option<Server> {
        if let Some(why) = Server::missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        Some(Server::launch(test, &["--old"]))
    }

    fn launch(test: &str, more: &[&str]) -> Server {
        let name = format!("{test}-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let output =
            Command::new(SCRIPT).args(["start", &name]).args(more).output().expect("the script runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Server { url, database: "kaneda".to_owned(), password: None, started: Some(name) }
    }

    /// Whether the server has a login that a test could look for.
    pub(crate) fn asks_for_login() -> bool {
        std::env::var(GIVEN).is_ok_and(|url| login(&url).is_some())
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        let (_, rest) = self.url.split_once("://").unwrap();
        let hosts = rest.rsplit('@').next().unwrap().split('/').next().unwrap();
        hosts.split(',').next().unwrap().to_owned()
    }

    /// Its URL with `address` in place of its own: to that server only, whatever others it knows of.
    pub(crate) fn behind(&self, address: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let login = login(&self.url).map_or(String::new(), |login| format!("{login}@"));
        let options = rest.split_once('?').map_or(String::new(), |(_, options)| format!("&{options}"));
        format!("{scheme}://{login}{address}/?directConnection=true{options}")
    }

    /// The minimal configuration for it.
    pub(crate) fn config(&self) -> Config {
        toml::from_str(&format!("connection_url = {:?}\ndb_name = {:?}", self.url, self.database))
            .expect("a configuration")
    }

    /// A sink that writes to it.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        self.config().build("mongodb").expect("a sink")
    }

    /// Has it answer once: its first answer takes it longer than a sink may wait that is given little time.
    pub(crate) async fn wake(&self) {
        self.documents().await;
    }

    /// The collection that the sink writes to.
    pub(crate) async fn collection(&self) -> Collection<Document> {
        let client = Client::with_uri_str(&self.url).await.expect("a client");
        client.database(&self.database).collection("reports")
    }

    /// What is stored, in the order of the ids.
    pub(crate) async fn documents(&self) -> Vec<Document> {
        self.find(doc! {}).await
    }

    /// What is stored and fits `filter`, in the order of the ids.
    pub(crate) async fn find(&self, filter: Document) -> Vec<Document> {
        let found = self.collection().await.find(filter).sort(doc! {"_id": 1}).await.expect("an answer");
        found.try_collect().await.expect("documents")
    }
}

/// The login in a URL, as it is written there.
fn login(url: &str) -> Option<&str> {
    Some(url.split_once("://")?.1.rsplit_once('@')?.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(name) = &self.started {
            let _ = Command::new(SCRIPT).args(["stop", name]).status();
        }
    }
}
