//! What every store behind a network survives: each fault of the proxy, before the real server. The equation
//! `accepted = delivered + waiting + rejected + dropped` is asserted during and behind each.

use std::time::Duration;

use crate::flow::{Flow, settled};
use crate::proxy::{Fault, Proxy};
use crate::subject::Subject;

/// A store that is reached through a fault proxy. Its sink's `timeout` is about a second.
pub trait Remote: Subject {
    /// The way to it.
    fn proxy(&self) -> &Proxy;

    /// The answer of a server that cannot take anything now; none: its protocol is not HTTP.
    fn busy() -> Option<Fault> {
        Some(Fault::Answer { to: "", status: 503, body: "" })
    }
}

const SLOW: Fault = Fault::Slow { piece: 64, pause: Duration::from_millis(1) };

pub async fn a_store_that_is_away_costs_nothing<R: Remote>() {
    costs_nothing::<R>(&[Fault::Away]).await;
}

pub async fn a_store_that_hangs_costs_nothing<R: Remote>() {
    costs_nothing::<R>(&[Fault::Hang]).await;
}

pub async fn a_slow_store_costs_nothing<R: Remote>() {
    costs_nothing::<R>(&[SLOW]).await;
}

pub async fn errors_for_a_while_cost_nothing<R: Remote>() {
    costs_nothing::<R>(R::busy().as_slice()).await;
}

pub async fn half_a_reply_costs_nothing<R: Remote>() {
    costs_nothing::<R>(&[Fault::HalfReply]).await;
}

pub async fn a_lost_reply_costs_nothing<R: Remote>() {
    costs_nothing::<R>(&[Fault::LoseReply]).await;
}

pub async fn one_fault_behind_the_other_costs_nothing<R: Remote>() {
    let mut faults =
        vec![Fault::LoseReply, Fault::Away, Fault::HalfReply, Fault::Hang, SLOW, Fault::LoseReply];
    faults.extend(R::busy());
    costs_nothing::<R>(&faults).await;
}

/// Sends reports before, during and behind each of `faults`, without a pause between them: each report is stored once.
async fn costs_nothing<R: Remote>(faults: &[Fault]) {
    let subject = R::start().await;
    let mut flow = Flow::start(subject.sink());
    let mut sent = 0;
    let mut next = || {
        sent += 30;
        (sent - 30..sent).map(|n| match n % 3 {
            0 => format!("report.{n}:{n}|c|i:client-{n}"),
            1 => format!("report.{n}:{n}|g|T1700000000"),
            _ => format!("report.{n}:{n}|c"),
        })
    };
    flow.store(next()).await;
    for fault in faults {
        subject.proxy().set(fault.clone()).await;
        let during = flow.send(next()).await;
        if matches!(fault, Fault::Slow { .. }) {
            subject.proxy().struck().await;
        } else {
            flow.in_trouble_again().await;
            assert!(!during.is_complete(), "{fault:?}");
        }
        let terms = flow.terms();
        assert!(terms.balance(), "{fault:?}: {terms:?}");
        subject.proxy().set(Fault::None).await;
        let behind = flow.send(next()).await;
        settled(&during).await;
        settled(&behind).await;
        let terms = flow.terms();
        assert!(terms.balance() && terms.waiting == 0, "{fault:?}: {terms:?}");
        assert_eq!(terms.delivered, terms.accepted, "{fault:?}: {terms:?}");
    }
    let terms = flow.finish().await;
    assert_eq!(terms.delivered, sent as u64);
    let mut stored = subject.names().await;
    stored.sort();
    let mut names: Vec<_> = (0..sent).map(|n| format!("report.{n}")).collect();
    names.sort();
    assert_eq!(stored, names, "each once");
}

/// One test for each fault.
macro_rules! survives {
    ($subject:ty) => {
        $crate::outage::survives!($subject:
            a_store_that_is_away_costs_nothing
            a_store_that_hangs_costs_nothing
            a_slow_store_costs_nothing
            errors_for_a_while_cost_nothing
            half_a_reply_costs_nothing
            a_lost_reply_costs_nothing
            one_fault_behind_the_other_costs_nothing
        );
    };
    ($subject:ty: $($law:ident)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                use $crate::subject::Subject;
                match <$subject>::excuse(stringify!($law)) {
                    Some(why) => println!("does not apply: {why}"),
                    None => $crate::outage::$law::<$subject>().await,
                }
            }
        )*
    };
}
pub(crate) use survives;
