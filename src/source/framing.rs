//! Cuts a stream of bytes into blocks of whole lines. Pure: no socket, no clock, no meaning of a line.

use std::io;

use bytes::{Buf, BytesMut};
use memchr::{memchr, memrchr};
use tokio_util::codec::Decoder;

/// CR and LF: what may stand behind the text of a line.
pub const LINE_END: usize = 2;

/// Finds blocks of whole lines in what was received so far.
///
/// A line longer than the limit, its LF and CR not counted, is never kept whole: once that much of it is there it
/// is given as [`Frame::TooLong`], and the rest of it is thrown away as it comes. How the stream was cut into
/// segments on its way changes nothing of the lines.
///
/// It needs a buffer of `max_line` + [`LINE_END`] bytes, and takes something out of every buffer that full.
#[derive(Debug)]
pub struct Framing {
    max_line: usize,
    /// Bytes at the start of the buffer known to hold no LF: a line that comes byte by byte is not searched from
    /// its start each time.
    searched: usize,
    /// The end of a line that was too long has not come yet.
    discarding: bool,
}

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Whole lines, none over the limit, each ended by LF; only the last one of the stream may lack it.
    Lines(BytesMut),
    /// Here stood a line that was over the limit.
    TooLong,
}

impl Framing {
    /// At the start of a stream.
    pub fn new(max_line: usize) -> Self {
        Framing { max_line, searched: 0, discarding: false }
    }

    /// Throws away up to the end of the line that was too long.
    fn discard(&mut self, buffer: &mut BytesMut) {
        match memchr(b'\n', buffer) {
            Some(end) => {
                buffer.advance(end + 1);
                self.discarding = false;
            }
            None => buffer.clear(),
        }
    }

    /// Whether `line`, which has lost its LF, is over the limit.
    fn is_too_long(&self, line: &[u8]) -> bool {
        line.strip_suffix(b"\r").unwrap_or(line).len() > self.max_line
    }
}

impl Decoder for Framing {
    type Item = Frame;
    /// Never made here; a `Decoder` must have one that reading can make.
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
        if self.discarding {
            self.discard(buffer);
        }
        // Of lines that end within the window only one that fills it can be over the limit: the first.
        let window = &buffer[..buffer.len().min(self.max_line + LINE_END)];
        let Some(end) = memrchr(b'\n', &window[self.searched..]).map(|at| self.searched + at) else {
            self.searched = window.len();
            if window.len() < self.max_line + LINE_END {
                return Ok(None);
            }
            self.searched = 0;
            self.discarding = true;
            self.discard(buffer);
            return Ok(Some(Frame::TooLong));
        };
        let first = self.searched + memchr(b'\n', &window[self.searched..]).unwrap_or(end);
        self.searched = 0;
        if self.is_too_long(&window[..first]) {
            buffer.advance(first + 1);
            return Ok(Some(Frame::TooLong));
        }
        Ok(Some(Frame::Lines(buffer.split_to(end + 1))))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
        if let Some(frame) = self.decode(buffer)? {
            return Ok(Some(frame));
        }
        self.searched = 0;
        if buffer.is_empty() {
            return Ok(None);
        }
        let line = buffer.split();
        Ok(Some(if self.is_too_long(&line) { Frame::TooLong } else { Frame::Lines(line) }))
    }
}

/// Holds for all bytes, or panics: framing under any split gives the lines that the whole has. The first byte
/// gives the limit, the second seeds the splits. For fuzzing and tests.
#[doc(hidden)]
pub fn check_framing(bytes: &[u8]) {
    let [max_line, seed, stream @ ..] = bytes else { return };
    let max_line = usize::from(*max_line);
    let mut buffer = BytesMut::new();
    let mut framing = Framing::new(max_line);
    let mut lines = Vec::new();
    let take = |frame: Option<Frame>, lines: &mut Vec<Option<Vec<u8>>>| {
        match &frame {
            Some(Frame::Lines(block)) => lines.extend(split(block).map(|line| Some(line.to_vec()))),
            Some(Frame::TooLong) => lines.push(None),
            None => return false,
        }
        true
    };
    let mut random = u32::from(*seed) | 1;
    let mut rest = stream;
    while !rest.is_empty() {
        // Never more in the buffer than it is promised to need.
        let room = max_line + LINE_END - buffer.len();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (segment, behind) = rest.split_at(rest.len().min(1 + (random >> 16) as usize % room));
        buffer.extend_from_slice(segment);
        while take(framing.decode(&mut buffer).unwrap_or(None), &mut lines) {}
        rest = behind;
    }
    while take(framing.decode_eof(&mut buffer).unwrap_or(None), &mut lines) {}
    let whole: Vec<_> = split(stream)
        .map(|line| {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            (text.len() <= max_line).then(|| line.to_vec())
        })
        .collect();
    assert_eq!(lines, whole);
}

/// The lines of `bytes` with their LFs.
fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(max_line: usize, segments: &[&str]) -> Vec<String> {
        let (mut framing, mut buffer, mut frames) = (Framing::new(max_line), BytesMut::new(), Vec::new());
        let mut push = |frame| match frame {
            Some(Frame::Lines(block)) => {
                frames.push(String::from_utf8(block.to_vec()).unwrap());
                true
            }
            Some(Frame::TooLong) => {
                frames.push("too long".to_owned());
                true
            }
            None => false,
        };
        for segment in segments {
            buffer.extend_from_slice(segment.as_bytes());
            while push(framing.decode(&mut buffer).unwrap()) {}
        }
        while push(framing.decode_eof(&mut buffer).unwrap()) {}
        assert!(buffer.is_empty());
        frames
    }

    #[test]
    fn whole_lines_that_came_together_are_one_block() {
        assert_eq!(frames(9, &["a\nb\r\nc", "d\n"]), ["a\nb\r\n", "cd\n"]);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(frames(9, &["a\nb"]), ["a\n", "b"]);
        assert_eq!(frames(9, &["a\r"]), ["a\r"]);
        assert!(frames(9, &[""]).is_empty());
    }

    #[test]
    fn cr_and_lf_do_not_count_towards_the_limit() {
        assert_eq!(frames(3, &["abc\r\n"]), ["abc\r\n"]);
        assert_eq!(frames(3, &["abc\r"]), ["abc\r"]);
        assert_eq!(frames(3, &["abcd\n"]), ["too long"]);
        assert_eq!(frames(3, &["abcd"]), ["too long"]);
        assert_eq!(frames(3, &["abc\r\r\n"]), ["too long"]);
    }

    #[test]
    fn a_line_over_the_limit_is_counted_once_and_harms_no_neighbour() {
        assert_eq!(frames(3, &["a\nbcdef", "ghijklmnopq", "rs\nt\n"]), ["a\n", "too long", "t\n"]);
        assert_eq!(frames(3, &["abcd\nefgh\ni\n"]), ["too long", "too long", "i\n"]);
    }

    #[test]
    fn a_line_over_the_limit_is_not_kept() {
        let (mut framing, mut buffer) = (Framing::new(100), BytesMut::new());
        for _ in 0..1000 {
            buffer.extend_from_slice(&[b'x'; 10]);
            while framing.decode(&mut buffer).unwrap().is_some() {}
            assert!(buffer.len() < 100 + LINE_END);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_lines_of_the_whole(
            max_line in 0u8..20, seed: u8, stream in "[a-c\r\n\n]{0,200}"
        ) {
            check_framing(&[&[max_line, seed], stream.as_bytes()].concat());
        }
    }
}
