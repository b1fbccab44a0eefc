//! What a network can do.

use std::time::Duration;

use kaneda::sink::address::List;
use kaneda::sink::{Outcome, Sink};

use crate::proxy::{Fault, Proxy};
use crate::report::{batch, deliver, rejected};
use crate::server::Server;

/// Long enough for a server on a busy machine, short enough to wait for.
const TIMEOUT: &str = "2s";
const BUSY: Fault = Fault::Answer { to: "", status: 503, body: "" };

async fn behind_proxy(server: &Server) -> (Proxy, Box<dyn Sink>) {
    let proxy = Proxy::before(&server.url).await;
    let mut config = server.config();
    config.connection_url = Some(List::One(proxy.url.as_str().into()));
    config.timeout = TIMEOUT.parse().unwrap();
    (proxy, config.build("influxdb").unwrap())
}

async fn last_error(sink: &dyn Sink) -> String {
    match sink.send(batch("n:1|c\n")).await {
        Outcome::Retry(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_outage_is_waited_for() {
    let Some(server) = Server::start("outage") else { return };
    let (proxy, sink) = behind_proxy(&server).await;
    let reports = batch("n:1|c|T1700000000\n".repeat(10));
    for (fault, text) in [(Fault::Away, "connect"), (Fault::Hang, "`timeout`"), (BUSY, "503")] {
        proxy.set(fault).await;
        let why = last_error(&*sink).await;
        assert!(why.contains(text) && why.contains(&proxy.url), "{why}");
        proxy.set(Fault::None).await;
        assert_eq!(rejected(&deliver(&*sink, reports.clone()).await), []);
    }
    assert_eq!(server.count("counter").await, 10);
}

#[tokio::test]
async fn a_reply_lost_behind_the_commit_makes_no_second_point() {
    let Some(server) = Server::start("lost") else { return };
    let (proxy, sink) = behind_proxy(&server).await;
    let reports = batch(&("n:1|c\n".repeat(10) + &"n:1|g|T1700000000\n".repeat(10)));
    sink.probe().await.unwrap();
    proxy.set(Fault::LoseReply).await;
    assert!(matches!(sink.send(reports.clone()).await, Outcome::Retry(_)));
    assert_eq!(server.count("counter").await, 10, "the store had committed");
    proxy.set(Fault::None).await;
    assert_eq!(sink.send(reports).await, Outcome::Delivered);
    assert_eq!((server.count("counter").await, server.count("gauge").await), (10, 10));
}

#[tokio::test]
async fn of_several_servers_a_dead_one_is_left_out_and_tried_again() {
    let Some(server) = Server::start("several") else { return };
    server.sink().probe().await.expect("the database is created");
    let proxy = Proxy::before(&server.url).await;
    let mut config = server.config();
    config.connection_url = Some(List::Many(vec![proxy.url.as_str().into(), server.url.as_str().into()]));
    config.timeout = TIMEOUT.parse().unwrap();
    let sink = config.build("influxdb").unwrap();
    proxy.set(Fault::Hang).await;
    assert!(last_error(&*sink).await.contains(&proxy.url));
    // The other one takes it; were the first asked again, this would take its `timeout`.
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    assert!(sink.probe().await.unwrap_err().contains(&proxy.url), "a check looks at all of them");
    proxy.set(BUSY).await;
    // It answers again, if not well: that it is asked shows in the error.
    tokio::time::timeout(Duration::from_secs(10), async {
        while sink.send(batch("n:1|c\n")).await == Outcome::Delivered {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the first is tried again");
}
