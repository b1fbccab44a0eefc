//! Frames: messages and commands, as ZeroMQ has them on a connection.
//!
//! Of a message no more is kept than `max_message` bytes, whatever length it announces.

use super::zmtp::{COMMAND, Error, MAX_COMMAND, answer, check_ready};

/// Of a frame's flags, beside `COMMAND`.
const MORE: u8 = 1;
const LONG: u8 = 2;
/// The header of a frame: flags, and 1 or 8 bytes of length.
const MIN_HEADER: usize = 2;
const MAX_HEADER: usize = 9;
/// What a connection may keep of a memory that it had for a message.
const KEPT_BYTES: usize = 1 << 10;

/// What came, in `B`: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<B> {
    /// A message.
    Message(B),
    /// A message of several parts, behind each other.
    Parts(B),
    /// The first bytes of a message that is too long.
    Long(B),
    /// What a command says.
    Command(B),
}

impl Frame<&[u8]> {
    /// The same with bytes of its own.
    fn owned(self) -> Frame<Vec<u8>> {
        match self {
            Frame::Message(bytes) => Frame::Message(bytes.to_vec()),
            Frame::Parts(bytes) => Frame::Parts(bytes.to_vec()),
            Frame::Long(bytes) => Frame::Long(bytes.to_vec()),
            Frame::Command(bytes) => Frame::Command(bytes.to_vec()),
        }
    }
}

/// Reads the messages of one connection, however they are cut into reads. What lies whole in one read is not copied.
#[derive(Debug)]
pub(super) struct Decoder {
    max_message: usize,
    /// A header that has not come whole, and how much of it.
    header: ([u8; MAX_HEADER], usize),
    /// A frame that has not come whole.
    part: Option<Part>,
    /// What is kept of a message that has not come whole; behind it, what has come of a command.
    held: Vec<u8>,
    /// Bytes of it that are the message's.
    message_bytes: usize,
    /// Parts of the message that have come.
    parts: u64,
    /// More of the message has come than is kept.
    is_long: bool,
    /// What of it was handed out, and goes when the next is asked for.
    handed: Handed,
}

/// The rest of a frame.
#[derive(Debug, Clone, Copy)]
struct Part {
    flags: u8,
    /// Whether none of it was taken.
    is_whole: bool,
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handed {
    Nothing,
    Command,
    Message,
}

impl Part {
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Decoder {
    /// For messages of so many bytes at most.
    pub(super) fn new(max_message: usize) -> Self {
        Decoder {
            max_message,
            header: ([0; MAX_HEADER], 0),
            part: None,
            held: Vec::new(),
            message_bytes: 0,
            parts: 0,
            is_long: false,
            handed: Handed::Nothing,
        }
    }

    /// Takes what is next off `bytes`. `None`: all of them were taken, and more are needed.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Frame<&'a [u8]>>, Error> {
        self.forget();
        loop {
            let part = match self.part.take() {
                Some(part) => part,
                None => match self.header(bytes)? {
                    Some(part) => part,
                    None => return Ok(None),
                },
            };
            if let Some(body) = self.at_once(part, bytes) {
                return Ok(Some(if part.is(COMMAND) { Frame::Command(body) } else { Frame::Message(body) }));
            }
            let left = self.hold(part, bytes);
            if left > 0 {
                self.part = Some(Part { is_whole: false, left, ..part });
                return Ok(None);
            }
            if part.is(COMMAND) {
                self.handed = Handed::Command;
                return Ok(Some(Frame::Command(&self.held[self.message_bytes..])));
            }
            self.parts += 1;
            self.message_bytes = self.held.len();
            if !part.is(MORE) {
                self.handed = Handed::Message;
                return Ok(Some(match (self.is_long, self.parts) {
                    (true, _) => Frame::Long(&self.held),
                    (false, 1) => Frame::Message(&self.held),
                    (false, _) => Frame::Parts(&self.held),
                }));
            }
        }
    }

    /// Bytes that have to come before there is another frame, at least; more than 0.
    pub(super) fn wanted(&self) -> usize {
        match self.part {
            Some(part) => part.left.try_into().unwrap_or(usize::MAX),
            None => self.header_bytes() - self.header.1,
        }
    }

    /// Bytes of the header that comes, as far as it is known.
    fn header_bytes(&self) -> usize {
        match self.header {
            (_, 0) => MIN_HEADER,
            ([flags, ..], _) => {
                if flags & LONG == 0 {
                    MIN_HEADER
                } else {
                    MAX_HEADER
                }
            }
        }
    }

