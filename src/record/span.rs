//! A record without its bytes: offsets into a chunk, 48 bytes a record, and a side table for what is rare.

use super::usual::Usual;
use super::{Form, Kind, Number, Record, Tags, Text, Timestamp, Value};

/// Bytes `at..at + len` of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    at: u32,
    len: u32,
}

/// One record of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Offset of the line: half of the record's identity.
    pub(super) line: u32,
    /// Which value of the line: the other half.
    pub(super) index: u32,
    name: Slice,
    /// The value's text as sent. Its offset is the record's own byte position.
    value: Slice,
    /// The bits of a number, in two halves so that a span needs no padding.
    number: [u32; 2],
    tags: Slice,
    /// The first of this record's entries in the chunk's `Field` table.
    fields: u32,
    field_count: u8,
    kind: u8,
    shape: u8,
    forms: u8,
}

/// A member that few records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    key: Rare,
    /// A text's form, or the digits of a timestamp.
    detail: u8,
    /// A slice, or the halves of a number.
    data: [u32; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Rare {
    Kind,
    Rate,
    Timestamp,
    Id,
    Host,
    ContainerId,
    ExternalData,
    Cardinality,
    Priority,
    AlertType,
    AggregationKey,
    SourceTypeName,
    Message,
    Fields,
}

const KINDS: [Kind<'static>; 8] = [
    Kind::Counter,
    Kind::Gauge,
    Kind::Timing,
    Kind::Histogram,
    Kind::Distribution,
    Kind::Set,
    Kind::Event,
    Kind::ServiceCheck,
];
const CUSTOM: u8 = KINDS.len() as u8;

/// `Span::shape`: the variant of the value in the low half, of the tags above, and the delta mark on top.
mod shape {
    pub(super) const INT: u8 = 0;
    pub(super) const UINT: u8 = 1;
    pub(super) const FLOAT: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const FALSE: u8 = 4;
    pub(super) const TRUE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const LIST: u8 = 7;
    pub(super) const OBJECT: u8 = 8;
    pub(super) const VALUE: u8 = 0x0f;
    pub(super) const TAGS_LIST: u8 = 0x10;
    pub(super) const TAGS_JSON: u8 = 0x20;
    pub(super) const TAGS_OBJECT: u8 = 0x30;
    pub(super) const TAGS: u8 = 0x30;
    pub(super) const DELTA: u8 = 0x80;
}

const FORMS: [Form; 5] = [Form::Plain, Form::Event, Form::Newline, Form::Message, Form::Json];

fn halves(bits: u64) -> [u32; 2] {
    [bits as u32, (bits >> 32) as u32]
}

fn whole(halves: [u32; 2]) -> u64 {
    u64::from(halves[0]) | u64::from(halves[1]) << 32
}

impl Span {
    /// Takes `record`, whose slices lie in `chunk`, apart. What is rare goes to the end of `fields`.
    ///
    /// Always inlined: where it is known that a record has nothing rare, what is left is a few stores.
    #[inline(always)]
    pub(super) fn new(record: &Record<'_>, chunk: &[u8], line: u32, fields: &mut Vec<Field>) -> Span {
        let first = fields.len() as u32;
        let kind = match record.kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Timing => 2,
            Kind::Histogram => 3,
            Kind::Distribution => 4,
            Kind::Set => 5,
            Kind::Event => 6,
            Kind::ServiceCheck => 7,
            Kind::Custom(_) => CUSTOM,
        };
        let (mut shape, value, bits, value_form) = match record.value {
            Value::Number(Number::Int(n), raw) => (shape::INT, raw, n as u64, Form::Plain),
            Value::Number(Number::Uint(n), raw) => (shape::UINT, raw, n, Form::Plain),
            Value::Number(Number::Float(n), raw) => (shape::FLOAT, raw, n.to_bits(), Form::Plain),
            Value::Text(text) => (shape::TEXT, text.raw, 0, text.form),
            Value::Bool(is, raw) => (if is { shape::TRUE } else { shape::FALSE }, raw, 0, Form::Plain),
            Value::Null(raw) => (shape::NULL, raw, 0, Form::Plain),
            Value::List(raw) => (shape::LIST, raw, 0, Form::Plain),
            Value::Object(raw) => (shape::OBJECT, raw, 0, Form::Plain),
        };
        let tags = match record.tags {
            Tags::None => Slice { at: 0, len: 0 },
            Tags::List(raw) => {
                shape |= shape::TAGS_LIST;
                slice(chunk, raw)
            }
            Tags::JsonList(raw) => {
                shape |= shape::TAGS_JSON;
                slice(chunk, raw)
            }
            Tags::Object(raw) => {
                shape |= shape::TAGS_OBJECT;
                slice(chunk, raw)
            }
        };
        if record.delta {
            shape |= shape::DELTA;
        }
        if has_rare(record) {
            push_rare(record, chunk, fields);
        }
        Span {
            line,
            index: record.index,
            name: slice(chunk, record.name.raw),
            value: slice(chunk, value),
            number: halves(bits),
            tags,
            fields: first,
            field_count: (fields.len() as u32 - first) as u8,
            kind,
            shape,
            forms: record.name.form as u8 | (value_form as u8) << 4,
        }
    }

    /// As [`Span::new`] of the record that `usual` is.
    #[inline(always)]
    pub(super) fn usual(usual: &Usual<'_>, chunk: &[u8], line: u32, fields: &mut Vec<Field>) -> Span {
        let first = fields.len() as u32;
        if usual.rate != 1.0 {
            fields.push(Field::rate(usual.rate));
        }
        let (shape, bits) = match usual.number {
            Number::Int(n) => (shape::INT, n as u64),
            Number::Uint(n) => (shape::UINT, n),
            Number::Float(n) => (shape::FLOAT, n.to_bits()),
        };
        let (tagged, tags) = match usual.tags {
            None => (0, Slice { at: 0, len: 0 }),
            Some(tags) => (shape::TAGS_LIST, slice(chunk, tags)),
        };
        Span {
            line,
            index: 0,
            name: slice(chunk, usual.name),
            value: slice(chunk, usual.text),
            number: halves(bits),
            tags,
            fields: first,
            field_count: u8::from(usual.rate != 1.0),
            kind: usual.kind as u8,
            shape: shape | tagged,
            forms: Form::Plain as u8 | (Form::Plain as u8) << 4,
        }
    }

    /// The values of a packed line have the fields of their line in common: they are kept once.
    pub(super) fn share_fields(&mut self, before: &Span, fields: &mut Vec<Field>) {
        if self.line == before.line && self.fields(fields) == before.fields(fields) {
            fields.truncate(self.fields as usize);
            self.fields = before.fields;
        }
    }

    /// Where the value stands in the chunk: no two records of a chunk share it.
    #[inline]
    pub(super) fn value_at(&self) -> u32 {
        self.value.at
    }

    /// Whether the client named this record.
    pub(super) fn has_client_id(&self, fields: &[Field]) -> bool {
        self.fields(fields).iter().any(|field| field.key == Rare::Id)
    }

    /// The record again, borrowed from the chunk.
    #[inline]
    pub(super) fn record<'a>(&self, chunk: &'a [u8], fields: &[Field]) -> Record<'a> {
        let value = self.value.of(chunk);
        let bits = whole(self.number);
        let value = match self.shape & shape::VALUE {
            shape::INT => Value::Number(Number::Int(bits as i64), value),
            shape::UINT => Value::Number(Number::Uint(bits), value),
            shape::FLOAT => Value::Number(Number::Float(f64::from_bits(bits)), value),
            shape::FALSE => Value::Bool(false, value),
            shape::TRUE => Value::Bool(true, value),
            shape::NULL => Value::Null(value),
            shape::LIST => Value::List(value),
            shape::OBJECT => Value::Object(value),
            _ => Value::Text(Text { raw: value, form: FORMS[usize::from(self.forms >> 4)] }),
        };
        let name = Text { raw: self.name.of(chunk), form: FORMS[usize::from(self.forms & 0x0f)] };
        let kind = KINDS.get(usize::from(self.kind)).copied();
        let mut record = Record::new(kind.unwrap_or(Kind::Custom(name)), name, value);
        record.index = self.index;
        record.delta = self.shape & shape::DELTA != 0;
        record.tags = match self.shape & shape::TAGS {
            shape::TAGS_LIST => Tags::List(self.tags.of(chunk)),
            shape::TAGS_JSON => Tags::JsonList(self.tags.of(chunk)),
            shape::TAGS_OBJECT => Tags::Object(self.tags.of(chunk)),
            _ => Tags::None,
        };
        for field in self.fields(fields) {
            field.put(&mut record, chunk);
        }
        record
    }

    fn fields<'f>(&self, fields: &'f [Field]) -> &'f [Field] {
        let first = self.fields as usize;
        &fields[first..first + usize::from(self.field_count)]
    }
}

