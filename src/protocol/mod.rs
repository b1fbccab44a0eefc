//! The protocol: from the bytes of a line to the records it says, as `protocol.md` specifies it.
//!
//! [`lines`] cuts what a socket delivered into lines, [`parse`] reads one of them. Both are pure: no clock, no I/O,
//! no queue, and nothing is copied, a [`Record`] borrows from its line. The grammar is written with `nom`: every
//! function takes what is left of the line and gives back what it leaves, or a reason and the place it stopped at.

use crate::record::usual::Usual;
use crate::record::{Dialect, Record};

mod check;
mod custom;
mod error;
mod event;
mod field;
mod json;
mod limits;
mod line;
mod marks;
mod number;
mod plain;
mod report;
mod scan;
mod service_check;
mod statsd;
mod time;
mod typed;
mod usual;

pub use check::check;
pub use error::{Error, Notes, Reason};
pub use limits::Limits;
pub use line::{Class, Line, Lines, count_replaced, first, lines, skip_bom};
pub use usual::{PAD, usual};

use error::Fault;

/// Reads one line, without its LF and CR, and gives its records to `emit` in order.
///
/// A line is taken whole or refused whole, but it is read only once: on an error `emit` may have been given the
/// first records of a packed line already, and the caller takes those back. Blank lines and control lines are not
/// for this function: see [`Line::class`].
///
/// Nothing is allocated, with one exception: names in a JSON report that hold escapes, or that the protocol does not
/// know once there are more than 16 of them. Those are compared by a hash set, since comparing each with each would
/// let a sender buy much work with few bytes.
#[inline]
pub fn parse<'a>(
    line: &'a [u8],
    dialect: Dialect,
    limits: &Limits,
    emit: &mut impl FnMut(Record<'a>),
) -> Result<Notes, Error> {
    struct Call<'f, F>(&'f mut F);

    impl<'a, F: FnMut(Record<'a>)> Emit<'a> for Call<'_, F> {
        fn emit(&mut self, record: &Record<'a>) {
            (self.0)(*record);
        }
    }

    parse_to(line, dialect, limits, &mut Call(emit))
}

/// Where the records of a line go, in order.
///
/// It is what a closure would be, but its `emit` can be marked `#[inline(always)]`: then a record of a common line is
/// never put together in memory.
pub trait Emit<'a> {
    /// Takes one.
    fn emit(&mut self, record: &Record<'a>);

    /// Takes one of the usual kind.
    #[inline]
    fn usual(&mut self, usual: &Usual<'a>) {
        self.emit(&Record::from(usual));
    }
}

/// As [`parse`].
#[inline]
pub fn parse_to<'a>(
    line: &'a [u8],
    dialect: Dialect,
    limits: &Limits,
    to: &mut impl Emit<'a>,
) -> Result<Notes, Error> {
    if line.len() > limits.max_line_bytes {
        return Err(Error { reason: Reason::LineTooLong, offset: offset(limits.max_line_bytes) });
    }
    let parsed = match line {
        [b'{', ..] => report::parse(line, limits, &mut |record| to.emit(&record)),
        [b'_', b'e', b'{', ..] => event::parse(line, limits, &mut |record| to.emit(&record)),
        [b'_', b's', b'c', b'|', ..] => service_check::parse(line, limits, &mut |record| to.emit(&record)),
        _ => plain::parse(line, dialect, limits, to),
    };
    parsed.map_err(|error| refused(line, error))
}

#[cold]
fn refused(line: &[u8], error: nom::Err<Fault<'_>>) -> Error {
    match error {
        nom::Err::Error(fault) | nom::Err::Failure(fault) => {
            Error { reason: fault.reason, offset: offset(nom::Offset::offset(line, fault.at)) }
        }
        // Only parsers of `nom`'s streaming kind say this, and there is none here.
        nom::Err::Incomplete(_) => Error { reason: Reason::Truncated, offset: offset(line.len()) },
    }
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
