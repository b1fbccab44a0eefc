//! A Redis that hangs.

use std::future::{Ready, ready};
use std::net::TcpListener;

use tokio::time::Instant;

use super::*;
use crate::secret::Secret;
use crate::source::Counters;

/// How long no sink has room.
const FULL: Duration = Duration::from_secs(5);

/// An intake in front of sinks that are full for a while.
struct Full {
    /// When they had room.
    had_room: Option<Instant>,
}

impl Messages for Full {
    type Kept = Ready<Kept>;

    fn message(&mut self, _message: &Message<'_>) -> Took {
        Took::Taken
    }

    fn unread(&mut self, _message: &Unread<'_>) -> Took {
        Took::Taken
    }

    async fn flush(&mut self) -> Self::Kept {
        sleep(FULL).await;
        self.had_room = Some(Instant::now());
        ready(Kept::Stored)
    }

    fn hurry(&self) {}

    fn forget(&mut self, _id: &str) {}
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_hangs_does_not_hold_up_what_waits_for_room() {
    // It is connected to, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/0", silent.local_addr().unwrap());
    let config = Config { redis_url: Secret::from(url.as_str()), ..Config::default() };
    let context = Context { stop: Default::default(), counters: Arc::new(Counters::default()) };
    let intake = Full { had_room: None };
    let mut source = Source::new(worker(&config, "rq").unwrap(), intake, context, config);
    let start = Instant::now();
    // The books are due at once.
    let (id, form) = (b"job".to_vec(), broker::Form::default());
    source.flush(vec![Open { number: 0, id, form, since: Timestamp::now(), reason: None }]).await;
    assert_eq!(source.intake.had_room, Some(start + FULL));
    assert!(start.elapsed() > FULL, "it was not talked to");
    assert_eq!(source.waiting.len(), 1);
}
