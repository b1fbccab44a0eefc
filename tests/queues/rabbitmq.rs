//! Celery on a real RabbitMQ: what the unchanged client sends is stored once, whoever dies in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::Value;

use crate::client::{self, assert_each_once};
use crate::process::{Daemon, NO_JOURNAL, SQLITE, Start, count, named};
use crate::rabbit::{Client, Server};

const REPORT: &str = "kaneda.tasks.celery.report";

fn config(server: &Server, queue: &str, keys: &str) -> String {
    let url = &server.url;
    format!("[[source]]\ntype = 'celery'\nbroker = '{url}'\nqueue_name = '{queue}'\n{keys}\n{SQLITE}")
}

fn counter(status: &Value, name: &str) -> u64 {
    count(&named(&status["sources"], "celery")["counters"][name])
}

/// Whether nothing of the queue is left, neither at the broker nor in hand. Not to be asked once a connection was lost: what was
/// in hand then is delivered again, and counted again, or it is not, if the broker has heard a word that we do not know it has.
fn is_done(status: &Value, client: &Client, queue: &str) -> bool {
    let stored = ["taken", "known", "unread", "expired"];
    let stored: u64 = stored.iter().map(|name| counter(status, &format!("messages_{name}"))).sum();
    counter(status, "messages_acknowledged") == stored && client.waiting(queue) == 0
}

/// The dead letters of the source.
fn letters(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const LETTERS: &str = "kaneda-data/dead/source-celery.jsonl";

/// The properties of a task of protocol 2.
fn properties(task: &str, id: &str, headers: &[(&str, AMQPValue)]) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert("task".into(), AMQPValue::LongString(task.into()));
    table.insert("id".into(), AMQPValue::LongString(id.into()));
    table.insert("retries".into(), AMQPValue::ShortShortInt(0));
    table.insert("expires".into(), AMQPValue::Void);
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    let properties = BasicProperties::default().with_content_type("application/json".into());
    properties.with_content_encoding("utf-8".into()).with_correlation_id(id.into()).with_headers(table)
}

fn publish(client: &Client, queue: &str, task: &str, id: &str, headers: &[(&str, AMQPValue)]) {
    let body = format!(r#"[["{id}","gauge",1,null,null],{{}},{{}}]"#);
    client.publish(queue, properties(task, id, headers), body.as_bytes());
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[test]
fn what_kaneda_reports_is_stored_with_the_id_of_its_task() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::shared("rabbitmq_reports") else { return };
    // The daemon makes the queue, and the client finds it as it would have made it.
    let daemon = Daemon::start(&config(server, "metrics", ""));
    daemon.until("connected", |status| count(&named(&status["sources"], "celery")["connections"]) == 1);
    client::end(client::start(&["celery", &server.url, "metrics"]));
    let status = daemon.until("all acknowledged", |status| counter(status, "messages_acknowledged") == 16);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (14, 2));
    let place = named(&status["sources"], "celery")["listen"].as_str().unwrap().to_owned();
    assert_eq!(place, format!("{}/ metrics", server.url));
    let (_, ended) = daemon.end();
    assert_eq!(server.client().waiting("metrics"), 0);
    client::compare(
        ended.rows(client::COLUMNS),
        &[r#"custom at - - - here {"at":"2026-01-02T03:04:05.000678"}"#, "gauge decimal 1.5 1.50 - here -"],
    );
    // Those that have no id of their own have that of the task: a UUID.
    let mut ids = ended.rows("id");
    ids.retain(|id| id != "2B75D750");
    assert!(ids.len() == 13 && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let reasons: Vec<_> = letters(&std::fs::read_to_string(ended.path(LETTERS)).unwrap())
        .iter()
        .map(|letter| letter["reason"].clone())
        .collect();
    assert_eq!(reasons, ["not_finite", "not_finite"]);
}

/// JSON as kombu puts it into a header.
fn header(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(is_true) => AMQPValue::Boolean(*is_true),
        Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().unwrap()),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            AMQPValue::FieldArray(FieldArray::from(items.iter().map(header).collect::<Vec<_>>()))
        }
        Value::Object(members) => {
            let mut table = FieldTable::default();
            for (name, value) in members {
                table.insert(name.as_str().into(), header(value));
            }
            AMQPValue::FieldTable(table)
        }
    }
}

