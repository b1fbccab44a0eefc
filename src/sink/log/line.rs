//! A report as a line: encoding only.

use std::fmt::Write as _;

use super::{Format, python};
use crate::record::document::{self, Envelope};
use crate::record::{Batch, Host, Identity, Received, Text};

/// The lines of `batch`, each ended by LF.
pub(super) fn encode(batch: &Batch, format: Format) -> Vec<u8> {
    let mut lines = Vec::with_capacity(2 * batch.bytes() + 128 * batch.len());
    let mut known = Known::default();
    for received in batch.records() {
        known.fill(&received);
        match format {
            Format::Json => {
                let envelope = Envelope {
                    timestamp: Some(received.time),
                    host: Some(known.host(&received)),
                    id: matches!(received.identity, Identity::Own(_)).then_some(&*known.id),
                };
                document::write(&received.record, &envelope, &mut lines);
            }
            Format::Text => {
                python::write(
                    &received.record,
                    received.time,
                    known.host(&received),
                    known.id(&received),
                    &mut lines,
                );
            }
        }
        lines.push(b'\n');
    }
    lines
}

/// What the daemon knows of a report beside what was sent, as texts. Reused from one to the next.
#[derive(Default)]
struct Known {
    id: String,
    address: String,
}

impl Known {
    fn fill(&mut self, received: &Received<'_>) {
        // Writing to a String does not fail.
        if let Identity::Own(id) = received.identity {
            self.id.clear();
            let _ = write!(self.id, "{id}");
        }
        if let Host::Peer(address) = received.host {
            self.address.clear();
            let _ = write!(self.address, "{address}");
        }
    }

    fn host<'a>(&'a self, received: &Received<'a>) -> Text<'a> {
        match received.host {
            Host::Sent(host) => host,
            Host::Named(host) => Text::plain(host.as_bytes()),
            Host::Peer(_) => Text::plain(self.address.as_bytes()),
        }
    }

    fn id<'a>(&'a self, received: &Received<'a>) -> Text<'a> {
        match received.identity {
            Identity::Client(id) => id,
            Identity::Own(_) => Text::plain(self.id.as_bytes()),
        }
    }
}
