//! The real InfluxDB: one that is given, or one of the test's own that is stopped behind it.

use std::path::Path;
use std::process::Command;

use kaneda::sink::Sink;
use kaneda::sink::influxdb::Config;
use serde_json::Value;

/// Names a server to use, `http://user:password@host:port`; its user is an administrator.
const GIVEN: &str = "KANEDA_TEST_INFLUXDB";
/// Makes a skipped test a failed one.
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_SERVERS";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/influxdb.sh");

/// A server and a database of the test's own on it.
pub(crate) struct Server {
    /// Without the login.
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
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
        let why = format!("no influxd here; get it with scripts/servers/influxdb.sh get, or set {GIVEN}");
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        Some(why)
    }

    /// A server for `test`, or a word on standard error that it is skipped.
    pub(crate) fn start(test: &str) -> Option<Server> {
        Server::start_with(test, &[])
    }

    /// The same with TLS, and a certificate and its key in one file. On a server that is given that cannot be had.
    pub(crate) fn start_secured(test: &str, certificate: &Path) -> Option<Server> {
        if std::env::var_os(GIVEN).is_some() {
            eprintln!("skipped {test}: {GIVEN} names a server, which has its own certificate");
            return None;
        }
        Server::start_with(test, &[format!("--https={}", certificate.display())])
    }

    fn start_with(test: &str, arguments: &[String]) -> Option<Server> {
        // The queries of tests are asked with a client that is made before any sink.
        kaneda::tls::provider();
        // On a server that is given, what an earlier run has left must not be found.
        let database = format!("kaneda_{test}_{}", std::process::id());
        if let Ok(given) = std::env::var(GIVEN) {
            let url = reqwest::Url::parse(&given).expect("a URL");
            return Some(Server {
                url: format!("http://{}:{}", url.host_str().unwrap(), url.port().unwrap_or(8086)),
                user: url.username().to_owned(),
                password: url.password().unwrap_or_default().to_owned(),
                database,
                started: None,
            });
        }
        if let Some(why) = Server::missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        let name = format!("{test}-{}", std::process::id());
        let output = Command::new(SCRIPT)
            .args(["start", &name, "--auth"])
            .args(arguments)
            .output()
            .expect("the script runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Server {
            url: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            user: "admin".to_owned(),
            password: "hush-hush".to_owned(),
            database,
            started: Some(name),
        })
    }

    /// The minimal configuration for it, with patience for a machine that is busy.
    pub(crate) fn config(&self) -> Config {
        toml::from_str(&format!(
            "connection_url = {:?}\ndatabase = {:?}\nuser = {:?}\npassword = {:?}\ntimeout = \"30s\"",
            self.url, self.database, self.user, self.password
        ))
        .expect("a configuration")
    }

    /// A sink that writes to it.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        self.config().build("influxdb").expect("a sink")
    }

    /// What the first statement of a query gives: its series.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.ask(query).await).expect("JSON");
        let result = &answer["results"][0];
        assert!(result["error"].is_null() && answer["error"].is_null(), "{query}: {answer}");
        result["series"].as_array().cloned().unwrap_or_default()
    }

    async fn ask(&self, query: &str) -> String {
        let response = reqwest::Client::new()
            .post(format!("{}/query", self.url))
            .basic_auth(&self.user, Some(&self.password))
            .query(&[("db", self.database.as_str()), ("epoch", "ns"), ("q", query)])
            .send()
            .await
            .expect("an answer");
        response.text().await.expect("a text")
    }

    /// The rows of a query that gives one series, each a map from column to value.
    pub(crate) async fn rows(&self, query: &str) -> Vec<serde_json::Map<String, Value>> {
        let series = self.query(query).await;
        assert!(series.len() <= 1, "{query}: {series:?}");
        let Some(series) = series.first() else { return Vec::new() };
        let columns: Vec<&str> =
            series["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        series["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                columns
                    .iter()
                    .zip(row.as_array().unwrap())
                    .filter(|(_, value)| !value.is_null())
                    .map(|(column, value)| ((*column).to_owned(), value.clone()))
                    .collect()
            })
            .collect()
    }

    /// How many points a measurement has; a name as a query writes it.
    pub(crate) async fn count(&self, measurement: &str) -> u64 {
        let rows = self.rows(&format!("SELECT count(\"name\") FROM {measurement}")).await;
        rows.first().map_or(0, |row| row["count"].as_u64().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(name) = &self.started {
            let _ = Command::new(SCRIPT).args(["stop", name]).status();
        }
    }
}
