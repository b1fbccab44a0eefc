//! The JSON document of a record: what `kaneda parse` prints and the log holds.

use super::{Record, Tags, Text, Value, json, member, timestamp};

/// What is known of a record beside what its line says. A member that is `None` is written only if the client sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Envelope<'a> {
    /// Nanoseconds since 1970, in place of the time that was sent.
    pub timestamp: Option<i64>,
    /// In place of the host that was sent.
    pub host: Option<Text<'a>>,
    /// In place of the id that was sent.
    pub id: Option<&'a str>,
}

/// Appends the document of `record`: one JSON object on one line, without a line feed behind it.
pub fn write(record: &Record<'_>, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("metric", record.kind.text());
    object.text("name", record.name);
    if !matches!(record.value, Value::Object(_)) {
        record.value.write_json(object.key("value"));
    }
    if record.rate != 1.0 {
        super::Number::Float(record.rate).write(object.key("rate"));
    }
    if record.tags != Tags::None {
        record.tags.write_json(object.key("tags"));
    }
    if let Some(nanos) = envelope.timestamp.or(record.timestamp.map(|timestamp| timestamp.nanos)) {
        let out = object.key("timestamp");
        out.push(b'"');
        timestamp::write_rfc3339(nanos, out);
        out.push(b'"');
    }
    object.optional("host", envelope.host.or(record.host));
    object.optional("id", envelope.id.map(|id| Text::plain(id.as_bytes())).or(record.id));
    object.extra(record);
    object.close();
}

/// Appends the members of the document that few records have, as an object: all but `metric`, `name`, `value`, `rate`,
/// `tags`, `timestamp`, `host` and `id`. Appends nothing if there are none.
pub fn write_extra(record: &Record<'_>, out: &mut Vec<u8>) {
    let from = out.len();
    let mut object = Object::open(out);
    object.extra(record);
    if object.empty {
        return out.truncate(from);
    }
    object.close();
}

/// A JSON object on its way out.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Writes a name; the caller writes the value behind it.
    pub(super) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        Text::plain(name.as_bytes()).write_json(self.out);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: Text<'_>) {
        text.write_json(self.key(name));
    }

    pub(super) fn optional(&mut self, name: &str, text: Option<Text<'_>>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn extra(&mut self, record: &Record<'_>) {
        if record.delta {
            self.key("delta").extend_from_slice(b"true");
        }
        self.optional("container_id", record.container_id);
        self.optional("external_data", record.external_data);
        self.optional("cardinality", record.cardinality);
        self.optional("priority", record.priority);
        self.optional("alert_type", record.alert_type);
        self.optional("aggregation_key", record.aggregation_key);
        self.optional("source_type_name", record.source_type_name);
        self.optional("message", record.message);
        if record.fields.is_some() || matches!(record.value, Value::Object(_)) {
            for member in member::unpack(record, |_| false) {
                json::write_raw(member.value, self.key(&member.name));
            }
        }
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Number, Timestamp};

    fn written(record: &Record, envelope: &Envelope) -> String {
        let mut out = Vec::new();
        write(record, envelope, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_record_has_three_members() {
        let record = Record::new(Kind::Counter, Text::plain(b"a\"b"), Value::Number(Number::Int(1), b"1"));
        assert_eq!(written(&record, &Envelope::default()), r#"{"metric":"counter","name":"a\"b","value":1}"#);
    }

    #[test]
    fn members_come_in_their_order_and_an_object_in_place_of_value() {
        let mut record = Record::new(
            Kind::Custom(Text::plain(b"login")),
            Text::plain(b"n"),
            Value::Object(br#"{"user":"x","name":[1 ,2]}"#),
        );
        record.rate = 0.5;
        record.tags = Tags::List(b"a,b");
        record.timestamp = Some(Timestamp { nanos: 1_500_000_000, digits: 1 });
        record.delta = true;
        record.cardinality = Some(Text::plain(b"low"));
        let envelope = Envelope { host: Some(Text::plain(b"web1")), id: Some("7"), ..Envelope::default() };
        assert_eq!(
            written(&record, &envelope),
            r#"{"metric":"login","name":"n","rate":0.5,"tags":["a","b"],"timestamp":"1970-01-01T00:00:01.5Z","host":"web1","id":"7","delta":true,"cardinality":"low","user":"x","name_":[1 ,2]}"#
        );
    }

    #[test]
    fn what_the_daemon_knows_stands_before_what_was_sent() {
        let mut record = Record::new(Kind::Event, Text::plain(b"n"), Value::Null(b"null"));
        record.host = Some(Text::plain(b"sent"));
        record.id = Some(Text::plain(b"sent"));
        record.timestamp = Some(Timestamp { nanos: 1, digits: 9 });
        let envelope =
            Envelope { timestamp: Some(2_000_000_000), host: Some(Text::plain(b"known")), id: Some("known") };
        assert_eq!(
            written(&record, &envelope),
            r#"{"metric":"event","name":"n","value":null,"timestamp":"1970-01-01T00:00:02Z","host":"known","id":"known"}"#
        );
    }
}
