//! Why a message of a queue is no report: a word for counters and a sentence for people.

use super::pickle;

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Around its body it is not what the broker's clients write.
    #[error("the message is not in the form that its queue has: {0}")]
    BadEnvelope(String),
    /// It asks for something else than a report.
    #[error("it is for `{0}`, which is no report of Kaneda's")]
    Other(String),
    /// Its body is in a form that is not read.
    #[error("its content type is {0:?}; JSON and pickle are read")]
    ContentType(String),
    /// Its body is compressed in a way that is not read.
    #[error("it is compressed as {0:?}; zlib (which kombu calls gzip) and bzip2 are read")]
    Compression(String),
    /// It cannot be inflated.
    #[error("it cannot be inflated")]
    BadCompression,
    /// More bytes than a message may have.
    #[error("it has more than {0} bytes, which is what max_message allows")]
    TooLong(usize),
    /// A text that has to be JSON is not.
    #[error("it is not JSON: {0}")]
    BadJson(String),
    /// NaN or an infinity, which Python writes and JSON does not have.
    #[error("it holds NaN or Infinity: no store takes such a number")]
    NotFinite,
    /// A pickle that is not read.
    #[error("its pickle is not read: {0}")]
    BadPickle(pickle::Error),
    /// The arguments are not those of `report`.
    #[error("its arguments are not (name, metric, value, tags, id_): {0}")]
    BadArguments(&'static str),
    /// A value of Python's that kombu has wrapped for JSON is not one that is read.
    #[error("it wraps a value of the type {0:?}, which is not read")]
    Wrapped(String),
    /// The id of its task or job cannot name a document.
    #[error("the id of its task or job is not a text of 1 to 127 bytes")]
    BadId,
}

impl Error {
    /// All words of [`Error::code`], for counters.
    pub const CODES: [&'static str; 12] = [
        "bad_envelope",
        "other_task",
        "content_type",
        "compression",
        "bad_compression",
        "too_long",
        "bad_json",
        "not_finite",
        "bad_pickle",
        "bad_arguments",
        "wrapped_type",
        "bad_id",
    ];

    /// The error in one word.
    pub fn code(&self) -> &'static str {
        match self {
            Error::BadEnvelope(_) => "bad_envelope",
            Error::Other(_) => "other_task",
            Error::ContentType(_) => "content_type",
            Error::Compression(_) => "compression",
            Error::BadCompression => "bad_compression",
            Error::TooLong(_) => "too_long",
            Error::BadJson(_) => "bad_json",
            Error::NotFinite => "not_finite",
            Error::BadPickle(_) => "bad_pickle",
            Error::BadArguments(_) => "bad_arguments",
            Error::Wrapped(_) => "wrapped_type",
            Error::BadId => "bad_id",
        }
    }
}

impl From<pickle::Error> for Error {
    fn from(error: pickle::Error) -> Self {
        match error {
            pickle::Error::NotFinite => Error::NotFinite,
            other => Error::BadPickle(other),
        }
    }
}