#[test]
fn recorded_messages_of_every_release_of_celery_are_stored() {
    let Some(server) = Server::shared("rabbitmq_recorded") else { return };
    let client = server.client();
    for (release, taken, unread) in [("n27", 18, 3), ("n311rq1", 17, 2), ("n313", 17, 2)] {
        let path = format!("{}/tests/data/queue/celery_amqp_{release}.json", env!("CARGO_MANIFEST_DIR"));
        let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        client.declare(release, &[]);
        for message in &messages {
            let AMQPValue::FieldTable(headers) = header(&message["application_headers"]) else { panic!() };
            let word = |name: &str| message[name].as_str().unwrap();
            let properties = BasicProperties::default()
                .with_content_type(word("content_type").into())
                .with_content_encoding(word("content_encoding").into())
                .with_correlation_id(word("correlation_id").into())
                .with_headers(headers);
            client.publish(release, properties, &STANDARD.decode(word("body")).unwrap());
        }
        let daemon = Daemon::start(&config(server, release, ""));
        let status = daemon.until("all acknowledged", |status| {
            is_done(status, &client, release) && counter(status, "messages") == taken + unread
        });
        assert_eq!(
            (counter(&status, "messages_taken"), counter(&status, "messages_unread")),
            (taken, unread)
        );
        daemon.until_delivered("sqlite", taken);
        let (_, ended) = daemon.end();
        let signup = ended.rows("name, text, id");
        let signup: Vec<_> = signup.iter().filter(|row| row.starts_with("user.signup ")).collect();
        let id = messages.iter().map(|message| message["correlation_id"].as_str().unwrap());
        assert_eq!(signup.len(), 1);
        assert!(
            signup[0].contains("New user régistered ☃") && id.into_iter().any(|id| signup[0].ends_with(id))
        );
    }
}

#[test]
fn a_daemon_that_is_killed_loses_nothing_and_stores_nothing_twice() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::shared("rabbitmq_kill") else { return };
    let client = server.client();
    // Without a journal their ids are all that is known of the messages.
    for journal in ["", NO_JOURNAL] {
        client::end(client::start(&["celery", &server.url, "kill", "3000"]));
        // Few at a time, so that it is not done with all of them by then.
        let config = config(server, "kill", "prefetch = 10") + journal;
        let killed = Daemon::start(&config);
        killed.until("some acknowledged", |status| counter(status, "messages_acknowledged") > 100);
        let ended = killed.kill();
        let left = client.waiting("kill");
        assert!((1..3000).contains(&left), "{left}: it was killed too late");
        let daemon = Start::again(ended).daemon();
        // By then there is a store to look into.
        daemon.until_delivered("sqlite", 1);
        daemon.until("all stored, and the queue empty", |status| {
            daemon.rows("id").len() == 3000 && is_done(status, &client, "kill")
        });
        let (_, ended) = daemon.end();
        assert_eq!(client.waiting("kill"), 0);
        assert_each_once(ended.rows("cast(value as integer)"), 3000);
    }
}

#[test]
fn a_broker_that_is_killed_comes_back_with_all_that_was_not_acknowledged() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::own("rabbitmq_broker") else { return };
    client::end(client::start(&["celery", &server.url, "", "2000"]));
    // Celery does not wait for the broker's word. Once it gives its word for this one, all before it are on disk too.
    publish(&server.client(), "celery", REPORT, "over", &[("expires", text("2020-01-01T00:00:00+00:00"))]);
    let daemon = Daemon::start(&config(&server, "", "prefetch = 50"));
    daemon.until_delivered("sqlite", 100);
    server.restart();
    let client = server.client();
    // No counter says when it is done: the broker may have forgotten what it was told, and delivers that again.
    daemon.until("all stored, and the queue empty", |status| {
        counter(status, "connections_opened") >= 2
            && daemon.rows("id").len() == 2000
            && client.waiting("celery") == 0
    });
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 2000);
}

