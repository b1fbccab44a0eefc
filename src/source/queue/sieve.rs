//! What a library of AMQP may read of a broker's bytes.
//!
//! Whoever may publish to a queue says what is in a message's header and how long its body is. The library reads nested
//! header tables by recursion, so that some thousand levels end the process; a text in them that is no UTF-8 ends the
//! connection, and so does every delivery of the message again; and it holds a body whole. So a header is passed on with
//! what matters here alone, if that is sound, and of a body no more than a message may have. What is left out costs no more than
//! to be passed over.
//!
//! Source: the AMQP 0-9-1 specification, 2.3 and 4.2, and RabbitMQ's errata for the types of fields.

/// The longest frame that is agreed to, in bytes: RabbitMQ's own default.
pub const MOST_FRAME: u32 = 128 << 10;
/// Type, channel and size.
const HEAD: usize = 7;
/// Class, weight, size of the body, and flags.
const PROPERTIES: usize = 14;
/// The longest text of a header, in bytes.
pub const LONGEST_HEADER: usize = 1024;
/// The headers that matter.
const KEPT: [&[u8]; 6] = [b"task", b"id", b"eta", b"expires", b"compression", b"ignore_result"];
/// Bytes of a text in them that are passed on: one more than it may have.
const KEPT_TEXT: usize = LONGEST_HEADER + 1;
/// Methods that may come between two messages: the library keeps in mind each message that is announced.
const MOST_METHODS: u32 = 10_000;
const METHOD_FRAME: u8 = 1;
const HEADER_FRAME: u8 = 2;
const BODY_FRAME: u8 = 3;

const CONTENT_TYPE: u16 = 1 << 15;
const HEADERS: u16 = 1 << 13;
const CORRELATION_ID: u16 = 1 << 10;
/// All properties, in the order in which they follow each other.
const ORDER: [(u16, Kind); 14] = [
    (CONTENT_TYPE, Kind::Text),
    (1 << 14, Kind::Text),
    (HEADERS, Kind::Table),
    (1 << 12, Kind::Bytes(1)),
    (1 << 11, Kind::Bytes(1)),
    (CORRELATION_ID, Kind::Text),
    (1 << 9, Kind::Text),
    (1 << 8, Kind::Text),
    (1 << 7, Kind::Text),
    (1 << 6, Kind::Bytes(8)),
    (1 << 5, Kind::Text),
    (1 << 4, Kind::Text),
    (1 << 3, Kind::Text),
    (1 << 2, Kind::Text),
];

/// How a property is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Table,
    Bytes(usize),
}

/// The other end does not speak AMQP, or sends longer frames than it agreed to.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Passes frames on.
#[derive(Debug)]
pub struct Sieve {
    /// The start of a frame, until it is known what to do with it.
    start: Vec<u8>,
    /// Of the frame that is under way: bytes that are passed on, then bytes that are not, then bytes that are.
    under_way: [usize; 3],
    /// Bytes of the body under way that are passed on still.
    body: u64,
    /// Bytes of a body that are passed on.
    most: u64,
    /// Messages that have begun.
    messages: u64,
    /// Methods since then.
    methods: u32,
}

impl Sieve {
    /// Of a body `most` bytes are passed on.
    pub fn new(most: usize) -> Self {
        Sieve { start: Vec::new(), under_way: [0; 3], body: 0, most: most as u64, messages: 0, methods: 0 }
    }

