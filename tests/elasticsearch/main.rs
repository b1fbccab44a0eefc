//! The Elasticsearch sink against the real servers, one version after the other: a Java server takes a gigabyte, so
//! all tests of a version share one, some at a time, and it is stopped before the next. Without a server its tests say
//! that they are skipped.
//!
//! `cargo test --test elasticsearch -- conflict` runs the tests with `conflict` in their names.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod cluster;
mod docs;
mod layout;
mod network;
mod operate;
#[path = "../store/page.rs"]
mod page;
#[path = "../proxy/mod.rs"]
mod proxy;
#[path = "../store/report.rs"]
mod report;
mod server;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use server::{Server, Version};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// So many tests of a version run at a time: they wait for the server more than they work.
const AT_A_TIME: usize = 4;

/// A test, and what it is called.
type Test = (&'static str, fn(Arc<Server>) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// The list of the tests of a module.
macro_rules! tests {
    ($($name:ident)*) => {
        pub(crate) const TESTS: &[crate::Test] = &[$((stringify!($name), |server| Box::pin($name(server)))),*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let chosen = |modules: &[&'static [Test]]| -> Vec<&'static Test> {
        modules.iter().copied().flatten().filter(|(name, _)| is_wanted(name)).collect()
    };
    let shared = chosen(&[layout::TESTS, operate::TESTS, network::TESTS, docs::TESTS]);
    let alone = chosen(&[cluster::TESTS]);
    let mut failed = Vec::new();
    for version in Version::chosen() {
        if let Some(why) = version.missing() {
            println!("skipped {} tests: {why}", shared.len() + alone.len());
            continue;
        }
        failed.extend(run(&version, &shared, &alone));
    }
    let secured = Version { product: "elasticsearch".to_owned(), number: "8.17".to_owned() };
    let name = "a_secured_server_is_written_to";
    if is_wanted(name) && Version::chosen().contains(&secured) && secured.missing().is_none() {
        let run = AssertUnwindSafe(|| network::a_secured_server_is_written_to(&secured));
        failed.extend(report(&secured, name, std::panic::catch_unwind(run).is_ok()));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed:\n    {}", failed.join("\n    "));
    ExitCode::FAILURE
}

/// Runs tests against a server of this version: `shared` some at a time, then `alone` one after the other. Returns
/// those that failed.
fn run(version: &Version, shared: &[&'static Test], alone: &[&'static Test]) -> Vec<String> {
    if shared.is_empty() && alone.is_empty() {
        return Vec::new();
    }
    let server = Arc::new(Server::start(version, false));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = runtime.block_on(async {
        let mut failed = side_by_side(version, &server, shared, AT_A_TIME).await;
        failed.extend(side_by_side(version, &server, alone, 1).await);
        failed
    });
    // What a test left running has the server too.
    drop(runtime);
    failed
}

/// Runs tests, at most so many at a time.
async fn side_by_side(
    version: &Version,
    server: &Arc<Server>,
    tests: &[&'static Test],
    at_a_time: usize,
) -> Vec<String> {
    let free = Arc::new(Semaphore::new(at_a_time));
    let mut running = JoinSet::new();
    for (name, test) in tests {
        let (free, server) = (Arc::clone(&free), Arc::clone(server));
        running.spawn(async move {
            let _turn = free.acquire_owned().await.unwrap();
            (*name, tokio::spawn(test(server)).await.is_ok())
        });
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        let (name, is_ok) = done.unwrap();
        failed.extend(report(version, name, is_ok));
    }
    failed
}

/// Says what came of a test. Returns its name if it failed.
fn report(version: &Version, name: &str, is_ok: bool) -> Option<String> {
    println!("test {version}: {name} ... {}", if is_ok { "ok" } else { "FAILED" });
    (!is_ok).then(|| format!("{version}: {name}"))
}
