//! What nearly every report is: a name, a kind and a number, perhaps with a rate and tags.

use super::{Kind, Number, Record, Tags, Text, Value};

/// A record of which nothing else is to be said: small enough to stay in registers on its way into a chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual<'a> {
    /// The kind.
    pub kind: Numeric,
    /// The name, as on a plain line.
    pub name: &'a [u8],
    /// The number.
    pub number: Number,
    /// The number's text as sent.
    pub text: &'a [u8],
    /// `@rate`, in (0, 1]; else 1.
    pub rate: f64,
    /// What stands behind `#`.
    pub tags: Option<&'a [u8]>,
}

/// The kinds whose values are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Numeric {
    /// See [`Kind::Counter`].
    Counter,
    /// See [`Kind::Gauge`].
    Gauge,
    /// See [`Kind::Timing`].
    Timing,
    /// See [`Kind::Histogram`].
    Histogram,
    /// See [`Kind::Distribution`].
    Distribution,
}

impl From<Numeric> for Kind<'static> {
    fn from(kind: Numeric) -> Self {
        match kind {
            Numeric::Counter => Kind::Counter,
            Numeric::Gauge => Kind::Gauge,
            Numeric::Timing => Kind::Timing,
            Numeric::Histogram => Kind::Histogram,
            Numeric::Distribution => Kind::Distribution,
        }
    }
}

impl<'a> From<&Usual<'a>> for Record<'a> {
    fn from(usual: &Usual<'a>) -> Self {
        let value = Value::Number(usual.number, usual.text);
        let mut record = Record::new(usual.kind.into(), Text::plain(usual.name), value);
        record.rate = usual.rate;
        record.tags = usual.tags.map_or(Tags::None, Tags::List);
        record
    }
}
