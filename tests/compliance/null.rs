//! The sink that keeps nothing. All laws but the first speak of what is stored, or of a store that fails.

use kaneda::sink::null::Config;

use crate::flow::Flow;

#[tokio::test]
async fn every_report_is_delivered_once() {
    let flow = Flow::start(Config::default().build());
    flow.store((0..1000).map(|n| format!("report.{n}:{n}|c"))).await;
    let terms = flow.finish().await;
    assert_eq!((terms.accepted, terms.delivered), (1000, 1000));
}
