//! The real VictoriaMetrics, of the test's own, stopped behind it.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use kaneda::sink::influxdb::Config;
use serde_json::Value;

/// Makes a skipped test a failed one.
const REQUIRED: &str = "KANEDA_TEST_REQUIRE_SERVERS";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/victoriametrics.sh");

/// A server of the test's own.
pub(crate) struct VictoriaMetrics {
    pub(crate) url: String,
    name: String,
}

impl VictoriaMetrics {
    /// Why there is none to be had without a download. A panic where tests may not be skipped.
    pub(crate) fn missing() -> Option<&'static str> {
        if Command::new(SCRIPT).arg("have").status().expect("the script runs").success() {
            return None;
        }
        let why = "no victoria-metrics here; get it with scripts/servers/victoriametrics.sh get";
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        Some(why)
    }

    /// A server for `test`, or a word on standard error that it is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        kaneda::tls::provider();
        if let Some(why) = Self::missing() {
            eprintln!("skipped {test}: {why}");
            return None;
        }
        let name = format!("{test}-{}", std::process::id());
        let output = Command::new(SCRIPT).args(["start", &name]).output().expect("the script runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(VictoriaMetrics { url: String::from_utf8(output.stdout).unwrap().trim().to_owned(), name })
    }

    /// A configuration for the server at `url`, which is this one or a way to it.
    pub(crate) fn config(url: &str) -> Config {
        toml::from_str(&format!("connection_url = {url:?}\nbucket = \"kaneda\"\ntimeout = \"30s\""))
            .expect("a configuration")
    }

    /// What is stored under a name, sorted: labels without the name as JSON, value, milliseconds.
    pub(crate) async fn samples(&self, name: &str) -> Vec<(String, f64, i64)> {
        self.flush().await;
        let client = reqwest::Client::new();
        // Without an end it is the second that has begun.
        let query = [("match[]", name), ("end", "4102444800")];
        let lines = client.get(format!("{}/api/v1/export", self.url)).query(&query).send().await;
        let lines = lines.expect("an answer").text().await.expect("a text");
        let mut samples = Vec::new();
        for series in lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
            let mut labels = series["metric"].as_object().unwrap().clone();
            labels.remove("__name__");
            let labels = Value::from(labels).to_string();
            let values = series["values"].as_array().unwrap().iter();
            for (value, time) in values.zip(series["timestamps"].as_array().unwrap()) {
                samples.push((labels.clone(), value.as_f64().unwrap(), time.as_i64().unwrap()));
            }
        }
        samples.sort_by(|one, other| one.partial_cmp(other).unwrap());
        samples
    }

    /// The one value that a query in PromQL has now.
    pub(crate) async fn query(&self, query: &str) -> String {
        self.flush().await;
        let client = reqwest::Client::new();
        // It answers for a second ago, so that what has just come is complete.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        let query = [("query", query), ("time", &now.to_string())];
        let answer = client.get(format!("{}/api/v1/query", self.url)).query(&query).send().await;
        let answer: Value = serde_json::from_str(&answer.unwrap().text().await.unwrap()).unwrap();
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(result.len(), 1, "{answer}");
        result[0]["value"][1].as_str().unwrap().to_owned()
    }

    /// What was written is read only when it has been flushed.
    async fn flush(&self) {
        let flushed = reqwest::Client::new().get(format!("{}/internal/force_flush", self.url)).send().await;
        flushed.expect("an answer");
    }

    /// The values of a name, sorted.
    pub(crate) async fn values(&self, name: &str) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples(name).await.into_iter().map(|sample| sample.1).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).args(["stop", &self.name]).status();
    }
}
