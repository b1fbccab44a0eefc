//! InfluxDB 2's protocol under the laws of outages: the real VictoriaMetrics, behind a proxy that fails as it is told.

#[allow(dead_code, reason = "the laws ask less of it than its own tests")]
#[path = "../influxdb/victoriametrics.rs"]
mod victoriametrics;

use std::sync::atomic::{AtomicUsize, Ordering};

use kaneda::sink::Sink;

use crate::outage::{Remote, survives};
use crate::proxy::{Fault, Proxy};
use crate::subject::Subject;
use victoriametrics::VictoriaMetrics;

/// Tells the servers of tests apart that run at the same time.
static STARTED: AtomicUsize = AtomicUsize::new(0);

struct Bucket {
    server: VictoriaMetrics,
    proxy: Proxy,
}

impl Subject for Bucket {
    async fn start() -> Self {
        let name = format!("law-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let server = VictoriaMetrics::start(&name).expect("a test without a server is excused");
        let proxy = Proxy::before(&server.url).await;
        Bucket { server, proxy }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let mut config = VictoriaMetrics::config(&self.proxy.url);
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
        unreachable!("no law of outages asks for it");
    }

    /// Of the reports of these laws, whose values tell them apart as their names do: texts are not kept. What InfluxDB
    /// takes for one point, the same value of the same series at the same time, is there as often as it was written.
    async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for metric in ["counter_value", "gauge_value"] {
            let mut samples = self.server.samples(metric).await;
            samples.dedup();
            names.extend(samples.into_iter().map(|(_, value, _)| format!("report.{value}")));
        }
        names
    }

    async fn value(&self, _name: &str) -> String {
        unreachable!("no law of outages asks for it");
    }

    fn excuse(_law: &str) -> Option<&'static str> {
        VictoriaMetrics::missing()
    }
}

impl Remote for Bucket {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

survives!(Bucket);
