//! What every sink promises, tested through the drain that drives it in the daemon.
//!
//! A store that is to be tested implements [`Subject`](subject::Subject) in a file of its own, and names itself in
//! `complies!`. `laws.rs` holds the tests. One behind a network is also a [`Remote`](outage::Remote), and named in
//! `survives!`; `outage.rs` holds those.

#![expect(unreachable_pub, reason = "nothing outside uses a test")]
#![cfg_attr(not(feature = "remote"), allow(unused, reason = "some laws are for stores behind a network"))]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod flow;
mod laws;
#[cfg(feature = "remote")]
mod outage;
#[cfg(feature = "remote")]
#[path = "../proxy/mod.rs"]
mod proxy;
mod subject;

#[cfg(feature = "log")]
mod log;
mod null;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "influxdb")]
mod bucket;
#[cfg(feature = "elasticsearch")]
mod elasticsearch;
#[cfg(feature = "influxdb")]
mod influxdb;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "rethinkdb")]
mod rethinkdb;
