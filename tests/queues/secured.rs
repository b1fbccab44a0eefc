//! Brokers that are reached with TLS, and take only those whom they know.

use crate::client;
use crate::process::{Daemon, SQLITE, Start, count, named};
use crate::tls::Authority;
use crate::{rabbit, redis};

/// The port of an address.
fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// Has the script of a broker speak TLS.
fn option(authority: &Authority) -> String {
    format!("--tls={}", authority.path("server.pem").parent().unwrap().display())
}

/// Whom to trust, and our certificate and key.
fn files(authority: &Authority) -> [String; 3] {
    ["ca.pem", "client.pem", "client.key"].map(|name| authority.path(name).display().to_string())
}

/// The daemon at a source with these keys, until all 16 messages of the client are acknowledged.
fn run(keys: &str) {
    let daemon = Daemon::start(&format!("[[source]]\n{keys}\n{SQLITE}"));
    let status = daemon.until("all acknowledged", |status| {
        count(&status["sources"][0]["counters"]["messages_acknowledged"]) == 16
    });
    let counters = &status["sources"][0]["counters"];
    assert_eq!((count(&counters["messages_taken"]), count(&counters["messages_unread"])), (14, 2));
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("name").len(), 14);
}

/// A source that does not trust the broker says so, and takes nothing.
fn assert_refused(keys: &str) {
    let daemon = Daemon::start(&format!("[[source]]\n{keys}\n{SQLITE}"));
    let status = daemon.until("refused", |status| status["sources"][0]["state"] == "retrying");
    let error = status["sources"][0]["last_error"].as_str().unwrap();
    assert!(error.contains("invalid peer certificate: UnknownIssuer"), "{error}");
    daemon.end();
}

#[test]
fn celery_and_rq_on_a_redis_take_the_url_that_the_application_has() {
    if !client::have() {
        return;
    }
    let authority = Authority::new("127.0.0.1");
    let tls = option(&authority);
    let Some(server) = redis::Server::start_with("redis_tls", &["--durable", &tls]) else { return };
    let place = format!("rediss://127.0.0.1:{}/0", port(&server.url) - 10_000);
    let [ca, certificate, key] = files(&authority);
    let words =
        format!("ssl_cert_reqs=required&ssl_ca_certs={ca}&ssl_certfile={certificate}&ssl_keyfile={key}");
    let url = format!("{place}?{words}");
    for (kind, key) in [("celery", "broker"), ("rq", "redis_url")] {
        client::end(client::start(&[kind, &url, "metrics"]));
        run(&format!("type = '{kind}'\n{key} = '{url}'\nqueue_name = 'metrics'"));
        assert_refused(&format!("type = '{kind}'\n{key} = '{place}'"));
    }
    let source = format!("type = 'celery'\nbroker = '{url}'\nvisibility_timeout = '2s'\nprefetch = 100");
    client::end(client::start(&["celery", &url, "", "1000"]));
    let daemon = Daemon::start(&format!("[[source]]\n{source}\n{SQLITE}"));
    daemon.until_delivered("sqlite", 100);
    server.restart();
    daemon.until("the queue empty", |_| {
        server.ask::<u64>("LLEN celery") == 0 && server.ask::<u64>("HLEN unacked") == 0
    });
    daemon.until_delivered("sqlite", 1000);
    let (_, ended) = daemon.end();
    client::assert_each_once(ended.rows("cast(value as integer)"), 1000);
    // By the table, with the Redis of results too.
    client::end(client::start(&["celery", &url, "metrics"]));
    let table = format!("tls = {{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}");
    run(&format!(
        "type = 'celery'\nbroker = '{place}'\nresult_backend = '{place}'\nqueue_name = 'metrics'\n{table}"
    ));
    assert!(server.ask::<Vec<String>>("KEYS celery-task-meta-*").len() == 16);
}

#[test]
fn celery_on_a_rabbitmq_is_reached_with_tls() {
    if !client::have() {
        return;
    }
    let authority = Authority::new("127.0.0.1");
    let tls = option(&authority);
    let Some(server) = rabbit::Server::own_with("rabbitmq_tls", &[&tls]) else { return };
    client::end(client::start(&["celery", &server.url, "metrics"]));
    let place = format!("amqps://127.0.0.1:{}", port(&server.url) + 3);
    let source = format!("type = 'celery'\nbroker = '{place}'\nqueue_name = 'metrics'");
    assert_refused(&source);
    let [ca, certificate, key] = files(&authority);
    run(&format!("{source}\ntls = {{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}"));
    // It asks for our certificate.
    let stranger = Daemon::start(&format!("[[source]]\n{source}\ntls = {{ ca = '{ca}' }}\n{SQLITE}"));
    stranger.until("refused", |status| named(&status["sources"], "celery")["state"] == "retrying");
    stranger.end();
}

#[test]
fn what_tls_cannot_be_had_with_is_said_by_its_key() {
    let broker =
        "[[source]]\ntype = 'celery'\nbroker = 'rediss://127.0.0.1/0'\ntls = { ca = '/nowhere/ca' }\n";
    let (_, refused) = Start::exactly(&format!("{broker}{SQLITE}")).refusal();
    assert!(refused.contains("tls.ca /nowhere/ca: No such file"), "{refused}");
    for broker in ["type = 'celery'", "type = 'celery'\nbroker = 'amqp://127.0.0.1'", "type = 'rq'"] {
        let unused = format!("[[source]]\n{broker}\ntls = {{}}\n{SQLITE}");
        let (_, refused) = Start::exactly(&unused).refusal();
        assert!(refused.contains("tls is set, but no server is reached with it"), "{refused}");
    }
}
