//! `kaneda parse`: what the protocol makes of a stream of lines, and what it says of those it refuses.

use std::io::{self, BufRead, Write};

use crate::protocol::{self, Class, Error, Limits, Line};
use crate::record::document::{self, Envelope};
use crate::record::{Dialect, Text};

/// So much of a refused line is shown.
const SHOWN_BYTES: usize = 200;

/// Reads `input` as one stream of lines. Writes the document of each record to `out`, one a line, and an object for
/// each line that is refused to `err`. Says whether there was one of those.
///
/// What is held of a line is never more than the longest that is taken, whatever the input.
pub fn run(
    dialect: Dialect,
    limits: Limits,
    input: impl BufRead,
    mut out: impl Write,
    mut err: impl Write,
) -> io::Result<bool> {
    let mut lines = Lines { input, held: Vec::new(), number: 0 };
    let mut refused = false;
    let mut documents = Vec::new();
    while lines.next(&limits)? {
        let line = Line { bytes: &lines.held, offset: 0 };
        if line.class() != Class::Report {
            continue;
        }
        documents.clear();
        let parsed = protocol::parse(line.bytes, dialect, &limits, &mut |record| {
            document::write(&record, &Envelope::default(), &mut documents);
            documents.push(b'\n');
        });
        match parsed {
            Ok(_) => out.write_all(&documents)?,
            Err(error) => {
                refused = true;
                // In the order of the lines also where both go to one terminal.
                out.flush()?;
                write_refusal(lines.number, error, line.bytes, &mut err)?;
            }
        }
    }
    out.flush()?;
    err.flush()?;
    Ok(refused)
}

/// Writes one line that says why a line was refused.
fn write_refusal(number: u64, error: Error, line: &[u8], err: &mut impl Write) -> io::Result<()> {
    let Error { reason, offset } = error;
    let mut object =
        format!("{{\"line\":{number},\"offset\":{offset},\"code\":\"{}\",\"reason\":", reason.code());
    object.push_str(&serde_json::to_string(reason.sentence())?);
    let mut object = object.into_bytes();
    object.extend_from_slice(b",\"text\":");
    Text::plain(shown(line)).write_json(&mut object);
    object.extend_from_slice(b"}\n");
    err.write_all(&object)
}

/// The beginning of a line, without a part of a character at the end.
fn shown(line: &[u8]) -> &[u8] {
    let Some(cut) = line.get(..SHOWN_BYTES).filter(|_| line.len() > SHOWN_BYTES) else { return line };
    match str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

/// A stream cut into lines, one at a time.
struct Lines<R> {
    input: R,
    /// The line, without LF and CR: all of it, or one byte more than may be taken.
    held: Vec<u8>,
    /// Its number, from 1.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line; `false` at the end of the stream.
    fn next(&mut self, limits: &Limits) -> io::Result<bool> {
        self.held.clear();
        // The byte order mark and CR do not count as bytes of the line.
        let most = limits.max_line_bytes.saturating_add(if self.number == 0 { 5 } else { 2 });
        let mut any = false;
        loop {
            let bytes = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.held.extend_from_slice(&part[..part.len().min(most - self.held.len())]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if self.number == 0 {
            self.held.drain(..protocol::skip_bom(&self.held));
        }
        if self.held.last() == Some(&b'\r') {
            self.held.pop();
        }
        self.number += 1;
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reason;

    fn parsed(input: &[u8], limits: Limits) -> (bool, Vec<serde_json::Value>, Vec<serde_json::Value>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let reader = io::BufReader::with_capacity(7, input);
        let refused = run(Dialect::Kaneda, limits, reader, &mut out, &mut err).unwrap();
        let objects = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        (refused, objects(out), objects(err))
    }

    #[test]
    fn documents_come_in_order_and_refusals_with_their_line() {
        let input = b"\xef\xbb\xbfa:1|c\r\n\n!ping\n!sync\nb:x|c\n\xef\xbb\xbf:2|g\nc:1:2:x|ms\nd:1|s";
        let (refused, documents, refusals) = parsed(input, Limits::default());
        assert!(refused);
        let names: Vec<_> = documents.iter().map(|document| document["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "\u{feff}", "d"]);
        assert_eq!(refusals.len(), 2);
        assert_eq!(refusals[0]["line"], 5);
        assert_eq!(refusals[0]["offset"], 2);
        assert_eq!(refusals[0]["code"], "bad_number");
        assert_eq!(refusals[0]["text"], "b:x|c");
        assert_eq!(refusals[0]["reason"], Reason::BadNumber.sentence());
        assert_eq!(refusals[1]["line"], 7);
    }

    #[test]
    fn nothing_refused_is_success() {
        assert_eq!(parsed(b"", Limits::default()), (false, vec![], vec![]));
        assert!(!parsed(b"a:1|c", Limits::default()).0);
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_the_limit() {
        let limits = Limits { max_line_bytes: 5, ..Limits::default() };
        assert!(!parsed(b"\xef\xbb\xbfa:1|c\r\na:1|c\n", limits).0);
        let (refused, _, refusals) = parsed(b"a:11|c\r\na:1|c", limits);
        assert!(refused);
        assert_eq!((&refusals[0]["code"], &refusals[0]["offset"]), (&"line_too_long".into(), &5.into()));
    }

    #[test]
    fn an_endless_line_is_refused_once_and_shown_in_part() {
        let mut input = "é".repeat(100_000).into_bytes();
        input.insert(0, b'x');
        input.extend_from_slice(b"\na:1|c");
        let (_, documents, refusals) = parsed(&input, Limits::default());
        assert_eq!(documents.len(), 1);
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0]["code"], "line_too_long");
        let text = refusals[0]["text"].as_str().unwrap();
        assert_eq!(text.len(), 199);
        assert!(!text.contains('\u{fffd}'));
    }
}
