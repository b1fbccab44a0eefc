//! What comes of a line besides its records: notes, or why and where it is refused.

use std::fmt;

/// What is worth knowing of a line that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// Fields, or members of a JSON report, that the protocol does not know.
    pub ignored: u32,
}

/// Why and where a line was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Why.
    pub reason: Reason,
    /// The byte of the line, from 0, at which something else was expected.
    pub offset: u32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.reason, self.offset)
    }
}

impl std::error::Error for Error {}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $code:literal $sentence:literal)+) => {
        /// Why a line is refused. As a number (`reason as usize`) it is its place in [`Reason::ALL`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: [Reason; [$($code),+].len()] = [$(Reason::$variant),+];

            /// The one word for it, in counters and answers.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code,)+ }
            }

            /// A sentence that says what was expected.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    /// Nothing where a name has to be.
    NoName "no_name"
        "expected a name first: a line reads name:value|type, as in api.requests:1|c"
    /// Nothing where a type has to be.
    NoType "no_type"
        "expected |type behind the value, as in api.requests:1|c, or a metric in a JSON report"
    /// A type that is none of the protocol's.
    UnknownType "unknown_type"
        "expected one of the types c g ms h d s e k, or counter gauge timing event custom, in lower case"
    /// A value that is no finite decimal number.
    BadNumber "bad_number"
        "expected name:value with a decimal number as value, such as 1, -2.5 or 3e8: no spaces, no hexadecimal, not infinite"
    /// A rate that is no number above 0 and at most 1.
    BadRate "bad_rate"
        "expected a sample rate above 0 and at most 1, as in @0.1"
    /// A time that cannot be read, or is out of range.
    BadTimestamp "bad_timestamp"
        "expected seconds since 1970 in decimal digits, above 0 and at most 9223372035, as in T1795374000.25, or RFC 3339 text in a JSON report"
    /// Lengths of an event that do not fit it.
    BadLength "bad_length"
        "expected _e{t,x}:title|text where t and x are the bytes that title and text have"
    /// More bytes than a line may have.
    LineTooLong "line_too_long"
        "expected a line within the limit max_line_bytes"
    /// More tags than a line may have.
    TooManyTags "too_many_tags"
        "expected no more tags than the limit max_tags"
    /// JSON that is not valid, or a report in it whose members are not as they have to be.
    BadJson "bad_json"
        "expected valid JSON: in a report the members name, metric and value, each member once and of its type"
    /// JSON with more levels than it may have.
    JsonTooDeep "json_too_deep"
        "expected JSON with no more levels of { and [ than the limit max_json_depth"
    /// An id that is empty, too long, not UTF-8, or for more than one record.
    BadId "bad_id"
        "expected an id of 1 to 127 bytes of UTF-8, on a line that gives one record"
    /// A datagram of which the kernel kept only the beginning.
    Truncated "truncated"
        "expected the whole line, but its datagram was longer than the receive buffer and was cut"
    /// A set without a text.
    EmptySet "empty_set"
        "expected a text as the value of a set, as in users:alice|s"
    /// A status of a service check that is none.
    BadStatus "bad_status"
        "expected a status of one digit: 0 ok, 1 warning, 2 critical, 3 unknown, as in _sc|database|0"
    /// An event without a title.
    EmptyTitle "empty_title"
        "expected an event with a title of at least one byte, as in _e{6,2}:deploy|v2"
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// What a parser stopped at: a reason and the rest of the line from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault<'a> {
    pub(super) reason: Reason,
    pub(super) at: &'a [u8],
}

/// Nothing of `nom` that could fail is used without a reason of ours, but its traits ask for this.
impl<'a> nom::error::ParseError<&'a [u8]> for Fault<'a> {
    fn from_error_kind(at: &'a [u8], _: nom::error::ErrorKind) -> Self {
        Fault { reason: Reason::NoType, at }
    }

    fn append(_: &'a [u8], _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// What is left of the line and what was read of it.
pub(super) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Fault<'a>>;

/// A result of something that is not followed by anything.
pub(super) type Checked<'a, T> = Result<T, nom::Err<Fault<'a>>>;

/// Stops the line: no other reading of it is tried.
#[cold]
pub(super) fn refuse<'a, T>(reason: Reason, at: &'a [u8]) -> Checked<'a, T> {
    Err(nom::Err::Failure(Fault { reason, at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_place_in_the_list() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn every_reason_has_a_word_of_its_own_and_a_sentence() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert!(reason.sentence().starts_with("expected "));
            assert!(Reason::ALL[..index].iter().all(|other| other.code() != reason.code()));
        }
    }
}
