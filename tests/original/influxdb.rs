//! InfluxDB 1.

#[allow(dead_code, reason = "made for the tests of the sink")]
#[path = "../influxdb/server.rs"]
mod server;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{Document, host, one_spelling};
use crate::run::Store;

/// A server with a database for each.
pub(crate) struct Server {
    server: server::Server,
    old: String,
    new: String,
}

impl Server {
    pub(crate) async fn start(test: &str) -> Option<Server> {
        let server = server::Server::start(test)?;
        let (old, new) = (format!("{}_old", server.database), format!("{}_new", server.database));
        Some(Server { server, old, new })
    }

    async fn points(&mut self, database: String) -> Vec<Document> {
        self.server.database = database;
        let databases = self.server.query("SHOW DATABASES").await;
        // Without a database there is no list either.
        let mut names = databases[0]["values"].as_array().into_iter().flatten();
        if !names.any(|row| row[0] == *self.server.database) {
            return Vec::new();
        }
        let mut found = Vec::new();
        // Each measurement alone: asked together their fields of one name become one type.
        for measurement in self.server.rows("SHOW MEASUREMENTS").await {
            found.extend(
                self.server.query(&format!("SELECT * FROM {} GROUP BY *", measurement["name"])).await,
            );
        }
        // Asked behind it: so there are all that were found.
        let mut types = BTreeMap::new();
        for series in self.server.query("SHOW FIELD KEYS").await {
            for field in series["values"].as_array().unwrap() {
                types.insert((series["name"].to_string(), field[0].to_string()), field[1].clone());
            }
        }
        let mut points = Vec::new();
        for series in found {
            for row in series["values"].as_array().unwrap() {
                points.push(point(&series, row.as_array().unwrap(), &types));
            }
        }
        points
    }
}

fn point(series: &Value, row: &[Value], types: &BTreeMap<(String, String), Value>) -> Document {
    let columns: Vec<&str> =
        series["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    // Whoever asks while a point is written may see some fields of it alone. Without a name it is none that is waited for,
    // and none that was sent.
    let name = columns.iter().position(|column| *column == "name").and_then(|place| row[place].as_str());
    let mut document = Document::new(name.unwrap_or_default(), series["name"].as_str().unwrap());
    for (column, value) in columns.into_iter().zip(row).filter(|(_, value)| !value.is_null()) {
        if column == "time" {
            document.put_time("time", i128::from(value.as_i64().unwrap()), "TIME");
            continue;
        }
        let kind = &types[&(series["name"].to_string(), Value::from(column).to_string())];
        // As line protocol spells them.
        let mark = if kind == "integer" { "i" } else { "" };
        document.put(column, format!("{}{mark}", one_spelling(value)));
    }
    // Tags that others of the measurement have are there as empty ones, which is the same as none.
    let tags = series["tags"].as_object().unwrap().iter().filter(|(_, value)| *value != "");
    for (tag, value) in tags {
        document.put(&format!("tag_{tag}"), value.as_str().unwrap());
    }
    document.replace("tag_host", &host(), "HOST");
    document
}

impl Store for Server {
    const NAME: &str = "influxdb";
    const DIFFERENCES: &str = include_str!("differences/influxdb.txt");

    fn settings(&self, _kind: &str) -> Vec<(&'static str, String)> {
        vec![
            ("STORE_URL", self.server.url.clone()),
            ("STORE_USER", self.server.user.clone()),
            ("STORE_PASSWORD", self.server.password.clone()),
            ("STORE_PLACE", self.old.clone()),
        ]
    }

    fn sink(&self) -> String {
        let server = &self.server;
        // The first value of a field gives it its type: one batch behind the other, as the original writes.
        let sink = "[[sink]]\ntype = 'influxdb'\nconcurrency = 1\n";
        format!(
            "{sink}connection_url = '{}'\nuser = '{}'\npassword = '{}'\ndatabase = '{}'\n",
            server.url, server.user, server.password, self.new
        )
    }

    async fn originals(&mut self) -> Vec<Document> {
        self.points(self.old.clone()).await
    }

    async fn ours(&mut self) -> Vec<Document> {
        self.points(self.new.clone()).await
    }
}
