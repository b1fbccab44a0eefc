//! Kaneda's queues: the unchanged PyPI client, the real brokers, and what of its reports lies in SQLite.
//!
//! `scripts/test-tools.sh` gets the client and `scripts/servers/redis.sh` the server. Without one a test says that it is
//! skipped, or fails where `KANEDA_TEST_REQUIRE_CLIENTS` is set.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "celery")]
mod celery;
mod client;
#[cfg(feature = "celery")]
mod known;
#[path = "../daemon/network.rs"]
mod network;
#[path = "../daemon/process.rs"]
mod process;
#[cfg(any(feature = "celery", feature = "rq"))]
mod redis;
#[cfg(feature = "rq")]
mod rq;
#[cfg(feature = "zmq")]
mod zmq;