impl Field {
    #[inline]
    fn rate(rate: f64) -> Self {
        Field { key: Rare::Rate, detail: 0, data: halves(rate.to_bits()) }
    }

    fn put<'a>(&self, record: &mut Record<'a>, chunk: &'a [u8]) {
        let bits = whole(self.data);
        match self.key {
            Rare::Rate => return record.rate = f64::from_bits(bits),
            Rare::Timestamp => {
                return record.timestamp = Some(Timestamp { nanos: bits as i64, digits: self.detail });
            }
            _ => {}
        }
        let raw = Slice { at: self.data[0], len: self.data[1] }.of(chunk);
        let text = Some(Text { raw, form: FORMS[usize::from(self.detail)] });
        match self.key {
            // A kind is never empty: an empty slice is the default's, which stands in no chunk.
            Rare::Kind if raw.is_empty() => record.kind = Kind::Custom(Text::plain(b"custom")),
            Rare::Kind => record.kind = Kind::Custom(Text { raw, form: FORMS[usize::from(self.detail)] }),
            Rare::Id => record.id = text,
            Rare::Host => record.host = text,
            Rare::ContainerId => record.container_id = text,
            Rare::ExternalData => record.external_data = text,
            Rare::Cardinality => record.cardinality = text,
            Rare::Priority => record.priority = text,
            Rare::AlertType => record.alert_type = text,
            Rare::AggregationKey => record.aggregation_key = text,
            Rare::SourceTypeName => record.source_type_name = text,
            Rare::Message => record.message = text,
            Rare::Fields => record.fields = Some(raw),
            Rare::Rate | Rare::Timestamp => {}
        }
    }
}