#[test]
fn a_python_worker_beside_the_daemon_shares_its_queue_without_loss() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::shared("rabbitmq_shared") else { return };
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let mut worker =
        client::python(&["tests/queues/celery_worker.py", &server.url, "side", done.to_str().unwrap()]);
    while !done.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(worker.try_wait().unwrap().is_none(), "Celery's worker has ended");
    }
    let daemon = Daemon::start(&config(server, "side", "prefetch = 20"));
    daemon.until("connected", |status| count(&named(&status["sources"], "celery")["connections"]) == 1);
    let by_worker =
        || std::fs::read_to_string(&done).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    client::end(client::start(&["celery", &server.url, "side", "1000"]));
    daemon.until("all done", |status| {
        counter(status, "messages_acknowledged") + by_worker().len() as u64 == 1000
    });
    // Its acknowledgements may still be on their way: it ends in order.
    let told = std::process::Command::new("kill").args(["-TERM", &worker.id().to_string()]).status();
    assert!(told.unwrap().success());
    assert!(crate::process::wait(|| worker.try_wait().unwrap().is_some()), "Celery's worker does not end");
    let (_, ended) = daemon.end();
    let by_daemon = ended.rows("cast(value as integer)");
    assert!(!by_daemon.is_empty() && !by_worker().is_empty());
    assert_each_once([by_daemon, by_worker()].concat(), 1000);
}

