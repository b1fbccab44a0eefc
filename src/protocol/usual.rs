//! The usual line, `name:number|type`, perhaps with a rate and tags: read from the block it stands in, its end included.
//!
//! Nearly all that a daemon is sent are such lines, so they are read without looking at a byte twice: the first 64
//! bytes become two sets of bits, where a `:` stands and where a `|` or LF, and name, value, type and the end of the
//! line are the first bits of these. No branch depends on the length of anything. What is not usual, or not right, is
//! left to the grammar of `plain`, which gives the same records for the lines that are read here.

use super::limits::Limits;
use super::marks::{self, Marks, WINDOW};
use super::{Emit, field, number};
use crate::record::usual::{Numeric, Usual};
use crate::record::{Dialect, Kind, Record, Tags, Text, Value};

/// Bytes that have to follow a block for its last lines to be read here; what they are changes nothing.
pub const PAD: usize = WINDOW;

/// Reads the line at the start of `block` if it is a usual one: gives its record to `to`, and its length with the LF.
///
/// `None` says nothing about the line, and nothing was given to `to`. A line is only found here if it ends in an LF
/// and [`PAD`] bytes or more come behind its name's first byte.
#[inline(always)]
pub fn usual<'a>(
    block: &'a [u8],
    dialect: Dialect,
    limits: &Limits,
    to: &mut impl Emit<'a>,
) -> Option<usize> {
    let window = block.first_chunk()?;
    let Marks { colons, ends } = marks::of(window);
    let name = colons.trailing_zeros() as usize;
    let value = ends.trailing_zeros() as usize;
    let ends = ends & ends.wrapping_sub(1);
    let end = ends.trailing_zeros() as usize;
    // Where a mark is missing its place is 64, behind those that are there.
    if name == 0 || name >= value || end >= WINDOW || matches!(window[0], b'{' | b'_') {
        return None;
    }
    let text = &block[name + 1..value];
    let name = &block[..name];
    let is_last = block[end] == b'\n';
    let Some(kind) = numeric(&block[value + 1..], end - value - 1) else {
        return if is_last { set(name, text, &block[value..end], end, limits, to) } else { None };
    };
    let number = number::short(text, &block[name.len() + 1..])?;
    let mut usual = Usual { kind, name, number, text, rate: 1.0, tags: None };
    // Signs and fields may mean something else.
    if dialect == Dialect::Statsd && (!is_last || matches!(text, [b'+' | b'-', ..])) {
        return None;
    }
    let end = if is_last { end } else { fields(block, end, limits, &mut usual)? };
    if end > limits.max_line_bytes {
        return None;
    }
    to.usual(&usual);
    Some(end + 1)
}

/// The kind of a type of `length` bytes at the start of `typed`.
#[inline(always)]
fn numeric(typed: &[u8], length: usize) -> Option<Numeric> {
    /// By the first byte.
    const KINDS: [Option<Numeric>; 256] = {
        let mut kinds = [None; 256];
        kinds[b'c' as usize] = Some(Numeric::Counter);
        kinds[b'g' as usize] = Some(Numeric::Gauge);
        kinds[b'm' as usize] = Some(Numeric::Timing);
        kinds[b'h' as usize] = Some(Numeric::Histogram);
        kinds[b'd' as usize] = Some(Numeric::Distribution);
        kinds
    };
    let [first, second] = *typed.first_chunk()?;
    let is_ms = first == b'm';
    let is_whole = (length == 1) & !is_ms | (length == 2) & is_ms & (second == b's');
    if is_whole { KINDS[usize::from(first)] } else { None }
}

