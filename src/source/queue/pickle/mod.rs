//! Pickles as data: a restricted reader of Python's pickle protocols 0 to 5, which gives JSON.
//!
//! A pickle is a program for a small stack machine, and in Python it may call whatever it likes. Here it may not: names
//! of a fixed list (`name.rs`) stand for values that are built here, and any other name ends the reading. Nothing
//! recurses and all that grows has a bound, so that the bytes of a stranger cost no more than [`Limits`] say.
//!
//! The format is that of CPython's `Lib/pickletools.py` and `Modules/_pickle.c`.

mod build;
mod cursor;
mod machine;
mod name;
mod node;
mod number;
mod text;
mod write;

#[cfg(test)]
mod tests;

use machine::Machine;

/// What a pickle may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of JSON that may come of it: what is shared in a pickle is written as often as it is used.
    pub json: usize,
    /// How deep lists and dicts may be nested; the outermost is the first. A list that holds itself is too deep.
    pub depth: usize,
}

/// Operations that a pickle may have. Each may leave a value of some 40 bytes behind, so this bounds memory too; an
/// operation is a byte at least, and a report of 64 KiB has far fewer.
pub const MAX_OPERATIONS: usize = 1 << 17;

/// Why a pickle gives no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends in the middle, or something else stands where an operand has to be.
    #[error("it is broken: {0}")]
    Broken(&'static str),
    /// An operation that data does not need: calls, persistent ids, extensions, buffers outside of the pickle.
    #[error("it has the operation 0x{0:02x}, which is not for data")]
    Operation(u8),
    /// A class or function that is not on the list.
    #[error("it names `{0}`, which is not read as data")]
    Name(String),
    /// A value that JSON has no way to write, such as a key that is a list.
    #[error("it holds {0}, which cannot be written as JSON")]
    Unwritable(&'static str),
    /// NaN or an infinity.
    #[error("it holds a number that is not finite")]
    NotFinite,
    /// Too much of something.
    #[error("it has too many {0}")]
    TooMany(&'static str),
}

/// Appends the JSON of the object that `pickle` describes: valid, on one line, and in UTF-8. Tuples and sets are lists;
/// times are texts as `isoformat()` has them, a timedelta is its seconds, a Decimal a number with all its digits; bytes
/// (and the `str` of Python 2) are a text if they are UTF-8, else the base64 of them. After an error `json` is as it was.
pub fn to_json(pickle: &[u8], limits: Limits, json: &mut Vec<u8>) -> Result<(), Error> {
    let value = Machine::new(pickle).run()?;
    let start = json.len();
    write::json(&value, limits, json).inspect_err(|_| json.truncate(start))
}

/// The value that a pickle begins with, if it is a text, and as in a list or tuple: what comes behind it is not looked at.
pub fn first_text(pickle: &[u8]) -> Option<String> {
    Machine::new(pickle).first_text()
}

/// What holds for any bytes at all, for the fuzzer: what is read is JSON within the limits, and what is not leaves no
/// trace.
pub fn check(pickle: &[u8]) {
    let limits = Limits { json: 4096, depth: 16 };
    let mut json = b"[".to_vec();
    let _seen = first_text(pickle);
    match to_json(pickle, limits, &mut json) {
        Ok(()) => {
            assert!(json.len() <= limits.json + 1);
            assert!(!json.contains(&b'\n'));
            let text = str::from_utf8(&json[1..]);
            let read = text.map(serde_json::from_str::<&serde_json::value::RawValue>);
            assert!(matches!(read, Ok(Ok(_))), "{text:?}");
        }
        Err(_) => assert_eq!(json, b"["),
    }
}
