//! The keys that a `Config` struct takes, asked of the struct itself, so that no list of them can go stale.

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The keys of `T`, which derives `Deserialize` from a struct with named fields, with their aliases.
pub(super) fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always fails: all that is wanted is the list that `T` asks with.
    let _ = T::deserialize(Asked(&mut fields));
    fields
}

/// Keeps the list of fields that is asked for, and gives none of them.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only asked"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "only its keys are asked for")]
    struct Config {
        first: u8,
        #[serde(rename = "2nd", alias = "second")]
        other: Option<String>,
    }

    #[test]
    fn a_struct_tells_its_keys_with_their_other_names() {
        assert_eq!(fields_of::<Config>(), ["first", "2nd", "second"]);
        assert!(fields_of::<u8>().is_empty());
    }
}