/// Gives a set whose text no other rule could claim.
#[inline(always)]
fn set<'a>(
    name: &'a [u8],
    text: &'a [u8],
    typed: &[u8],
    end: usize,
    limits: &Limits,
    to: &mut impl Emit<'a>,
) -> Option<usize> {
    let is_plain = matches!(text, [b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', ..]) && !text.ends_with(b"\\");
    if typed != b"|s" || !is_plain || end > limits.max_line_bytes {
        return None;
    }
    to.emit(&Record::new(Kind::Set, Text::plain(name), Value::Text(Text::plain(text))));
    Some(end + 1)
}

/// Reads the fields from the `|` at `at` on into `usual`. Gives the place of the LF.
#[inline(always)]
fn fields<'a>(block: &'a [u8], at: usize, limits: &Limits, usual: &mut Usual<'a>) -> Option<usize> {
    let mut at = at;
    loop {
        let end = end(block, at + 1)?;
        let text = block.get(at + 2..end)?;
        match block[at + 1] {
            b'#' => {
                if let Some(Tags::List(tags)) = field::tags(text, limits).ok()? {
                    usual.tags = Some(tags);
                }
            }
            b'@' => {
                let rate = number::short(text, &block[at + 2..])?.as_f64();
                usual.rate = Some(rate).filter(|rate| *rate > 0.0 && *rate <= 1.0)?;
            }
            _ => return None,
        }
        if block[end] == b'\n' {
            // A CR goes with the LF: it is no part of the field.
            return (block[end - 1] != b'\r').then_some(end);
        }
        at = end;
    }
}

/// The place of the first `|` or LF from `at` on.
#[inline(always)]
fn end(block: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        let Marks { ends, .. } = marks::of(block.get(at..)?.first_chunk()?);
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize);
        }
        at += WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `line` and its LF, with `PAD` bytes behind.
    fn read(line: &str, dialect: Dialect) -> Option<usize> {
        struct Nowhere;
        impl<'a> Emit<'a> for Nowhere {
            fn emit(&mut self, _: &Record<'a>) {}
        }
        let block = [line.as_bytes(), b"\n", &[b'\n'; PAD]].concat();
        usual(&block, dialect, &Limits { max_line_bytes: 256, ..Limits::default() }, &mut Nowhere)
    }

    #[test]
    fn what_clients_send_most_is_usual_up_to_its_end() {
        let tags = "#env:production,service:web,host:ip-10-0-3-7,endpoint:/v2/session,version:1.2.3";
        for line in [
            "a:1|c",
            "a.b:-12.5|g",
            "a:+0.25|ms",
            "a:.5|h",
            "a:99999999|d",
            "a:1|c|@0.1",
            "users:alice|s",
            &format!("a:1|c|@0.1|{tags}"),
            &format!("{}:1|c", "n".repeat(59)),
        ] {
            assert_eq!(read(line, Dialect::Kaneda), Some(line.len() + 1), "{line}");
        }
    }

    #[test]
    fn what_has_rules_of_its_own_is_left_to_the_grammar() {
        let (long_name, long_line) =
            (format!("{}:1|c", "n".repeat(60)), format!("a:1|c|#{}", "t".repeat(250)));
        for line in [
            "",
            ":1|c",
            "a",
            "a:1",
            "a|c:1",
            "!sync",
            "{\"a\":1|c",
            "_e{1,1}:1|c",
            "a:1:2|c",
            "a:123456789|c",
            "a:1e3|c",
            "a:.|c",
            "a:-|c",
            "a:1.2.3|c",
            "a:1|x",
            "a:1|m",
            "a:1|cs",
            "a:1|counter",
            "a:1|c\r",
            "a:1|c|#t\r",
            "a:1|c|",
            "a:1|c|i:1",
            "a:1|c|@0",
            "a:1|c|@2",
            "a:\"b|s",
            "a:b\\|s",
            "a:b|s|@0.1",
            &long_name,
            &long_line,
        ] {
            assert_eq!(read(line, Dialect::Kaneda), None, "{line}");
        }
        for line in ["a:-1|g", "a:1|c|@0.1", "a:1|c|#t"] {
            assert_eq!(read(line, Dialect::Statsd), None, "{line}");
        }
        assert_eq!(read("a:1|g", Dialect::Statsd), Some(6));
    }

    #[test]
    fn a_line_is_not_read_without_what_has_to_follow_it() {
        let mut seen = 0;
        for behind in 0..=PAD {
            let block = [b"abc:1|c\n", &[b'\n'; PAD][..behind]].concat();
            let read = usual(&block, Dialect::Kaneda, &Limits::default(), &mut Count(&mut seen));
            assert_eq!(read.is_some(), block.len() >= PAD);
        }

        struct Count<'c>(&'c mut u32);
        impl<'a> Emit<'a> for Count<'_> {
            fn emit(&mut self, _: &Record<'a>) {
                *self.0 += 1;
            }
        }
        assert_eq!(seen, 9);
    }
}
