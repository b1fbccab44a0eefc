//! Log files.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use crate::client;
use crate::document::{Document, host, is_own};
use crate::run::Store;

/// The local time of the worker, see `worker.rs`, in hours from UTC.
const LOCAL: i8 = 1;

/// A file of each.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) async fn new(_test: &str) -> Option<Files> {
        Some(Files(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str, hours: i8, word: &str) -> Vec<Document> {
        let path = self.path(name);
        if !std::fs::exists(&path).unwrap() {
            return Vec::new();
        }
        let lines = client::end(client::python(&["tests/original/log.py", &path]));
        let lines: Vec<Value> = serde_json::from_str(&lines).unwrap();
        lines.iter().map(|line| document(line, hours, word)).collect()
    }
}

fn document(line: &Value, hours: i8, word: &str) -> Document {
    assert_eq!(line["logger"], "kaneda.backends.logger");
    let fields = line["fields"].as_object().unwrap();
    let text = |field: &str| fields[field].as_str().unwrap().trim_matches('\'');
    let mut document = Document::new(text("name"), text("metric"));
    for (field, value) in fields {
        document.put(field, value.as_str().unwrap());
    }
    document.replace("host", &format!("'{}'", host()), "HOST");
    if let Some(id) = fields.get("_id").and_then(Value::as_str)
        && is_own(id)
    {
        document.replace("_id", id, "MADE");
    }
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S,%f", line["time"].as_str().unwrap()).unwrap();
    let zone = TimeZone::fixed(Offset::constant(hours));
    document.put_time("time", time.to_zoned(zone).unwrap().timestamp().as_nanosecond(), word);
    document
}

impl Store for Files {
    const NAME: &str = "log";
    const DIFFERENCES: &str = include_str!("differences/log.txt");

    fn settings(&self, _kind: &str) -> Vec<(&'static str, String)> {
        vec![("STORE_PLACE", self.path("old"))]
    }

    fn sink(&self) -> String {
        format!("[[sink]]\ntype = 'log'\nformat = 'text'\npath = '{}'\n", self.path("new"))
    }

    async fn originals(&mut self) -> Vec<Document> {
        self.read("old", LOCAL, "LOCAL_TIME")
    }

    async fn ours(&mut self) -> Vec<Document> {
        self.read("new", 0, "TIME")
    }
}