impl Slice {
    #[inline]
    fn of(self, chunk: &[u8]) -> &[u8] {
        &chunk[self.at as usize..][..self.len as usize]
    }
}

/// Where `part` stands in `chunk`. An empty part, or one that is not of the chunk (the constant text of a
/// default), has no place of its own.
#[inline]
fn slice(chunk: &[u8], part: &[u8]) -> Slice {
    let at = (part.as_ptr() as usize).wrapping_sub(chunk.as_ptr() as usize);
    if at.saturating_add(part.len()) > chunk.len() {
        return Slice { at: 0, len: 0 };
    }
    Slice { at: at as u32, len: part.len() as u32 }
}

/// Whether a record has anything for the `Field` table. No check waits for the one before: all are nearly always alike.
#[inline(always)]
fn has_rare(record: &Record<'_>) -> bool {
    matches!(record.kind, Kind::Custom(_))
        | (record.rate != 1.0)
        | record.timestamp.is_some()
        | record.id.is_some()
        | record.host.is_some()
        | record.container_id.is_some()
        | record.external_data.is_some()
        | record.cardinality.is_some()
        | record.priority.is_some()
        | record.alert_type.is_some()
        | record.aggregation_key.is_some()
        | record.source_type_name.is_some()
        | record.message.is_some()
        | record.fields.is_some()
}

#[inline(never)]
fn push_rare(record: &Record<'_>, chunk: &[u8], fields: &mut Vec<Field>) {
    if let Kind::Custom(text) = record.kind {
        push_text(fields, chunk, Rare::Kind, Some(text));
    }
    if record.rate != 1.0 {
        fields.push(Field::rate(record.rate));
    }
    if let Some(Timestamp { nanos, digits }) = record.timestamp {
        fields.push(Field { key: Rare::Timestamp, detail: digits, data: halves(nanos as u64) });
    }
    push_text(fields, chunk, Rare::Id, record.id);
    push_text(fields, chunk, Rare::Host, record.host);
    push_text(fields, chunk, Rare::ContainerId, record.container_id);
    push_text(fields, chunk, Rare::ExternalData, record.external_data);
    push_text(fields, chunk, Rare::Cardinality, record.cardinality);
    push_text(fields, chunk, Rare::Priority, record.priority);
    push_text(fields, chunk, Rare::AlertType, record.alert_type);
    push_text(fields, chunk, Rare::AggregationKey, record.aggregation_key);
    push_text(fields, chunk, Rare::SourceTypeName, record.source_type_name);
    push_text(fields, chunk, Rare::Message, record.message);
    push_text(fields, chunk, Rare::Fields, record.fields.map(Text::plain));
}

