//! Brokers that are reached with TLS, and take only those whom they know.

use serde_json::Value;

use crate::client::{self, assert_each_once};
use crate::process::{Daemon, SQLITE, Start, count};
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

/// The daemon at a source with these keys.
fn start(keys: &str) -> Daemon {
    Daemon::start(&format!("[[source]]\n{keys}\n{SQLITE}"))
}

fn counter(status: &Value, name: &str) -> u64 {
    count(&status["sources"][0]["counters"][name])
}

/// Until so many messages are acknowledged.
fn until_acknowledged(daemon: &Daemon, messages: u64) -> Value {
    daemon.until("acknowledged", |status| counter(status, "messages_acknowledged") == messages)
}

/// All that the client reports to it is stored.
fn assert_taken(keys: &str) {
    let daemon = start(keys);
    let status = until_acknowledged(&daemon, 16);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (14, 2));
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("name").len(), 14);
}

/// The source cannot use the broker, and says whether that is since it does not trust it.
fn assert_refused(keys: &str, is_for_trust: bool) {
    let daemon = start(keys);
    let status = daemon.until("refused", |status| status["sources"][0]["state"] == "retrying");
    let error = status["sources"][0]["last_error"].as_str().unwrap();
    assert_eq!(error.contains("invalid peer certificate"), is_for_trust, "{error}");
    assert_eq!(counter(&status, "messages_taken"), 0);
    daemon.end();
}

#[test]
fn celery_and_rq_on_a_redis_take_the_url_that_the_application_has() {
    if !client::have() {
        return;
    }
    let (authority, other) = (Authority::new("127.0.0.1"), Authority::new("127.0.0.1"));
    let Some(server) = redis::Server::start_with("redis_tls", &[&option(&authority)]) else { return };
    let place = format!("rediss://127.0.0.1:{}/0", port(&server.url) - 10_000);
    let [ca, certificate, key] = files(&authority);
    let words =
        format!("ssl_cert_reqs=required&ssl_ca_certs={ca}&ssl_certfile={certificate}&ssl_keyfile={key}");
    let url = format!("{place}?{words}");
    let [other_ca, ..] = files(&other);
    for (kind, key) in [("celery", "broker"), ("rq", "redis_url")] {
        client::end(client::start(&[kind, &url, "metrics"]));
        assert_taken(&format!("type = '{kind}'\n{key} = '{url}'\nqueue_name = 'metrics'"));
        assert_refused(&format!("type = '{kind}'\n{key} = '{place}?ssl_ca_certs={other_ca}'"), true);
    }
    // By the table, with the Redis of results too.
    client::end(client::start(&["celery", &url, "metrics"]));
    let table = format!("tls = {{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}");
    let source = format!("type = 'celery'\nbroker = '{place}'\nqueue_name = 'metrics'\n{table}");
    assert_taken(&format!("{source}\nresult_backend = '{place}'"));
    assert_eq!(server.ask::<Vec<String>>("KEYS celery-task-meta-*").len(), 16);

    let daemon = start(&source);
    client::end(client::start(&["celery", &url, "metrics", "50"]));
    until_acknowledged(&daemon, 50);
    server.kill();
    daemon.until("away", |status| status["sources"][0]["state"] == "retrying");
    server.restart();
    client::end(client::start(&["celery", &url, "metrics", "50"]));
    until_acknowledged(&daemon, 100);
    daemon.end();
}

#[test]
fn celery_on_a_rabbitmq_is_reached_with_tls() {
    if !client::have() {
        return;
    }
    let (authority, other) = (Authority::new("127.0.0.1"), Authority::new("127.0.0.1"));
    let Some(server) = rabbit::Server::own_with("rabbitmq_tls", &[&option(&authority)]) else { return };
    client::end(client::start(&["celery", &server.url, "metrics"]));
    let place = format!("amqps://127.0.0.1:{}", port(&server.url) + 3);
    let source = format!("type = 'celery'\nbroker = '{place}'\nqueue_name = 'metrics'");
    let ([ca, certificate, key], [other_ca, ..]) = (files(&authority), files(&other));
    assert_refused(&format!("{source}\ntls = {{ ca = '{other_ca}' }}"), true);
    // It asks for our certificate, and may be gone before it says so.
    assert_refused(&format!("{source}\ntls = {{ ca = '{ca}' }}"), false);
    let source = format!("{source}\ntls = {{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}");
    assert_taken(&source);

    client::end(client::start(&["celery", &server.url, "metrics", "1000"]));
    let daemon = start(&source);
    until_acknowledged(&daemon, 1000);
    server.restart();
    client::end(client::start(&["celery", &server.url, "metrics"]));
    // No counter says it exactly: what the broker has forgotten to be done with comes again.
    daemon.until("all stored and acknowledged", |status| {
        counter(status, "messages_acknowledged") >= 1016
            && count(&status["sinks"][0]["delivered"]) >= 1014
            && daemon.rows("id").len() == 1014
    });
    let (_, ended) = daemon.end();
    let mut many = ended.rows("name || ' ' || cast(value as integer)");
    many.retain(|row| row.starts_with("many "));
    assert_each_once(many.iter().map(|row| row["many ".len()..].to_owned()).collect(), 1000);
}

#[test]
fn what_tls_cannot_be_had_with_is_said_by_its_key() {
    let refused = |keys: &str| Start::exactly(&format!("[[source]]\n{keys}\n{SQLITE}")).refusal().1;
    let no_file = "tls.ca /nowhere/ca: No such file";
    let said = refused("type = 'celery'\nbroker = 'rediss://127.0.0.1/0'\ntls = { ca = '/nowhere/ca' }");
    assert!(said.contains(no_file), "{said}");
    let said = refused("type = 'rq'\nredis_url = 'rediss://127.0.0.1/0?ssl_ca_certs=/nowhere/ca'");
    assert!(said.contains(&format!("redis_url: {no_file}")), "{said}");
    for keys in ["type = 'celery'", "type = 'celery'\nbroker = 'amqp://127.0.0.1'", "type = 'rq'"] {
        let said = refused(&format!("{keys}\ntls = {{}}"));
        assert!(said.contains("tls is set, but no server is reached with it"), "{said}");
    }
}
