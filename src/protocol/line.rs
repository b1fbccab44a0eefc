//! Cutting what was received into lines.

/// One line without its LF and CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line.
    pub bytes: &'a [u8],
    /// Where it begins in the bytes it was cut from.
    pub offset: usize,
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing: skipped, and counted as received.
    Blank,
    /// `!ping`: answered on a stream, skipped elsewhere.
    Ping,
    /// `!sync`: answered on a stream, skipped elsewhere.
    Sync,
    /// A report, for [`parse`](super::parse).
    Report,
}

impl Line<'_> {
    /// What the line is for, by its first byte nearly always.
    #[inline]
    pub fn class(&self) -> Class {
        match self.bytes {
            [] => Class::Blank,
            b"!ping" => Class::Ping,
            b"!sync" => Class::Sync,
            _ => Class::Report,
        }
    }
}

/// The lines of `bytes`: LF ends a line, and what follows the last LF is one if it is not empty.
#[inline]
pub fn lines(bytes: &[u8]) -> Lines<'_> {
    Lines { bytes, from: 0, ends: memchr::memchr_iter(b'\n', bytes) }
}

/// The line at the start of `bytes`, which are not empty, and its length with its LF, if it has one.
#[inline]
pub fn first(bytes: &[u8]) -> (Line<'_>, usize) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = &bytes[..end];
    let line = Line { bytes: line.strip_suffix(b"\r").unwrap_or(line), offset: 0 };
    (line, bytes.len().min(end + 1))
}

/// See [`lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    from: usize,
    ends: memchr::Memchr<'a>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        let offset = self.from;
        let end = match self.ends.next() {
            Some(end) => end,
            None if offset < self.bytes.len() => self.bytes.len(),
            None => return None,
        };
        self.from = end + 1;
        let line = &self.bytes[offset..end];
        Some(Line { bytes: line.strip_suffix(b"\r").unwrap_or(line), offset })
    }
}

/// How many bytes at the start of a stream or datagram are a UTF-8 byte order mark: 0 or 3.
#[inline]
pub fn skip_bom(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// How many U+FFFD the bytes will read as: what is not UTF-8 is taken, but counted. Cheap for bytes that are.
pub fn count_replaced(bytes: &[u8]) -> usize {
    if str::from_utf8(bytes).is_ok() {
        return 0;
    }
    bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8]) -> Vec<(usize, &[u8])> {
        lines(bytes).map(|line| (line.offset, line.bytes)).collect()
    }

    #[test]
    fn only_a_line_feed_ends_a_line_and_one_carriage_return_goes_with_it() {
        assert_eq!(cut(b"a\r\nb\rc\r\r\n\nd\r"), [(0, &b"a"[..]), (3, b"b\rc\r"), (9, b""), (10, b"d")]);
    }

    #[test]
    fn nothing_behind_the_last_line_feed_is_no_line() {
        assert_eq!(cut(b""), []);
        assert_eq!(cut(b"\n"), [(0, &b""[..])]);
        assert_eq!(cut(b"a\n"), [(0, &b"a"[..])]);
    }

    #[test]
    fn only_the_exact_words_are_control_lines() {
        let class = |bytes| Line { bytes, offset: 0 }.class();
        assert_eq!(class(b""), Class::Blank);
        assert_eq!(class(b"!ping"), Class::Ping);
        assert_eq!(class(b"!sync"), Class::Sync);
        for other in [&b"!"[..], b"!sync ", b"!pin", b"!PING", b"!sync:1|c", b" "] {
            assert_eq!(class(other), Class::Report);
        }
    }

    #[test]
    fn what_is_not_utf_8_is_counted_as_it_will_read() {
        for bytes in [&b"a\xc3\xa9"[..], b"\xff\xfe|\xe2\x82:x", b""] {
            let replaced = String::from_utf8_lossy(bytes).matches('\u{fffd}').count();
            assert_eq!(count_replaced(bytes), replaced);
        }
    }
}
