//! The model: what one report says, borrowed from the bytes it arrived in.

pub mod batch;
pub mod chunk;
pub mod document;
pub mod escape;
pub mod identity;
pub mod json;
pub mod member;
pub mod open;
pub mod report;
mod span;
pub mod text;
pub mod timestamp;
pub mod usual;
pub mod value;

pub use batch::Batch;
pub use chunk::{Chunk, Host, LineOrigin, Origin, Position, Received};
pub use identity::{ChunkId, Identity, LineId, OwnId};
pub use open::OpenChunk;
pub use text::{Form, Text};
pub use timestamp::Timestamp;
pub use value::{Number, Tags, Value};

/// One parsed report, in the words of the wire.
///
/// Every slice points into the line it was parsed from; nothing is copied or decoded. Members that the line
/// did not carry are `None` (for `rate`: 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Kaneda's `metric`.
    pub kind: Kind<'a>,
    /// The metric's name, an event's title or a service check's name; never empty.
    pub name: Text<'a>,
    /// The value, an event's text or a service check's status.
    pub value: Value<'a>,
    /// `#tag,key:value` or the `tags` member of a JSON line.
    pub tags: Tags<'a>,
    /// Which value of a packed or multi-metric line this is, from 0.
    pub index: u32,
    /// A signed gauge of the `statsd` dialect: the value is a change.
    pub delta: bool,
    /// `@rate`, in (0, 1].
    pub rate: f64,
    /// `T` or `d:`.
    pub timestamp: Option<Timestamp>,
    /// `i:` or `id`/`id_`; 1 to 127 bytes of UTF-8.
    pub id: Option<Text<'a>>,
    /// `h:`.
    pub host: Option<Text<'a>>,
    /// DogStatsD's `c:`.
    pub container_id: Option<Text<'a>>,
    /// DogStatsD's `e:`.
    pub external_data: Option<Text<'a>>,
    /// DogStatsD's `card:`.
    pub cardinality: Option<Text<'a>>,
    /// `p:` of an event, `normal` or `low`.
    pub priority: Option<Text<'a>>,
    /// `t:` of an event: `error`, `warning`, `info` or `success`.
    pub alert_type: Option<Text<'a>>,
    /// `k:` of an event.
    pub aggregation_key: Option<Text<'a>>,
    /// `s:` of an event.
    pub source_type_name: Option<Text<'a>>,
    /// `m:` of a service check.
    pub message: Option<Text<'a>>,
    /// `fields` of a JSON line: a valid JSON object whose members are stored beside the others.
    pub fields: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// A record with nothing but what every report has.
    #[inline]
    pub fn new(kind: Kind<'a>, name: Text<'a>, value: Value<'a>) -> Self {
        Record {
            kind,
            name,
            value,
            tags: Tags::None,
            index: 0,
            delta: false,
            rate: 1.0,
            timestamp: None,
            id: None,
            host: None,
            container_id: None,
            external_data: None,
            cardinality: None,
            priority: None,
            alert_type: None,
            aggregation_key: None,
            source_type_name: None,
            message: None,
            fields: None,
        }
    }
}

/// Which reading of the lines a source asks for; `protocol.md` lists where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Kaneda's and DogStatsD's: a signed gauge is an absolute value.
    #[default]
    #[serde(alias = "dogstatsd")]
    Kaneda,
    /// Etsy's: a signed gauge is a change, and a line may hold several metrics.
    Statsd,
}

/// What Kaneda calls `metric`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind<'a> {
    /// `c`, `counter`.
    Counter,
    /// `g`, `gauge`.
    Gauge,
    /// `ms`, `timing`.
    Timing,
    /// `h`.
    Histogram,
    /// `d`.
    Distribution,
    /// `s`.
    Set,
    /// `e`, `event`, `_e{}`.
    Event,
    /// `_sc|`.
    ServiceCheck,
    /// `k`, `custom` with the text of its `m:`, or a `metric` that is none of the above; never empty.
    Custom(Text<'a>),
}

impl<'a> Kind<'a> {
    /// The kind that is stored as `text`: a name of the table above, however it was sent, or a custom one.
    pub fn named(text: Text<'a>) -> Self {
        match &*text.bytes() {
            b"counter" => Kind::Counter,
            b"gauge" => Kind::Gauge,
            b"timing" => Kind::Timing,
            b"histogram" => Kind::Histogram,
            b"distribution" => Kind::Distribution,
            b"set" => Kind::Set,
            b"event" => Kind::Event,
            b"service_check" => Kind::ServiceCheck,
            _ => Kind::Custom(text),
        }
    }

    /// The text stored as `metric`.
    pub fn text(&self) -> Text<'a> {
        match self {
            Kind::Custom(text) => *text,
            kind => Text::plain(kind.name().as_bytes()),
        }
    }

    /// The name of every kind but a custom one.
    const fn name(&self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Timing => "timing",
            Kind::Histogram => "histogram",
            Kind::Distribution => "distribution",
            Kind::Set => "set",
            Kind::Event => "event",
            Kind::ServiceCheck => "service_check",
            Kind::Custom(_) => "custom",
        }
    }
}

/// The names a document keeps for itself. A member of an unpacked object that has one of them gets `_` put
/// behind it until its name is free.
pub const RESERVED: [&str; 13] = [
    "metric",
    "name",
    "value",
    "host",
    "tags",
    "timestamp",
    "id",
    "_id",
    "rate",
    "delta",
    "container_id",
    "external_data",
    "cardinality",
];
