//! The Elasticsearch sink against the real servers, one version after the other: a Java server takes a gigabyte, so
//! all tests of a version share one, and it is stopped before the next. Without a server its tests say that they are
//! skipped.
//!
//! `cargo test --test elasticsearch -- conflict` runs the tests with `conflict` in their names.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

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
    let tests: Vec<&Test> = [layout::TESTS, operate::TESTS, network::TESTS, docs::TESTS]
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_wanted(name))
        .collect();
    let mut failed = Vec::new();
    for version in Version::chosen() {
        if let Some(why) = version.missing() {
            println!("skipped {} tests: {why}", tests.len());
            continue;
        }
        failed.extend(run(&version, &tests));
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

/// Runs tests against a server of this version. Returns those that failed.
fn run(version: &Version, tests: &[&Test]) -> Vec<String> {
    if tests.is_empty() {
        return Vec::new();
    }
    let server = Arc::new(Server::start(version, false));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut failed = Vec::new();
    for (name, test) in tests {
        let server = Arc::clone(&server);
        let run = AssertUnwindSafe(|| runtime.block_on(test(server)));
        failed.extend(report(version, name, std::panic::catch_unwind(run).is_ok()));
    }
    failed
}

/// Says what came of a test. Returns its name if it failed.
fn report(version: &Version, name: &str, is_ok: bool) -> Option<String> {
    println!("test {version}: {name} ... {}", if is_ok { "ok" } else { "FAILED" });
    (!is_ok).then(|| format!("{version}: {name}"))
}
