//! What Kaneda's own worker stores, and what the daemon stores of the same calls: each document, field by field, in
//! every store over every queue.
//!
//! The worker and the client are kaneda 1.0 from PyPI, unchanged, with the drivers of its time; brokers and stores are
//! the real ones, or what other tests have in their place. `differences/` lists for each store all that is not the same,
//! each with the row of `docs/from-kaneda.md` that says why. What is not listed fails, and so does what is listed and
//! not seen.
//!
//! `scripts/test-tools.sh` gets everything. What is missing is said, and the test skipped, or failed where
//! `KANEDA_TEST_REQUIRE_CLIENTS` or `KANEDA_TEST_REQUIRE_SERVERS` is set.

#![allow(clippy::unwrap_used)]

#[path = "../queues/broker.rs"]
mod broker;
#[allow(dead_code, reason = "made for the tests of queues")]
#[path = "../queues/client.rs"]
mod client;
mod difference;
mod document;
mod elasticsearch;
mod influxdb;
mod log;
mod mongodb;
#[path = "../daemon/network.rs"]
mod network;
#[path = "../daemon/process.rs"]
mod process;
mod queue;
#[allow(dead_code, reason = "made for the tests of queues")]
#[path = "../queues/rabbit.rs"]
mod rabbit;
#[allow(dead_code, reason = "made for the tests of queues")]
#[path = "../queues/redis.rs"]
mod redis;
mod rethinkdb;
mod run;
mod shared;
mod worker;

use queue::Queue;
use run::compare;

/// A test: a store, and the queue that both take the reports from.
macro_rules! compared {
    ($($name:ident: $store:expr, $queue:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let test = stringify!($name);
            if client::have() && let Some(queue) = Queue::$queue(test) && let Some(store) = $store(test).await {
                compare(store, queue).await;
            }
        })*
    };
}

compared! {
    a_log_over_zeromq: log::Files::new, zmq;
    a_log_over_celery: log::Files::new, celery;
    a_log_over_rabbitmq: log::Files::new, rabbitmq;
    a_log_over_rq: log::Files::new, rq;
    influxdb_over_zeromq: influxdb::Server::start, zmq;
    influxdb_over_celery: influxdb::Server::start, celery;
    influxdb_over_rabbitmq: influxdb::Server::start, rabbitmq;
    influxdb_over_rq: influxdb::Server::start, rq;
    rethinkdb_over_zeromq: rethinkdb::Server::start, zmq;
    rethinkdb_over_celery: rethinkdb::Server::start, celery;
    rethinkdb_over_rabbitmq: rethinkdb::Server::start, rabbitmq;
    rethinkdb_over_rq: rethinkdb::Server::start, rq;
    mongodb_over_zeromq: mongodb::Server::start, zmq;
    mongodb_over_celery: mongodb::Server::start, celery;
    mongodb_over_rabbitmq: mongodb::Server::start, rabbitmq;
    mongodb_over_rq: mongodb::Server::start, rq;
    elasticsearch_over_zeromq: elasticsearch::Server::start, zmq;
    elasticsearch_over_celery: elasticsearch::Server::start, celery;
    elasticsearch_over_rabbitmq: elasticsearch::Server::start, rabbitmq;
    elasticsearch_over_rq: elasticsearch::Server::start, rq;
}
