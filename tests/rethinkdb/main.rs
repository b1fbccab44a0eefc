//! RethinkDB: what is stored there, what is refused, and what a network can do. With a stand-in, or where
//! `KANEDA_TEST_RETHINKDB=host:port` names one with the real server.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod client;
mod docs;
mod fault;
#[allow(dead_code, unreachable_pub, reason = "it is made for the laws of all sinks")]
#[path = "../compliance/flow.rs"]
mod flow;
#[path = "../store/page.rs"]
mod page;
#[path = "../proxy/mod.rs"]
mod proxy;
mod refused;
#[path = "../store/report.rs"]
mod report;
mod server;
mod standin;
mod stored;
mod tls;
