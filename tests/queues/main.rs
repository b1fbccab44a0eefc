//! Kaneda's queues: the unchanged PyPI client, the real brokers, and what of its reports lies in SQLite.
//!
//! `scripts/test-tools.sh` gets the client, and the servers by `scripts/servers/redis.sh` and `rabbitmq.sh`. Without one a
//! test says that it is skipped, or fails where `KANEDA_TEST_REQUIRE_CLIENTS` or `KANEDA_TEST_REQUIRE_SERVERS` is set.

#![allow(clippy::unwrap_used)]

mod away;
#[cfg(any(feature = "celery", feature = "rq"))]
mod broker;
#[cfg(feature = "celery")]
mod celery;
mod client;
#[cfg(feature = "celery")]
mod known;
mod line;
#[path = "../daemon/network.rs"]
mod network;
#[path = "../daemon/process.rs"]
mod process;
#[cfg(feature = "amqp")]
mod rabbit;
#[cfg(feature = "amqp")]
mod rabbitmq;
#[cfg(any(feature = "celery", feature = "rq"))]
#[cfg_attr(not(feature = "rq"), allow(dead_code, reason = "in part made for RQ"))]
mod redis;
#[cfg(feature = "celery")]
mod result;
#[cfg(feature = "rq")]
mod rq;
#[cfg(all(feature = "amqp", feature = "rq"))]
mod secured;
#[cfg(all(feature = "amqp", feature = "rq"))]
#[path = "../tls/mod.rs"]
mod tls;
#[cfg(feature = "zmq")]
mod zmq;
