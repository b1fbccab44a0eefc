//! A message as the library gives it, and what is kept of it.

use super::header;
use crate::source::celery::delivery::{Delivery, Properties};

/// What the broker sent.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Which consumer of its link it was for, from 1.
    pub(super) consumer: u64,
    /// None: that consumer has ended, and why if it is an error.
    pub(super) what: Result<Delivery<u64>, Option<lapin::Error>>,
}

impl Arrival {
    /// What `consumer` gave next.
    pub(super) fn new(
        consumer: u64,
        next: Option<lapin::Result<lapin::message::Delivery>>,
        max_message: usize,
    ) -> Self {
        let what = match next {
            Some(Ok(delivery)) => Ok(cut(delivery, max_message)),
            Some(Err(error)) => Err(Some(error)),
            None => Err(None),
        };
        Arrival { consumer, what }
    }
}

fn cut(delivery: lapin::message::Delivery, max_message: usize) -> Delivery<u64> {
    let properties: Properties = header::properties(&delivery.properties);
    let length = delivery.data.len();
    let mut bytes = delivery.data;
    if length > max_message {
        bytes = bytes[..max_message].to_vec();
    }
    Delivery {
        tag: delivery.delivery_tag,
        bytes,
        length,
        properties: Some(properties),
        is_again: delivery.redelivered,
    }
}
