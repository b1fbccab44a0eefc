//! A message as a broker delivers it.

use crate::source::queue::{Envelope, Error, Headers, Limits, Message, Task};

/// A message that was taken.
#[derive(Debug)]
pub(super) struct Delivery<T> {
    /// Names it at its broker.
    pub(super) tag: T,
    /// As it came, or the start of it if it is longer than a message may be.
    pub(super) bytes: Vec<u8>,
    /// Bytes of it as it came.
    pub(super) length: usize,
    /// What came beside the bytes. None: all is in an envelope that the bytes are.
    pub(super) properties: Option<Properties>,
    /// It was delivered before, to whomever, and has come back.
    pub(super) is_again: bool,
}

/// What a broker carries beside the body of a message.
#[cfg_attr(not(feature = "amqp"), allow(dead_code, reason = "a Redis carries nothing"))]
#[derive(Debug)]
pub(super) struct Properties {
    pub(super) content_type: String,
    pub(super) correlation_id: Option<String>,
    pub(super) headers: Result<Headers, Error>,
}

/// What is in a message.
#[derive(Debug)]
pub(super) struct Read {
    /// What its sender calls it, if that could be read.
    pub(super) id: Option<String>,
    pub(super) task: Result<Task, Error>,
    /// Somebody may wait for what becomes of it.
    pub(super) asks: bool,
}

impl<T> Delivery<T> {
    /// A message that has all in an envelope.
    pub(super) fn enveloped(tag: T, bytes: Vec<u8>) -> Self {
        Delivery { tag, length: bytes.len(), bytes, properties: None, is_again: false }
    }

    pub(super) fn read(&self, limits: Limits) -> Read {
        let too_long = (self.length > limits.max_message).then_some(Error::TooLong(limits.max_message));
        match (&self.properties, too_long) {
            (None, Some(error)) => Read { id: None, task: Err(error), asks: false },
            (None, None) => match Envelope::read(&self.bytes) {
                Ok(envelope) => Read {
                    id: envelope.properties.correlation_id.clone(),
                    asks: !envelope.headers.ignore_result,
                    task: envelope.task(limits),
                },
                Err(error) => Read { id: None, task: Err(error), asks: false },
            },
            (Some(properties), too_long) => {
                let id = properties.correlation_id.clone();
                let task = match (&properties.headers, too_long) {
                    (Err(error), _) => Err(error.clone()),
                    (Ok(_), Some(error)) => Err(error),
                    (Ok(headers), None) => {
                        let Properties { content_type, correlation_id, .. } = properties;
                        let correlation_id = correlation_id.as_deref();
                        Message { content_type, correlation_id, headers, body: &self.bytes }.task(limits)
                    }
                };
                let asks = properties.headers.as_ref().is_ok_and(|headers| !headers.ignore_result);
                Read { id, task, asks }
            }
        }
    }
}