    /// Messages that have begun so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Appends to `out` what may be read of `bytes`.
    pub fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if let Some(part) = self.under_way.iter().position(|left| *left > 0) {
                let (now, rest) = bytes.split_at(bytes.len().min(self.under_way[part]));
                self.under_way[part] -= now.len();
                if part != 1 {
                    out.extend_from_slice(now);
                }
                bytes = rest;
                continue;
            }
            let needed = self.needed()? - self.start.len();
            let (now, rest) = bytes.split_at(bytes.len().min(needed));
            self.start.extend_from_slice(now);
            bytes = rest;
            if self.start.len() == self.needed()? {
                self.begin(out)?;
            }
        }
        Ok(())
    }

    /// Bytes at which it is known what to do with a frame: a header is taken whole.
    fn needed(&self) -> Result<usize, Malformed> {
        match self.size() {
            Some(size) if size > MOST_FRAME as usize => Err(Malformed),
            Some(size) if self.start[0] == HEADER_FRAME => Ok(HEAD + size + 1),
            _ => Ok(HEAD),
        }
    }

    fn size(&self) -> Option<usize> {
        let size = self.start.get(3..HEAD)?;
        Some(u32::from_be_bytes(size.try_into().ok()?) as usize)
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let size = self.size().ok_or(Malformed)?;
        let start = std::mem::take(&mut self.start);
        if start[0] == METHOD_FRAME {
            self.methods += 1;
            if self.methods > MOST_METHODS {
                return Err(Malformed);
            }
        }
        match start[0] {
            HEADER_FRAME => self.header(&start, out)?,
            BODY_FRAME => {
                let passed = (size as u64).min(self.body);
                self.body -= passed;
                let passed = passed as usize;
                self.under_way = match passed {
                    // The whole frame is left out.
                    0 => [0, size + 1, 0],
                    _ => [passed, size - passed, 1],
                };
                if passed > 0 {
                    out.extend_from_slice(&start[..3]);
                    out.extend_from_slice(&(passed as u32).to_be_bytes());
                }
            }
            _ => {
                out.extend_from_slice(&start);
                self.under_way = [size + 1, 0, 0];
            }
        }
        Ok(())
    }

    /// Writes a header anew.
    fn header(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.messages += 1;
        self.methods = 0;
        let (payload, end) = frame[HEAD..].split_at(frame.len() - HEAD - 1);
        let (fixed, mut rest) = payload.split_at_checked(PROPERTIES).ok_or(Malformed)?;
        let body: [u8; 8] = fixed[4..12].try_into().map_err(|_| Malformed)?;
        self.body = u64::from_be_bytes(body).min(self.most);
        let flags = u16::from_be_bytes([fixed[12], fixed[13]]);
        let (mut kept, mut properties) = (0, Vec::new());
        for (flag, kind) in ORDER {
            if flags & flag == 0 {
                continue;
            }
            let length = match kind {
                Kind::Text => 1 + usize::from(*rest.first().ok_or(Malformed)?),
                Kind::Table => 4 + long(rest).ok_or(Malformed)?,
                Kind::Bytes(count) => count,
            };
            let (property, others) = rest.split_at_checked(length).ok_or(Malformed)?;
            rest = others;
            let start = properties.len();
            let is_sound = match flag {
                HEADERS => keep(&property[4..], &mut properties).is_some(),
                CONTENT_TYPE | CORRELATION_ID => {
                    properties.extend_from_slice(property);
                    str::from_utf8(&property[1..]).is_ok()
                }
                _ => false,
            };
            if is_sound {
                kept |= flag;
            } else {
                properties.truncate(start);
            }
        }
        out.extend_from_slice(&frame[..3]);
        out.extend_from_slice(&((PROPERTIES + properties.len()) as u32).to_be_bytes());
        out.extend_from_slice(&fixed[..4]);
        out.extend_from_slice(&self.body.to_be_bytes());
        out.extend_from_slice(&u16::to_be_bytes(kept));
        out.extend_from_slice(&properties);
        out.extend_from_slice(end);
        Ok(())
    }
}

/// The length that a long text, table or array begins with.
fn long(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize)
}

/// Writes the table of those of these entries that matter: of a text the start, of a table or array that it is one. None: they
/// cannot be told apart.
fn keep(mut entries: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    while let Some(length) = entries.first() {
        let (name, rest) = entries.split_at_checked(1 + usize::from(*length))?;
        let (field, rest) = rest.split_at_checked(1 + value_length(rest)?)?;
        entries = rest;
        if !KEPT.contains(&&name[1..]) {
            continue;
        }
        out.extend_from_slice(name);
        let most = match field[0] {
            b'S' | b'x' => KEPT_TEXT,
            b'A' | b'F' => 0,
            _ => {
                out.extend_from_slice(field);
                continue;
            }
        };
        let value = &field[5..];
        let value = &value[..value.len().min(most)];
        out.push(field[0]);
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(value);
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// Bytes of the value of a field behind its type.
fn value_length(field: &[u8]) -> Option<usize> {
    let (kind, value) = field.split_first()?;
    Some(match kind {
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' | b'A' | b'F' => long(value)?.checked_add(4)?,
        b'V' => 0,
        _ => return None,
    })
}

/// What holds for any bytes at all, for the fuzzer: no more is passed on than came, and the same however it is cut. The first byte
/// says how much of a body passes, the second how long the pieces are.
pub fn check(bytes: &[u8]) {
    let [most, piece, sent @ ..] = bytes else { return };
    let passed = |piece: usize| {
        let (mut sieve, mut out) = (Sieve::new(usize::from(*most)), Vec::new());
        let passed = sent.chunks(piece).try_for_each(|piece| sieve.pass(piece, &mut out));
        passed.map(|()| (out, sieve.messages()))
    };
    let whole = passed(sent.len().max(1));
    assert_eq!(passed(1 + usize::from(*piece)), whole);
    if let Ok((out, _)) = whole {
        assert!(out.len() <= sent.len());
    }
}

#[cfg(test)]
mod tests;
