//! The names that may stand in a pickle.
//!
//! Nothing is looked up or called: this list is all there is.

use super::Error;

/// A class or function on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// `datetime.datetime`
    DateTime,
    /// `datetime.date`
    Date,
    /// `datetime.timedelta`
    TimeDelta,
    /// `datetime.timezone`: of a datetime that knows its own.
    TimeZone,
    /// `decimal.Decimal`
    Decimal,
    /// `collections.OrderedDict`
    OrderedDict,
    /// `collections.defaultdict`
    DefaultDict,
    /// `collections.Counter`
    Counter,
    /// `set` and `frozenset`, as protocols before 4 have them
    Set,
    /// `bytes`, and `_codecs.encode`: how protocols before 3 have the bytes of Python 3
    Bytes,
    /// `uuid.UUID`
    Uuid,
    /// What a defaultdict makes its values with: it is passed over.
    Factory,
}

impl Name {
    /// The name `name` of the module `module`, in the spelling of Python 2 or 3.
    pub(super) fn of(module: &str, name: &str) -> Result<Name, Error> {
        Ok(match (module, name) {
            ("datetime", "datetime") => Name::DateTime,
            ("datetime", "date") => Name::Date,
            ("datetime", "timedelta") => Name::TimeDelta,
            ("datetime", "timezone") => Name::TimeZone,
            ("decimal" | "_decimal" | "_pydecimal", "Decimal") => Name::Decimal,
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("collections", "defaultdict") => Name::DefaultDict,
            ("collections", "Counter") => Name::Counter,
            ("uuid", "UUID") => Name::Uuid,
            ("builtins" | "__builtin__", "set" | "frozenset") => Name::Set,
            ("builtins" | "__builtin__", "bytes") | ("_codecs", "encode") => Name::Bytes,
            ("builtins" | "__builtin__", "int" | "float" | "str" | "list" | "dict" | "long" | "unicode") => {
                Name::Factory
            }
            _ => return Err(Error::Name(shown(module, name))),
        })
    }
}

/// Letters of a name that an error shows.
const SHOWN: usize = 100;

fn shown(module: &str, name: &str) -> String {
    let letters = module.chars().take(SHOWN).chain(['.']).chain(name.chars().take(SHOWN));
    letters.map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
