//! What is refused, and by whom.

use std::fmt::Write;

use kaneda::sink::{Outcome, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::report::{batch, deliver, rejected};
use crate::server::Server;

#[tokio::test]
async fn ids_that_the_store_does_not_take_are_rejected_alone() {
    let server = Server::start("bad_ids").await;
    let sink = server.sink();
    let mut lines = String::new();
    for n in 0..300 {
        let id = if n % 100 == 50 { format!("a\\u0000{n}") } else { n.to_string() };
        let _ = writeln!(lines, r#"{{"name":"n{n}","metric":"gauge","value":{n},"id":"{id}"}}"#);
    }
    let wrong = [(50, "bad_id"), (150, "bad_id"), (250, "bad_id")];
    for _ in 0..2 {
        assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), wrong);
    }
    assert_eq!(server.count("gauge").await, 297);
    // None of these has an id that is taken: of such the server tells of one only.
    let all = r#"{"name":"n","metric":"gauge","value":1,"id":"\u0000"}"#.to_owned() + "\n";
    let outcome = sink.send(batch(all.repeat(3))).await;
    let Outcome::Each(verdicts) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rejected(&verdicts).len(), 3);
    let longest = "x".repeat(127);
    assert_eq!(rejected(&deliver(&*sink, batch(format!("n:1|g|i:{longest}\n"))).await), []);
}

#[tokio::test]
async fn only_a_primary_key_of_ours_is_there_already() {
    let server = Server::start("narrow").await;
    let sink = server.sink();
    let reports = batch("good:1|c\nhooked:1|c\nother:1|c\n");
    assert_eq!(sink.send(batch("first:1|c\n")).await, Outcome::Delivered);
    // A refusal of the user's own that speaks as the server does of a duplicate.
    server.refuse("counter", "hooked", "Duplicate primary key `id`:").await;
    for _ in 0..2 {
        assert_eq!(rejected(&deliver(&*sink, reports.clone()).await), [(1, "write_hook")]);
    }
    assert_eq!(server.count("counter").await, 3);
    assert_eq!(rejected(&deliver(&*sink, batch("hooked:1|c\n")).await), [(0, "write_hook")]);
}

#[tokio::test]
async fn a_table_with_another_primary_key_is_not_written_to_and_holds_up_no_other() {
    let server = Server::standin("other_key").await;
    let standin = server.standin.as_ref().unwrap();
    standin.with(|store| store.add_table(&server.database, "gauge", "uuid"));
    let sink = server.sink();
    let outcome = sink.send(batch("a:1|c\nb:1|g\n")).await;
    let Outcome::Each(verdicts) = outcome else { panic!("{outcome:?}") };
    assert_eq!(verdicts[0], kaneda::sink::Verdict::Delivered);
    let kaneda::sink::Verdict::Retry(why) = &verdicts[1] else { panic!("{verdicts:?}") };
    assert!(why.contains("\"uuid\"") && why.contains("`table_name`"), "{why}");
    assert_eq!((server.count("counter").await, server.count("gauge").await), (1, 0));
}

#[tokio::test]
async fn a_query_that_is_refused_comes_apart_until_its_reports_are_alone() {
    let server = Server::standin("query").await;
    let sink = server.sink();
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    let standin = server.standin.as_ref().unwrap();
    standin.with(|store| store.failure = Some((3_000_000, "what is this?".to_owned())));
    let reports = batch("n:1|c\nn:2|c\nn:3|c\n");
    assert!(matches!(sink.send(reports.clone()).await, Outcome::Refused(_)));
    assert_eq!(rejected(&deliver(&*sink, reports).await), [(0, "refused"), (1, "refused"), (2, "refused")]);
}

async fn last_error(sink: &dyn Sink) -> String {
    match sink.send(batch("n:1|c\n")).await {
        Outcome::Retry(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_login_is_told_without_the_password_and_nothing_is_given_up() {
    let server = Server::start("login").await;
    let mut config = server.config();
    config.password = Some("guess-1234".into());
    let wrong = config.build("rethinkdb").unwrap();
    config.user = Some("nobody,=".to_owned());
    let unknown = config.build("rethinkdb").unwrap();
    for (sink, text) in [(wrong, "Wrong password"), (unknown, "Unknown user")] {
        for why in [last_error(&*sink).await, sink.probe().await.unwrap_err()] {
            assert!(why.contains(text) && why.contains("`password`") && !why.contains("guess-1234"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_user_needs_rights_and_is_told_which() {
    let server = Server::standin("rights").await;
    let standin = server.standin.as_ref().unwrap();
    let mut config = server.config();
    config.password = Some("p".into());
    for (user, may_write, may_configure) in [("reader", false, false), ("writer", true, false)] {
        standin.with(|store| store.add_user(user, "p", may_write, may_configure));
    }
    let sink = |config: &kaneda::sink::rethinkdb::Config| config.build("rethinkdb").unwrap();
    config.user = Some("writer".to_owned());
    let writer = sink(&config);
    assert!(last_error(&*writer).await.contains("`config` permission"));
    standin.with(|store| {
        store.add_table(&server.database, "counter", "id");
        store.add_table(&server.database, "custom", "id");
    });
    assert_eq!(sink(&config).send(batch("n:1|c\n")).await, Outcome::Delivered);
    writer.probe().await.unwrap();
    config.user = Some("reader".to_owned());
    let reader = sink(&config);
    for why in [last_error(&*reader).await, reader.probe().await.unwrap_err()] {
        assert!(why.contains("`write` permission") && why.contains("grant `user`"), "{why}");
    }
}

#[tokio::test]
async fn a_check_makes_what_is_missing_and_stores_nothing() {
    let server = Server::start("check").await;
    let sink = server.sink();
    sink.probe().await.unwrap();
    sink.probe().await.unwrap();
    assert_eq!(server.tables().await, ["custom"]);
    assert_eq!(server.count("custom").await, 0);
}

/// Answers each connection with this, and waits.
async fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(says).await;
                // Until the client goes.
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

const GREETING: &[u8] =
    b"{\"success\":true,\"min_protocol_version\":0,\"max_protocol_version\":0,\"server_version\":\"2.4.4\"}\0";

#[tokio::test]
async fn a_stranger_behind_the_port_is_told_and_does_no_harm() {
    let server = Server::standin("strangers").await;
    let long = vec![b'x'; 1 << 20].leak();
    let two =
        [GREETING, b"{\"success\":true,\"authentication\":\"r=other,s=c2FsdA==,i=1\"}\0"].concat().leak();
    for (says, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n\0"[..], "`port`"),
        (b"ERROR: Received an unsupported protocol version.\n\0", "2.3 or later"),
        (b"{\"success\":true,\"min_protocol_version\":1,\"max_protocol_version\":1}\0", "`port`"),
        (long, "without an end"),
        (two, "another login"),
    ] {
        let sink = server.config_at(&stranger(says).await).build("rethinkdb").unwrap();
        let why = last_error(&*sink).await;
        assert!(why.contains(text), "{why}");
    }
    let mut config = server.config_at(&stranger(b"").await);
    config.timeout = "100ms".parse().unwrap();
    let why = last_error(&*config.build("rethinkdb").unwrap()).await;
    assert!(why.contains("`timeout`"), "{why}");
}