    /// Whether a message has come in part.
    pub(super) fn is_inside(&self) -> bool {
        let is_inside_frame = self.header.1 > 0 || self.part.is_some_and(|part| !part.is(COMMAND));
        is_inside_frame || (self.parts > 0 && self.handed != Handed::Message)
    }

    /// What was handed out is not needed any more.
    fn forget(&mut self) {
        match std::mem::replace(&mut self.handed, Handed::Nothing) {
            Handed::Nothing => {}
            Handed::Command => self.held.truncate(self.message_bytes),
            Handed::Message => {
                self.held.clear();
                self.held.shrink_to(KEPT_BYTES);
                (self.message_bytes, self.parts, self.is_long) = (0, 0, false);
            }
        }
    }

    /// Takes a header off `bytes`, or the rest of one.
    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<Part>, Error> {
        while self.header.1 < self.header_bytes() {
            if bytes.is_empty() {
                return Ok(None);
            }
            let wanted = self.header_bytes() - self.header.1;
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.header.0[self.header.1..][..taken.len()].copy_from_slice(taken);
            self.header.1 += taken.len();
            *bytes = rest;
        }
        self.header.1 = 0;
        let header = &self.header.0;
        let flags = header[0];
        let is_command = flags & COMMAND != 0;
        if flags & !(MORE | LONG | COMMAND) != 0 || (is_command && flags & MORE != 0) {
            return Err(Error::Flags(flags));
        }
        let left = match flags & LONG {
            0 => u64::from(header[1]),
            _ => header[1..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if is_command && left > MAX_COMMAND as u64 {
            return Err(Error::LongCommand);
        }
        Ok(Some(Part { flags, is_whole: true, left }))
    }

    /// A frame that is a whole message, or a command, and lies whole in `bytes`.
    fn at_once<'b>(&self, part: Part, bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
        let is_alone =
            part.is(COMMAND) || (!part.is(MORE) && self.parts == 0 && part.left <= self.max_message as u64);
        if !part.is_whole || !is_alone || part.left > bytes.len() as u64 {
            return None;
        }
        let (body, rest) = bytes.split_at(part.left as usize);
        *bytes = rest;
        Some(body)
    }

    /// Takes what there is of a frame, and keeps what there is room for. What is left to come.
    fn hold(&mut self, part: Part, bytes: &mut &[u8]) -> u64 {
        let n = part.left.min(bytes.len() as u64) as usize;
        let (taken, rest) = bytes.split_at(n);
        *bytes = rest;
        let is_command = part.is(COMMAND);
        let room = if is_command { MAX_COMMAND } else { self.max_message - self.held.len() };
        if part.is_whole {
            // At once, since growing step by step would double what is there: one part as long as it says, further ones
            // as long as all may be.
            let is_first = is_command || self.parts == 0;
            self.held.reserve_exact(if is_first { part.left.min(room as u64) as usize } else { room });
        }
        self.held.extend_from_slice(&taken[..n.min(room)]);
        self.is_long |= n > room;
        part.left - n as u64
    }
}

/// For a fuzzer: any bytes, read at once and in pieces, are the same messages, and no more is kept than may be.
///
/// # Panics
/// When they are not.
pub fn check(bytes: &[u8]) {
    let [max_message, step, bytes @ ..] = bytes else { return };
    let max_message = usize::from(*max_message);
    let read = |step: usize| {
        let mut decoder = Decoder::new(max_message);
        let mut frames = Vec::new();
        for mut piece in bytes.chunks(step) {
            loop {
                match decoder.next(&mut piece) {
                    Ok(Some(frame)) => frames.push(Ok(frame.owned())),
                    Ok(None) => break,
                    Err(error) => {
                        frames.push(Err(error));
                        return frames;
                    }
                }
            }
            assert!(piece.is_empty());
            assert!(decoder.held.capacity() <= KEPT_BYTES.max(max_message) + MAX_COMMAND);
        }
        frames
    };
    let frames = read(bytes.len().max(1));
    assert_eq!(frames, read(usize::from(*step).max(1)));
    for frame in frames.iter().flatten() {
        match frame {
            Frame::Command(body) => {
                // Whatever they say of it.
                let _ready = check_ready(body);
                let _answer = answer(body);
            }
            Frame::Message(body) | Frame::Parts(body) | Frame::Long(body) => {
                assert!(body.len() <= max_message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 300;

    /// A frame; with `is_long`, its length takes 8 bytes although it need not.
    fn frame(flags: u8, body: &[u8], is_long: bool) -> Vec<u8> {
        let mut frame = vec![flags];
        if is_long || body.len() > 255 {
            frame[0] |= LONG;
            frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
        } else {
            frame.push(body.len() as u8);
        }
        frame.extend_from_slice(body);
        frame
    }

    /// All frames of `bytes` in pieces, of which each is as long as the next of `cuts` says, over and over.
    fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Frame<Vec<u8>>>, Decoder) {
        let (mut decoder, mut frames, mut rest) = (Decoder::new(MAX), Vec::new(), bytes);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            while let Some(frame) = decoder.next(&mut piece).unwrap() {
                frames.push(frame.owned());
            }
            assert!(piece.is_empty());
            rest = behind;
        }
        (frames, decoder)
    }

    /// What is sent, as frames, and what it is read as.
    fn sent() -> impl Strategy<Value = (Vec<u8>, Frame<Vec<u8>>)> {
        let body = |most| prop::collection::vec(any::<u8>(), 0..=most);
        prop_oneof![
            (body(MAX), any::<bool>())
                .prop_map(|(body, is_long)| (frame(0, &body, is_long), Frame::Message(body))),
            (prop::collection::vec(any::<u8>(), MAX + 1..=2 * MAX))
                .prop_map(|body| (frame(0, &body, false), Frame::Long(body[..MAX].to_vec()))),
            (prop::collection::vec(body(MAX), 2..5)).prop_map(|parts| {
                let last = parts.len() - 1;
                let frames = parts.iter().enumerate();
                let frames = frames.flat_map(|(at, part)| frame(u8::from(at < last), part, false)).collect();
                let mut whole = parts.concat();
                let is_long = whole.len() > MAX;
                whole.truncate(MAX);
                (frames, if is_long { Frame::Long(whole) } else { Frame::Parts(whole) })
            }),
            (body(2 * MAX)).prop_map(|body| (frame(COMMAND, &body, false), Frame::Command(body))),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_are_cut(
            sent in prop::collection::vec(sent(), 0..20),
            cuts in prop::collection::vec(1usize..400, 1..5),
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|(frames, _)| frames.clone()).collect();
            let (frames, decoder) = read(&bytes, &cuts);
            prop_assert_eq!(frames, sent.into_iter().map(|(_, read)| read).collect::<Vec<_>>());
            prop_assert!(!decoder.is_inside());
        }

        #[test]
        fn any_bytes_are_read_alike_at_once_and_in_pieces(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            check(&bytes);
        }
    }

    #[test]
    fn a_command_between_the_parts_of_a_message_leaves_it_whole() {
        let bytes =
            [frame(MORE, b"a", false), frame(COMMAND, b"\x04PING\0\0x", false), frame(0, b"b", false)]
                .concat();
        for step in 1..=bytes.len() {
            let (frames, _) = read(&bytes, &[step]);
            let expected = [Frame::Command(b"\x04PING\0\0x".to_vec()), Frame::Parts(b"ab".to_vec())];
            assert_eq!(frames, expected, "{step}");
        }
    }

    #[test]
    fn a_message_that_has_come_in_part_is_known() {
        let bytes = [frame(MORE, b"a", false), frame(0, &[b'b'; 260], false)].concat();
        for length in 1..bytes.len() {
            assert!(read(&bytes[..length], &[7]).1.is_inside(), "{length}");
        }
        let (_, whole) = read(&bytes, &[7]);
        assert!(!whole.is_inside());
        assert!(!read(&frame(COMMAND, &[b'x'; 9], false)[..5], &[7]).1.is_inside());
    }

    #[test]
    fn a_length_that_never_comes_takes_no_memory() {
        let mut announced = vec![LONG];
        announced.extend_from_slice(&u64::MAX.to_be_bytes());
        announced.extend_from_slice(&[b'x'; 10_000]);
        let (frames, decoder) = read(&announced, &[1000]);
        assert_eq!(frames, []);
        assert_eq!((decoder.held.len(), decoder.held.capacity()), (MAX, MAX));
        let parts = frame(MORE, b"x", false).repeat(10_000);
        let (_, decoder) = read(&parts, &[1000]);
        assert_eq!((decoder.held.len(), decoder.held.capacity()), (MAX, MAX));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for (bytes, error) in [
            (&[0x08, 0][..], Error::Flags(8)),
            (&[MORE | COMMAND, 0], Error::Flags(5)),
            (&[COMMAND | LONG, 0, 0, 0, 0, 0, 0, 0x20, 1], Error::LongCommand),
        ] {
            let mut rest = bytes;
            assert_eq!(Decoder::new(MAX).next(&mut rest), Err(error));
        }
    }
}
