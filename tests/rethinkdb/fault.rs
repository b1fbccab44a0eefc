//! What a network and a server in trouble can do, beside what every store survives (`tests/compliance/outage.rs`).

use std::time::Duration;

use kaneda::sink::address::List;
use kaneda::sink::{Outcome, Sink};

use crate::flow::{Flow, settled};
use crate::proxy::{Fault, Proxy};
use crate::report::batch;
use crate::server::Server;

/// Long enough for a server on a busy machine, short enough to wait for.
const TIMEOUT: &str = "2s";

async fn behind_proxy(server: &Server) -> (Proxy, Box<dyn Sink>) {
    let proxy = Proxy::before(&server.address).await;
    let mut config = server.config_at(&proxy.address.to_string());
    config.timeout = TIMEOUT.parse().unwrap();
    (proxy, config.build("rethinkdb").unwrap())
}

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to)
        .map(|n| if n % 10 == 0 { format!("r.{n}:1|c|i:id-{n}") } else { format!("r.{n}:1|c") })
        .collect()
}

#[tokio::test]
async fn errors_of_the_server_are_waited_for() {
    let server = Server::standin("errors").await;
    let mut flow = Flow::start(server.sink());
    flow.store(lines(0, 10)).await;
    let standin = server.standin.as_ref().unwrap();
    let why = "Cannot perform write: primary replica for shard [\"\", +inf) not available";
    for kind in [4_100_000, 4_200_000, 1_000_000] {
        standin.with(|store| store.failure = Some((kind, why.to_owned())));
        let during = flow.send(lines(10, 20)).await;
        flow.in_trouble().await;
        assert_eq!(flow.last_error(), why);
        standin.with(|store| store.failure = None);
        settled(&during).await;
    }
    let terms = flow.finish().await;
    assert_eq!((terms.accepted, terms.delivered), (40, 40));
    // One of each ten has an id of the client.
    assert_eq!(server.count("counter").await, 9 + 1 + 3 * 9 + 1);
}

#[tokio::test]
async fn a_greeting_and_an_answer_may_come_in_pieces() {
    let server = Server::start("pieces").await;
    let (proxy, sink) = behind_proxy(&server).await;
    proxy.set(Fault::Slow { piece: 5, pause: Duration::from_millis(1) }).await;
    sink.probe().await.unwrap();
    proxy.struck().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_met_without_a_failed_attempt() {
    let server = Server::start("restart").await;
    let (proxy, sink) = behind_proxy(&server).await;
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    // What was open is closed.
    proxy.set(Fault::Away).await;
    proxy.set(Fault::None).await;
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_never_taken_for_another_one() {
    let server = Server::start("late").await;
    let (proxy, sink) = behind_proxy(&server).await;
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    proxy.set(Fault::Hang).await;
    let Outcome::Retry(why) = sink.send(batch("n:2|c\n")).await else { panic!("not given up") };
    assert!(why.contains("`timeout`"), "{why}");
    proxy.set(Fault::None).await;
    assert_eq!(sink.send(batch("n:3|c\n".repeat(3))).await, Outcome::Delivered);
    assert_eq!(server.count("counter").await, 4);
}

#[tokio::test]
async fn of_several_servers_a_dead_one_is_left_out_and_tried_again() {
    let server = Server::start("several").await;
    let proxy = Proxy::before(&server.address).await;
    let mut config = server.config();
    config.host = Some(List::Many(vec![proxy.address.to_string(), server.address.clone()]));
    config.timeout = TIMEOUT.parse().unwrap();
    let sink = config.build("rethinkdb").unwrap();
    proxy.set(Fault::Hang).await;
    let Outcome::Retry(why) = sink.send(batch("n:1|c\n")).await else { panic!("not given up") };
    assert!(why.contains(&proxy.address.to_string()), "{why}");
    // The other one takes it; were the first asked again, this would take its `timeout`.
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    assert!(sink.probe().await.unwrap_err().contains(&proxy.address.to_string()), "a check looks at all");
    proxy.set(Fault::Away).await;
    // It is away, so each attempt with it is a retry: that it is asked shows.
    tokio::time::timeout(Duration::from_secs(30), async {
        while sink.send(batch("n:1|c\n")).await == Outcome::Delivered {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the first is tried again");
}
