//! Results of tasks, for an application of Python's that waits for them.

use serde_json::Value;

use crate::client;
use crate::process::{Daemon, SQLITE, count, named};
use crate::redis::Server;

fn assert_told(broker: &str, backend: &Server) {
    let backend = format!("{}/1", backend.url);
    let keys = format!("queue_name = 'results'\nresult_backend = '{backend}'");
    let daemon =
        Daemon::start(&format!("[[source]]\ntype = 'celery'\nbroker = '{broker}'\n{keys}\n{SQLITE}"));
    let counter = |status: &Value, name| count(&named(&status["sources"], "celery")["counters"][name]);
    daemon.until("connected", |status| count(&named(&status["sources"], "celery")["connections"]) == 1);
    let said = client::end(client::python(&["tests/queues/celery_result.py", broker, &backend, "results"]));
    let said: Vec<_> = said.lines().collect();
    assert_eq!((said[0], &said[2..]), ("None SUCCESS", &["expired", "expired", "0 True"][..]), "{said:?}");
    assert!(said[1].starts_with("not_finite: "), "{said:?}");
    let status = daemon.until("all done", |status| counter(status, "messages_acknowledged") == 5);
    assert_eq!((counter(&status, "results"), counter(&status, "results_failed")), (4, 0));
    assert_eq!(counter(&status, "messages_expired"), 2);
    assert_eq!(daemon.stored(2, "cast(value as integer)"), ["0", "1"]);
}

#[test]
fn a_task_of_redis_is_waited_for_and_told() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start_with("celery_results", &[]) else { return };
    assert_told(&format!("{}/0", server.url), &server);
}

#[cfg(feature = "amqp")]
#[test]
fn a_task_of_rabbitmq_is_waited_for_and_told() {
    if !client::have() {
        return;
    }
    let Some(backend) = Server::start_with("rabbitmq_results", &[]) else { return };
    let Some(server) = crate::rabbit::Server::shared("rabbitmq_results") else { return };
    assert_told(&server.url, &backend);
}

#[test]
fn a_backend_that_is_away_holds_up_no_report() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("celery_no_results") else { return };
    client::end(client::start(&["celery", &server.url, "", "100"]));
    let (broker, backend) = (format!("{}/0", server.url), "redis://127.0.0.1:1/0");
    let daemon = Daemon::start(&format!(
        "[[source]]\ntype = 'celery'\nbroker = '{broker}'\nresult_backend = '{backend}'\n{SQLITE}"
    ));
    let counter = |status: &Value, name| count(&named(&status["sources"], "celery")["counters"][name]);
    let status = daemon.until("all done", |status| counter(status, "messages_acknowledged") == 100);
    assert_eq!((counter(&status, "results"), counter(&status, "results_failed")), (0, 100));
    daemon.end();
}
