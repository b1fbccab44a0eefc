//! What a network can do: nothing is lost, nothing is stored twice, and the drain's sum is right behind each fault.

use std::time::Duration;

use kaneda::sink::mongodb::Config;
use kaneda::sink::{Outcome, Sink, Verdict};
use mongodb::bson::doc;

use crate::flow::{Flow, settled};
use crate::proxy::{Fault, Proxy};
use crate::report::{batch, deliver};
use crate::server::Server;
use crate::stand_in::{StandIn, refusal};

/// Long enough for a server on a busy machine, short enough to wait for.
const TIMEOUT: &str = "2s";

async fn behind_proxy(server: &Server) -> (Proxy, Box<dyn Sink>) {
    server.wake().await;
    let proxy = Proxy::before(&server.address()).await;
    let config = Config {
        connection_url: Some(server.behind(&proxy.address.to_string()).as_str().into()),
        timeout: TIMEOUT.parse().unwrap(),
        ..server.config()
    };
    (proxy, config.build("mongodb").unwrap())
}

/// Reports with ids of ours and one with a client's.
fn reports(id: &str) -> Vec<String> {
    let mut lines = vec!["n:1|c".to_owned(); 20];
    lines.push(format!("m:1|g|i:{id}"));
    lines
}

#[tokio::test]
async fn an_outage_is_waited_for_whether_or_not_it_has_ever_been_there() {
    let Some(server) = Server::start("outage") else { return };
    for (fault, text) in [(Fault::Away, "Connection refused"), (Fault::Hang, "no answer")] {
        for was_there in [false, true] {
            let (proxy, sink) = behind_proxy(&server).await;
            let before = server.documents().await.len();
            let mut flow = Flow::start(sink);
            if was_there {
                flow.store(["before:1|c"]).await;
            }
            proxy.set(fault.clone()).await;
            let during = flow.send(reports(&format!("{fault:?} {was_there}"))).await;
            flow.in_trouble().await;
            let why = flow.last_error();
            let is_told = if was_there { !why.is_empty() } else { why.contains(text) };
            assert!(is_told, "{fault:?}: {why}");
            proxy.set(Fault::None).await;
            settled(&during).await;
            let terms = flow.finish().await;
            assert_eq!((terms.accepted, terms.delivered), (21 + u64::from(was_there), terms.accepted));
            assert_eq!(server.documents().await.len() - before, terms.accepted as usize);
        }
    }
}

#[tokio::test]
async fn a_reply_lost_or_cut_behind_the_commit_makes_no_second_document() {
    let Some(server) = Server::start("lost") else { return };
    for fault in [Fault::LoseReply, Fault::HalfReply] {
        let (proxy, sink) = behind_proxy(&server).await;
        let before = server.documents().await.len();
        let mut flow = Flow::start(sink);
        flow.store(["before:1|c"]).await;
        proxy.set(fault.clone()).await;
        let during = flow.send(reports(&format!("{fault:?}"))).await;
        proxy.struck().await;
        flow.in_trouble().await;
        proxy.set(Fault::None).await;
        settled(&during).await;
        let terms = flow.finish().await;
        assert_eq!((terms.accepted, terms.delivered), (22, 22));
        assert_eq!(server.documents().await.len() - before, 22);
    }
}

#[tokio::test]
async fn a_server_that_answers_errors_for_a_while_is_waited_for() {
    let left = std::sync::atomic::AtomicI32::new(3);
    let stand_in = StandIn::start(move |command| {
        let inserted = command.get_array("documents").ok()?.len() as i32;
        let is_over = left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0;
        Some(if is_over {
            doc! {"n": inserted}
        } else {
            refusal(189, "the primary steps down")
        })
    })
    .await;
    let config = Config { connection_url: Some(stand_in.url.as_str().into()), ..Config::default() };
    let mut flow = Flow::start(config.build("mongodb").unwrap());
    let during = flow.send(["a:1|c", "b:1|c"]).await;
    flow.in_trouble().await;
    assert!(flow.last_error().contains("the primary steps down"));
    settled(&during).await;
    let terms = flow.finish().await;
    assert_eq!((terms.accepted, terms.delivered), (2, 2));
}

#[tokio::test]
async fn a_slow_network_is_waited_for_as_long_as_timeout_says() {
    let Some(server) = Server::start("slow") else { return };
    let (proxy, sink) = behind_proxy(&server).await;
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    proxy.set(Fault::Slow { piece: 1000, pause: Duration::from_millis(1) }).await;
    assert_eq!(sink.send(batch("n:1|c\n".repeat(100))).await, Outcome::Delivered);
    proxy.set(Fault::Slow { piece: 100, pause: Duration::from_secs(1) }).await;
    let large = batch("n:1|c\n".repeat(100));
    let Outcome::Retry(why) = sink.send(large.clone()).await else { panic!() };
    assert!(why.contains("`timeout`"), "{why}");
    proxy.set(Fault::None).await;
    assert_eq!(deliver(&*sink, large).await, vec![Verdict::Delivered; 100]);
    assert_eq!(server.documents().await.len(), 201);
}
