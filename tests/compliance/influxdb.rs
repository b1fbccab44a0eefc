//! InfluxDB under the laws: the real server, behind a proxy that fails as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../influxdb/server.rs"]
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};

use kaneda::sink::Sink;
use kaneda::sink::address::List;
use serde_json::Value;

use crate::outage::{Remote, survives};
use crate::proxy::{Fault, Proxy};
use crate::subject::{Subject, complies};
use server::Server;

/// Tells the servers of tests apart that run at the same time.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// As the server answers a write with a point in it that it will never take.
const REFUSED: Fault = Fault::Answer {
    to: "name=\"refused\"",
    status: 400,
    body: r#"{"error":"partial write: not this one dropped=1"}"#,
};

struct Influxdb {
    server: Server,
    proxy: Proxy,
}

impl Subject for Influxdb {
    async fn start() -> Self {
        let name = format!("law_{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let server = Server::start(&name).expect("a test without a server is excused");
        let proxy = Proxy::before(&server.url).await;
        server.sink().probe().await.unwrap();
        Influxdb { server, proxy }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let mut config = self.server.config();
        config.connection_url = Some(List::One(self.proxy.url.as_str().into()));
        // The proxy looks for a name in the body.
        config.gzip = false;
        config.timeout = "1s".parse().unwrap();
        config.build("influxdb").unwrap()
    }

    async fn fail(&mut self) {
        self.proxy.set(Fault::Away).await;
    }

    async fn heal(&mut self) {
        self.proxy.set(Fault::None).await;
    }

    async fn refuse(&mut self) {
        self.proxy.set(REFUSED).await;
    }

    async fn names(&self) -> Vec<String> {
        self.column("SELECT \"name\" FROM /.*/").await
    }

    async fn value(&self, name: &str) -> String {
        self.column(&format!("SELECT \"text\" FROM /.*/ WHERE \"name\" = '{name}'")).await.remove(0)
    }

    fn secret(&self) -> Option<&str> {
        Some(&self.server.password)
    }

    fn excuse(law: &str) -> Option<&'static str> {
        if Server::missing().is_some() {
            return Some("skipped: no influxd here; get it with scripts/servers/influxdb.sh get");
        }
        (law == "a_repeated_client_id_replaces")
            .then_some("InfluxDB has no ids; see docs/influxdb.md on its times")
    }
}

impl Remote for Influxdb {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

complies!(Influxdb);
survives!(Influxdb);

impl Influxdb {
    /// The column behind the time, of all measurements.
    async fn column(&self, query: &str) -> Vec<String> {
        let series = self.server.query(query).await;
        let rows = series.iter().flat_map(|series| series["values"].as_array().unwrap());
        rows.map(|row| row[1].as_str().map_or_else(|| Value::to_string(&row[1]), str::to_owned)).collect()
    }
}