#[test]
fn a_message_for_another_task_is_left_to_others_unless_told() {
    let Some(server) = Server::shared("rabbitmq_others") else { return };
    let client = server.client();
    client.declare("others", &[("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "others.dead")]);
    client.declare("others.dead", &[]);
    publish(&client, "others", "shop.mail", "other", &[]);
    publish(&client, "others", REPORT, "report", &[]);
    let daemon = Daemon::start(&config(server, "others", "prefetch = 1"));
    daemon.until("the other back again", |status| counter(status, "messages_returned") > 2);
    let status =
        daemon.until("the report acknowledged", |status| counter(status, "messages_acknowledged") == 1);
    // It is not taken over and over: two seconds lie between.
    let started = jiff::Timestamp::now();
    let returned = counter(&status, "messages_returned");
    let status = daemon.until("it back once more", |status| counter(status, "messages_returned") > returned);
    let seconds = jiff::Timestamp::now().duration_since(started).as_secs() as u64;
    assert!(counter(&status, "messages_returned") <= returned + 1 + seconds, "{status:#}");
    daemon.end();
    assert_eq!(client.waiting("others"), 1);

    let daemon =
        Daemon::start(&config(server, "others", "other_tasks = 'dead_letter'\nreject_unread = true"));
    daemon.until("it rejected", |status| counter(status, "messages_acknowledged") == 1);
    let (_, ended) = daemon.end();
    let text = std::fs::read_to_string(ended.path(LETTERS)).unwrap();
    assert!(text.contains(r#""id":"other","reason":"other_task""#), "{text}");
    assert_eq!(client.waiting("others"), 0);
    assert_eq!(client.take("others.dead")[0].0, "other");
}

#[test]
fn what_is_no_report_is_a_dead_letter_and_goes_to_the_exchange_for_such_if_told() {
    let Some(server) = Server::shared("rabbitmq_bad") else { return };
    let client = server.client();
    client.declare("bad", &[("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "bad.dead")]);
    client.declare("bad.dead", &[]);
    let long = format!(r#"[["{}","gauge",1,null,null],{{}},{{}}]"#, "x".repeat(2000));
    client.publish("bad", properties(REPORT, "long", &[]), long.as_bytes());
    client.publish("bad", BasicProperties::default(), b"nothing of Celery's");
    publish(&client, "bad", REPORT, "odd", &[("eta", AMQPValue::LongInt(5))]);
    client.publish("bad", properties(REPORT, "nameless", &[]), br#"[["","gauge",1,null,null],{},{}]"#);
    publish(&client, "bad", REPORT, "good", &[]);
    let keys = "max_message = '1KiB'\nreject_unread = true";
    let daemon = Daemon::start(&config(server, "bad", keys));
    let status = daemon.until("all done", |status| counter(status, "messages_acknowledged") == 5);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (1, 4));
    let (_, ended) = daemon.end();
    let letters = letters(&std::fs::read_to_string(ended.path(LETTERS)).unwrap());
    let told: Vec<_> = letters.iter().map(|it| (it["id"].as_str(), it["reason"].as_str().unwrap())).collect();
    let expected = [
        (Some("long"), "too_long"),
        (None, "content_type"),
        (Some("odd"), "bad_envelope"),
        (Some("nameless"), "no_name"),
    ];
    assert_eq!(told, expected);
    // Of one that is too long there is the start.
    assert_eq!(letters[0]["message"].as_str().unwrap(), &long[..1024]);
    // Its answer comes behind what it has told the other queue.
    assert_eq!(client.waiting("bad"), 0);
    let rejected: Vec<_> = client.take("bad.dead").into_iter().map(|(id, body)| (id, body.len())).collect();
    assert_eq!(rejected.len(), 4);
    assert!(rejected.contains(&("long".to_owned(), long.len())), "{rejected:?}");
}

#[test]
fn a_message_that_would_end_a_careless_reader_does_no_harm() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::shared("rabbitmq_hostile") else { return };
    let client = server.client();
    client.declare("hostile", &[]);
    let address = server.url.strip_prefix("amqp://").unwrap();
    client::end(client::python(&["tests/queues/amqp_hostile.py", address, "hostile"]));
    let daemon = Daemon::start(&config(server, "hostile", ""));
    let status = daemon.until("all done", |status| counter(status, "messages_acknowledged") == 3);
    assert_eq!((counter(&status, "messages_taken"), counter(&status, "messages_unread")), (2, 1));
    assert_eq!(counter(&status, "connections_opened"), 1);
    // Of the huge one no more was held than a message may have.
    assert!(count(&named(&status["sources"], "celery")["bytes"]) < 300_000, "{status:#}");
    let (_, ended) = daemon.end();
    assert_eq!(ended.rows("name"), ["nested", "good"]);
    let letters = letters(&std::fs::read_to_string(ended.path(LETTERS)).unwrap());
    let told: Vec<_> =
        letters.iter().map(|it| (it["id"].as_str().unwrap(), it["reason"].as_str().unwrap())).collect();
    assert_eq!(told, [("huge", "too_long")]);
}

#[test]
fn times_are_as_celery_has_them_and_what_waits_for_its_time_holds_up_nothing() {
    let Some(server) = Server::shared("rabbitmq_times") else { return };
    let client = server.client();
    client.declare("times", &[]);
    publish(&client, "times", REPORT, "over", &[("expires", text("2020-01-01T00:00:00+00:00"))]);
    // More than are taken at once.
    for number in 0..20 {
        let eta = [("eta", text("2200-01-01T00:00:00+00:00"))];
        publish(&client, "times", REPORT, &format!("future-{number}"), &eta);
    }
    for number in 0..20 {
        publish(&client, "times", REPORT, &format!("now-{number}"), &[]);
    }
    let daemon = Daemon::start(&config(server, "times", "prefetch = 4"));
    daemon.until("those of now", |status| counter(status, "messages_acknowledged") == 21);
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(3);
    publish(&client, "times", REPORT, "soon", &[("eta", text(&soon.to_string()))]);
    let status =
        daemon.until("all but those of the future", |status| counter(status, "messages_acknowledged") == 22);
    assert_eq!(counter(&status, "messages_expired"), 1);
    assert!(jiff::Timestamp::now() >= soon);
    let (_, ended) = daemon.end();
    let mut names = ended.rows("name");
    assert_eq!(names.pop().as_deref(), Some("soon"));
    assert!(names.len() == 20 && names.iter().all(|name| name.starts_with("now-")), "{names:?}");
    // What it held at its end is back in the queue.
    assert_eq!(client.waiting("times"), 20);
}
