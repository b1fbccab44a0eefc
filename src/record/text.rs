//! A text of a report: the bytes as sent, and how they are read.

use std::borrow::Cow;

use super::escape;

/// Bytes of a line with the escapes that its place in the line allows. Bytes that are not UTF-8 read as U+FFFD.
///
/// Two texts are equal (`==`) when they were sent alike; [`Text::is`] compares what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// As sent.
    pub raw: &'a [u8],
    /// Which escapes `raw` may hold.
    pub form: Form,
}

/// The escapes of a text. They differ with the place in the line: see `protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// None.
    Plain,
    /// Event values: `\|`, `\n`, `\\`; any other escape stays as sent.
    Event,
    /// `_e{}` title and text: `\n`.
    Newline,
    /// `_sc` message: `\n` and `m\:`.
    Message,
    /// The inside of a valid JSON string.
    Json,
}

/// A stretch of a text between two escapes, or what an escape stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that stand for themselves; not empty, not necessarily UTF-8.
    Bytes(&'a [u8]),
    /// A decoded escape.
    Char(char),
}

impl<'a> Text<'a> {
    /// A text without escapes.
    #[inline]
    pub const fn plain(raw: &'a [u8]) -> Self {
        Text { raw, form: Form::Plain }
    }

    /// Whether the text says nothing. No escape stands for nothing, so this is a matter of length.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The text as it reads. Borrowed unless it has an escape, or bytes that are not UTF-8.
    pub fn decode(&self) -> Cow<'a, str> {
        let mut pieces = self.pieces();
        let Some(first) = pieces.next() else {
            return Cow::Borrowed("");
        };
        if let Piece::Bytes(bytes) = first
            && bytes.len() == self.raw.len()
        {
            return lossy(bytes);
        }
        let mut text = String::with_capacity(self.raw.len());
        std::iter::once(first).chain(pieces).for_each(|piece| match piece {
            Piece::Bytes(bytes) => text.push_str(&lossy(bytes)),
            Piece::Char(char) => text.push(char),
        });
        Cow::Owned(text)
    }

    /// The text without its escapes, to be compared with words. Borrowed unless it has an escape.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        // Every escape of every form has a backslash.
        if self.raw.contains(&b'\\') {
            match self.decode() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Whether the text reads as `other`.
    pub fn is(&self, other: &str) -> bool {
        *self.bytes() == *other.as_bytes()
    }

    /// Appends the text as it reads, in UTF-8.
    pub fn write(&self, out: &mut Vec<u8>) {
        for piece in self.pieces() {
            match piece {
                Piece::Bytes(bytes) => escape::write_lossy(bytes, out),
                Piece::Char(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// Appends the text as a JSON string with its quotes. What came as JSON keeps the escapes it was sent with.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        if self.form == Form::Json {
            escape::write_lossy(self.raw, out);
        } else {
            for piece in self.pieces() {
                match piece {
                    Piece::Bytes(bytes) => escape::write_escaped(bytes, out),
                    Piece::Char(char) => {
                        escape::write_escaped(char.encode_utf8(&mut [0; 4]).as_bytes(), out);
                    }
                }
            }
        }
        out.push(b'"');
    }

    /// The text in pieces, so that an encoder can write it with escapes of its own and without a copy.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let Text { raw, form } = *self;
        let mut rest = raw;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            if let Some((char, length)) = escaped(form, rest) {
                rest = &rest[length..];
                return Some(Piece::Char(char));
            }
            let (bytes, after) = rest.split_at(unescaped(form, rest));
            rest = after;
            Some(Piece::Bytes(bytes))
        })
    }
}

/// How many of the first bytes of `rest`, which does not begin with an escape, stand for themselves.
fn unescaped(form: Form, rest: &[u8]) -> usize {
    let first = if form == Form::Message { b'm' } else { b'\\' };
    if form == Form::Plain {
        return rest.len();
    }
    let mut from = 1;
    while let Some(at) = rest.get(from..).and_then(|rest| match form {
        Form::Message => memchr::memchr2(first, b'\\', rest),
        _ => memchr::memchr(first, rest),
    }) {
        if escaped(form, &rest[from + at..]).is_some() {
            return from + at;
        }
        from += at + 1;
    }
    rest.len()
}