#[inline]
fn push_text(fields: &mut Vec<Field>, chunk: &[u8], key: Rare, text: Option<Text<'_>>) {
    if let Some(Text { raw, form }) = text {
        let Slice { at, len } = slice(chunk, raw);
        fields.push(Field { key, detail: form as u8, data: [at, len] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::usual::Numeric;

    /// One record for each member that may be absent, with that member alone.
    fn records<'a>(chunk: &'a [u8]) -> Vec<Record<'a>> {
        let text = Some(Text { raw: &chunk[4..6], form: Form::Json });
        let plain = Record::new(
            Kind::Gauge,
            Text::plain(&chunk[..1]),
            Value::Number(Number::Float(0.5), &chunk[2..3]),
        );
        let timestamp = Some(Timestamp { nanos: i64::MAX, digits: 9 });
        vec![
            plain,
            Record { kind: Kind::Custom(Text::plain(&chunk[4..6])), ..plain },
            Record { kind: Kind::Custom(Text::plain(b"custom")), ..plain },
            Record { rate: 0.1, ..plain },
            Record { delta: true, index: 7, ..plain },
            Record { timestamp, ..plain },
            Record { id: text, ..plain },
            Record { host: text, ..plain },
            Record { container_id: text, ..plain },
            Record { external_data: text, ..plain },
            Record { cardinality: text, ..plain },
            Record { priority: text, ..plain },
            Record { alert_type: text, ..plain },
            Record { aggregation_key: text, ..plain },
            Record { source_type_name: text, ..plain },
            Record { message: text, ..plain },
            Record { fields: Some(&chunk[4..6]), ..plain },
            Record { tags: Tags::List(&chunk[4..6]), ..plain },
            Record { tags: Tags::JsonList(&chunk[4..6]), ..plain },
            Record { tags: Tags::Object(&chunk[4..6]), ..plain },
            Record { value: Value::Number(Number::Int(-1), &chunk[2..3]), ..plain },
            Record { value: Value::Number(Number::Uint(u64::MAX), &chunk[2..3]), ..plain },
            Record { value: Value::Text(Text { raw: &chunk[..0], form: Form::Event }), ..plain },
            Record { value: Value::Bool(true, &chunk[2..3]), ..plain },
            Record { value: Value::Bool(false, &chunk[2..3]), ..plain },
            Record { value: Value::Null(&chunk[2..3]), ..plain },
            Record { value: Value::List(&chunk[2..3]), ..plain },
            Record { value: Value::Object(&chunk[2..3]), ..plain },
        ]
    }

    #[test]
    fn every_member_comes_back_even_if_it_is_the_only_one() {
        let chunk = b"n:1|{}\n";
        let mut fields = Vec::new();
        for record in records(chunk) {
            let span = Span::new(&record, chunk, 0, &mut fields);
            assert_eq!(span.record(chunk, &fields), record);
            assert_eq!(span.has_client_id(&fields), record.id.is_some());
        }
    }

    #[test]
    fn the_values_of_a_line_keep_their_common_fields_once() {
        let chunk = b"n:1|{}\n";
        let mut fields = Vec::new();
        let one = Record { rate: 0.1, ..records(chunk)[0] };
        let first = Span::new(&one, chunk, 0, &mut fields);
        for (line, rate, kept) in [(0, 0.1, 1), (0, 0.2, 2), (7, 0.1, 2)] {
            let record = Record { rate, index: 1, ..one };
            let mut fields = fields.clone();
            let mut span = Span::new(&record, chunk, line, &mut fields);
            span.share_fields(&first, &mut fields);
            assert_eq!(fields.len(), kept);
            assert_eq!(span.record(chunk, &fields), record);
        }
    }

    #[test]
    fn a_usual_record_is_the_same_span() {
        let chunk = b"name:-2.50|ms|@0.5|#tag,other\n";
        let kinds =
            [Numeric::Counter, Numeric::Gauge, Numeric::Timing, Numeric::Histogram, Numeric::Distribution];
        for kind in kinds {
            for (number, rate, tags) in [
                (Number::Int(-2), 1.0, None),
                (Number::Float(-2.5), 0.5, Some(&chunk[20..29])),
                (Number::Uint(u64::MAX), 1.0, Some(&chunk[20..23])),
            ] {
                let usual = Usual { kind, name: &chunk[..4], number, text: &chunk[5..10], rate, tags };
                let mut fields = Vec::new();
                let span = Span::usual(&usual, chunk, 0, &mut fields);
                assert_eq!(span.record(chunk, &fields), Record::from(&usual));
                assert_eq!(fields.len(), usize::from(rate != 1.0));
            }
        }
    }

    #[test]
    fn a_span_stays_small() {
        assert_eq!(size_of::<Span>(), 48);
        assert_eq!(size_of::<Field>(), 12);
    }
}
