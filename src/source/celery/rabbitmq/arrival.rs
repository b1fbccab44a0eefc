//! Messages from the library's thread to the worker.

use std::pin::Pin;

use lapin::ConsumerDelegate;
use lapin::message::DeliveryResult;
use tokio::sync::mpsc;

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

/// Takes what the broker sends, on the library's own thread, as soon as it is complete, and keeps what matters of it.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) consumer: u64,
    pub(super) max_message: usize,
    /// With room for all that may be unacknowledged. When the broker sends more, the end of it is that something is missing.
    pub(super) sink: mpsc::Sender<Arrival>,
}

impl ConsumerDelegate for Arrivals {
    fn on_new_delivery(&self, delivery: DeliveryResult) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let what = match delivery {
            Ok(Some(delivery)) => Ok(self.cut(delivery)),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        // The worker sees a full channel, and gives the link up; one that is closed is given up already.
        let _full_or_closed = self.sink.try_send(Arrival { consumer: self.consumer, what });
        Box::pin(std::future::ready(()))
    }
}

impl Arrivals {
    fn cut(&self, delivery: lapin::message::Delivery) -> Delivery<u64> {
        let properties: Properties = header::properties(&delivery.properties);
        let length = delivery.data.len();
        let mut bytes = delivery.data;
        if length > self.max_message {
            bytes = bytes[..self.max_message].to_vec();
        }
        Delivery {
            tag: delivery.delivery_tag,
            bytes,
            length,
            properties: Some(properties),
            is_again: delivery.redelivered,
        }
    }
}