/// What the escape that `bytes` begins with stands for, and its length.
fn escaped(form: Form, bytes: &[u8]) -> Option<(char, usize)> {
    match (form, bytes) {
        (Form::Plain, _) => None,
        (Form::Json, [b'\\', b'u', ..]) => Some(unicode(bytes)),
        (Form::Json, [b'\\', letter, ..]) => Some((short(*letter), 2)),
        (Form::Message, [b'm', b'\\', b':', ..]) => Some(('m', 2)),
        (Form::Event | Form::Newline | Form::Message, [b'\\', b'n', ..]) => Some(('\n', 2)),
        (Form::Event, [b'\\', b'|', ..]) => Some(('|', 2)),
        (Form::Event, [b'\\', b'\\', ..]) => Some(('\\', 2)),
        _ => None,
    }
}

/// JSON's escapes of one letter.
fn short(letter: u8) -> char {
    match letter {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        other => char::from(other),
    }
}

/// JSON's `\uXXXX`, of which two make one character beyond the first 65 536.
fn unicode(bytes: &[u8]) -> (char, usize) {
    let first = hex(bytes);
    let second = bytes.get(6..).filter(|rest| rest.starts_with(b"\\u")).map_or(0, hex);
    if (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second) {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), bytes.len().min(6))
}

/// The four hexadecimal digits behind `\u`.
fn hex(escape: &[u8]) -> u32 {
    escape
        .iter()
        .skip(2)
        .take(4)
        .fold(0, |code, &digit| code << 4 | char::from(digit).to_digit(16).unwrap_or(0))
}

/// As `String::from_utf8_lossy`, which looks at texts that are UTF-8, as nearly all are, more slowly than this.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str, form: Form) -> String {
        Text { raw: raw.as_bytes(), form }.decode().into_owned()
    }

    #[test]
    fn an_event_has_three_escapes_and_keeps_the_others() {
        assert_eq!(decoded(r"a\|b\nc\\n\t\", Form::Event), "a|b\nc\\n\\t\\");
    }

    #[test]
    fn a_title_has_only_newlines() {
        assert_eq!(decoded(r"a\nb\\n\|", Form::Newline), "a\nb\\\n\\|");
    }

    #[test]
    fn a_message_may_hold_an_escaped_field_prefix() {
        assert_eq!(decoded(r"mm\:x\nm:\:m\", Form::Message), "mm:x\nm:\\:m\\");
    }

    #[test]
    fn json_escapes_are_decoded_and_pairs_make_one_character() {
        assert_eq!(decoded(r#"\u0041\ud83d\ude00\/\"\\\b\f\r\t"#, Form::Json), "A😀/\"\\\u{8}\u{c}\r\t");
        assert!(Text { raw: br"na\u006de", form: Form::Json }.is("name"));
        assert!(!Text { raw: br"na\u006de", form: Form::Json }.is("names"));
        assert!(!Text { raw: br"na\u006de", form: Form::Json }.is("nam"));
    }

    #[test]
    fn bytes_that_are_not_utf_8_read_as_the_replacement_character() {
        let text = Text::plain(b"a\xffb\xe2\x82");
        assert_eq!(text.decode(), "a\u{fffd}b\u{fffd}");
        let mut out = Vec::new();
        text.write(&mut out);
        assert_eq!(out, "a\u{fffd}b\u{fffd}".as_bytes());
    }

    #[test]
    fn a_text_without_escapes_is_not_copied() {
        assert!(matches!(Text { raw: b"plain", form: Form::Event }.decode(), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_written_json_string_reads_back_as_the_text() {
        for (raw, form) in
            [(&b"q\"\\\x01\x7f\xff\n"[..], Form::Plain), (br"a\n\|", Form::Event), (br"\u00e9\n", Form::Json)]
        {
            let text = Text { raw, form };
            let mut out = Vec::new();
            text.write_json(&mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.decode());
        }
    }
}
