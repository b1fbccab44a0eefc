//! Durations and sizes as they are written in the configuration: a number and its unit.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};

/// A span of time, written `"500ms"`, `"30d"` or `"0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(std::time::Duration);

/// A number of bytes, written `"64KiB"`, `"4GiB"` or `"0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(u64);

/// A text that is no quantity; it says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing, a sign, a fraction, or something that does not begin with a digit.
    #[error("`{text}` is not a whole number with a unit: write {example}")]
    Number {
        /// As written.
        text: String,
        /// What it could look like.
        example: &'static str,
    },
    /// A number without a unit, or with one that is not known.
    #[error("`{text}` needs a unit, one of {units}: write {example}")]
    Unit {
        /// As written.
        text: String,
        /// The known ones.
        units: String,
        /// What it could look like.
        example: &'static str,
    },
    /// More than can be counted.
    #[error("`{text}` is too large")]
    TooLarge {
        /// As written.
        text: String,
    },
}

impl Duration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Duration(std::time::Duration::from_secs(seconds))
    }

    /// So many thousandths of a second.
    pub const fn from_millis(millis: u64) -> Self {
        Duration(std::time::Duration::from_millis(millis))
    }

    /// So many days of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days * 24 * 60 * 60)
    }

    /// As the standard library has it.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl Size {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Size(bytes)
    }

    /// So many times 1024 bytes.
    pub const fn from_kib(kib: u64) -> Self {
        Size(kib << 10)
    }

    /// So many times 1024 KiB.
    pub const fn from_mib(mib: u64) -> Self {
        Size(mib << 20)
    }

    /// So many times 1024 MiB.
    pub const fn from_gib(gib: u64) -> Self {
        Size(gib << 30)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A unit's name and how many of the smallest unit it is, smallest first.
type Units = [(&'static str, u64)];

/// In nanoseconds.
const DURATIONS: &Units = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// In bytes. `KB` is no unit here: half of its readers take it for 1000, the other half for 1024.
const SIZES: &Units = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads `text` in multiples of the smallest unit.
fn parse(text: &str, units: &Units, example: &'static str) -> Result<u64, Error> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.starts_with(['.', ',']) {
        return Err(Error::Number { text: text.to_owned(), example });
    }
    let too_large = || Error::TooLarge { text: text.to_owned() };
    let number: u64 = number.parse().map_err(|_| too_large())?;
    if number == 0 && unit.is_empty() {
        return Ok(0);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit.trim_start()) else {
        let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(Error::Unit { text: text.to_owned(), units, example });
    };
    number.checked_mul(*factor).ok_or_else(too_large)
}

/// Prints with the largest unit that leaves a whole number.
fn print(quantity: u64, units: &Units, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().rev().find(|(_, factor)| quantity.is_multiple_of(*factor)) {
        Some((name, factor)) if quantity > 0 => write!(f, "{}{name}", quantity / factor),
        _ => f.write_str("0"),
    }
}

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text, DURATIONS, r#""30s""#).map(|nanos| Duration(std::time::Duration::from_nanos(nanos)))
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text, SIZES, r#""64MiB""#).map(Size)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX), DURATIONS, f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0, SIZES, f)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(PhantomData))
    }
}

/// Takes a text. A bare integer is taken to the same errors, so that `30` is answered with what to write.
struct Quantity<T>(PhantomData<T>);

impl<T: FromStr<Err = Error>> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text: a whole number with its unit")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Table {
        age: Duration,
        size: Size,
    }

    fn refused<T: FromStr<Err = Error> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn durations_and_sizes_are_read_and_printed_alike() {
        for text in ["0", "1ns", "250us", "2ms", "1s", "90s", "5m", "36h", "30d"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        for text in ["0", "1B", "64KiB", "256MiB", "4GiB", "2TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("30d".parse(), Ok(Duration::from_days(30)));
        assert_eq!("4 GiB".parse(), Ok(Size::from_gib(4)));
        assert_eq!("0s".parse(), Ok(Duration::default()));
    }

    #[test]
    fn a_table_takes_texts_and_a_bare_zero() {
        let table: Table = toml::from_str("age = \"2ms\"\nsize = 0").unwrap();
        assert_eq!(table.age, Duration::from_millis(2));
        assert_eq!(table.size, Size::from_bytes(0));
    }

    #[test]
    fn what_is_no_quantity_is_told_what_would_be_one() {
        assert_eq!(
            refused::<Duration>("30"),
            "`30` needs a unit, one of ns, us, ms, s, m, h, d: write \"30s\""
        );
        assert_eq!(
            refused::<Size>("64KB"),
            "`64KB` needs a unit, one of B, KiB, MiB, GiB, TiB: write \"64MiB\""
        );
        for text in ["", "s", "-1s", "+1s", "1.5s", " 1s"] {
            assert_eq!(
                refused::<Duration>(text),
                format!("`{text}` is not a whole number with a unit: write \"30s\"")
            );
        }
        assert_eq!(refused::<Size>("16777216TiB"), "`16777216TiB` is too large");
        assert_eq!(refused::<Size>("99999999999999999999B"), "`99999999999999999999B` is too large");
        let error = toml::from_str::<Table>("age = 30\nsize = \"1B\"").unwrap_err();
        assert!(error.to_string().contains("`30` needs a unit"), "{error}");
    }
}
