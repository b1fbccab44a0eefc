//! A message as a broker delivers it.

use crate::source::queue::{Envelope, Error, Headers, LONGEST_ID, Limits, Message, Task, other_task};

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
    /// The task's name, even if the other headers cannot be read; the start of a long one.
    pub(super) task: Option<String>,
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
        match &self.properties {
            None => self.read_envelope(limits),
            Some(properties) => self.read_beside(properties, limits),
        }
    }

    fn read_envelope(&self, limits: Limits) -> Read {
        let envelope = self.check_length(limits).and_then(|()| Envelope::read(&self.bytes));
        let (id, asks, task) = match envelope {
            Ok(envelope) => {
                let id = envelope.properties.correlation_id.clone().filter(|id| id.len() <= LONGEST_ID);
                (id, !envelope.headers.ignore_result, envelope.task(limits))
            }
            Err(error) => (None, false, Err(error)),
        };
        // Another task is the concern of others, whatever else is wrong with its message.
        let task =
            task.map_err(|error| other_task(Envelope::task_name(&self.bytes).as_deref()).unwrap_or(error));
        Read { id, task, asks }
    }

    fn read_beside(&self, properties: &Properties, limits: Limits) -> Read {
        let Properties { content_type, correlation_id, task, headers } = properties;
        let task = match other_task(task.as_deref()) {
            Some(other) => Err(other),
            None => headers.as_ref().map_err(Error::clone).and_then(|headers| {
                self.check_length(limits)?;
                let correlation_id = correlation_id.as_deref();
                Message { content_type, correlation_id, headers, body: &self.bytes }.task(limits)
            }),
        };
        let asks = headers.as_ref().is_ok_and(|headers| !headers.ignore_result);
        Read { id: correlation_id.clone(), task, asks }
    }

    fn check_length(&self, limits: Limits) -> Result<(), Error> {
        match self.length > limits.max_message {
            true => Err(Error::TooLong(limits.max_message)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "kaneda.tasks.celery.report";
    const LIMITS: Limits = Limits { max_message: 200 };

    fn envelope(task: &str, id: &str, body: &str) -> Delivery<u64> {
        let text = format!(
            r#"{{"body":"{body}","content-type":"application/json","headers":{{"task":"{task}"}},"properties":{{"correlation_id":"{id}","body_encoding":"base64"}}}}"#
        );
        Delivery::enveloped(1, text.into_bytes())
    }

    #[test]
    fn another_task_is_one_whatever_else_is_wrong_with_its_message() {
        let other = Error::Other("shop.pay".to_owned());
        for body in ["no base64!", &"x".repeat(200)] {
            assert_eq!(envelope("shop.pay", "1", body).read(LIMITS).task, Err(other.clone()));
            assert!(!matches!(envelope(REPORT, "1", body).read(LIMITS).task, Err(Error::Other(_)) | Ok(_)));
        }
        let bad_header = br#"{"headers":{"eta":5,"task":"shop.pay"}}"#;
        assert_eq!(Delivery::enveloped(1, bad_header.to_vec()).read(LIMITS).task, Err(other.clone()));
        for (headers, length) in [(Err(Error::BadId), 1), (Ok(Headers::default()), 201)] {
            let properties = |task: &str| Properties {
                content_type: String::new(),
                correlation_id: None,
                task: Some(task.to_owned()),
                headers: headers.clone(),
            };
            let beside = |task| Delivery {
                tag: 1,
                bytes: vec![b'x'],
                length,
                properties: Some(properties(task)),
                is_again: false,
            };
            assert_eq!(beside("shop.pay").read(LIMITS).task, Err(other.clone()));
            let own = headers.clone().err().unwrap_or(Error::TooLong(200));
            assert_eq!(beside(REPORT).read(LIMITS).task, Err(own));
        }
    }

    #[test]
    fn an_id_that_is_too_long_for_a_store_is_none() {
        let id = |length| envelope("t", &"i".repeat(length), "").read(Limits { max_message: 1000 }).id;
        assert_eq!((id(127).map(|id| id.len()), id(128)), (Some(127), None));
    }
}
