//! What ZeroMQ speaks, ZMTP 3 (<https://rfc.zeromq.org/spec/23> and 37), as far as a PULL socket needs it: both sides send a
//! greeting and a command, READY; then come messages, and commands between them.

use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u32};
use nom::{IResult, Parser};

/// Bytes of a greeting.
pub(super) const GREETING_BYTES: usize = 64;
/// Bytes of it up to the first of its version, where those of other versions begin to differ.
pub(super) const VERSION_BYTES: usize = 11;
/// The version that is spoken, 3.1: a PING is answered.
const VERSION: [u8; 2] = [3, 1];
/// How it begins; what is between counts for older ones only.
const SIGNATURE: (u8, u8) = (0xff, 0x7f);
/// Where the name of the mechanism is, filled up with 0.
const MECHANISM: std::ops::Range<usize> = 12..32;
/// The one that is spoken: nobody has to say who he is.
const NULL: &[u8] = b"NULL";
/// The flag of a frame that is a command.
pub(super) const COMMAND: u8 = 4;
/// The longest command. Those of libzmq are some hundred bytes.
pub(super) const MAX_COMMAND: usize = 8 << 10;
/// Bytes before what a PING wants back, which are how long it waits.
const TTL_BYTES: usize = 2;
/// The most that a PING may want back.
const MAX_PING_CONTEXT: usize = 16;

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// It does not begin as ZeroMQ does.
    #[error("it does not speak ZeroMQ")]
    NotZeroMq,
    /// A version before 3.
    #[error("it speaks version {0} of ZeroMQ's protocol, as libzmq before 4; version 3 is spoken here")]
    Version(u8),
    /// It wants to know who is there.
    #[error("it wants {0:?}; without a password or a key, NULL, is spoken here")]
    Mechanism(String),
    /// The first command is not READY.
    #[error("its first command is not READY")]
    NotReady,
    /// A socket that does not go together with PULL.
    #[error("it is a {0} socket; a PUSH socket is needed")]
    Socket(String),
    /// The other side has refused.
    #[error("it refuses: {0}")]
    Refused(String),
    /// A frame that is none.
    #[error("a frame begins with {0:#04x}, which is not ZeroMQ")]
    Flags(u8),
    /// More than a command may have.
    #[error("a command has more than {MAX_COMMAND} bytes")]
    LongCommand,
    /// What is in a command is not in its form.
    #[error("a command is not in its form")]
    BadCommand,
}

/// What is sent first.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    (greeting[0], greeting[9]) = SIGNATURE;
    greeting[10..12].copy_from_slice(&VERSION);
    greeting[MECHANISM.start..][..NULL.len()].copy_from_slice(NULL);
    greeting
}

/// Checks a greeting of which no more than the first [`VERSION_BYTES`] have come.
pub(super) fn check_version(start: &[u8; GREETING_BYTES]) -> Result<(), Error> {
    // One of ZeroMQ 2 has no signature: a length of 1 and no flags.
    match (start[0], start[9], start[10]) {
        (1, _, _) if start[1] == 0 => Err(Error::Version(1)),
        (first, last, _) if (first, last & 1) != (SIGNATURE.0, 1) => Err(Error::NotZeroMq),
        (.., 3..) => Ok(()),
        // Of its revision 1, as it says, which is ZMTP 2.
        _ => Err(Error::Version(2)),
    }
}

/// Checks the rest of a greeting whose version is good.
pub(super) fn check_mechanism(greeting: &[u8; GREETING_BYTES]) -> Result<(), Error> {
    let name = greeting[MECHANISM].trim_ascii_end();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name == NULL { Ok(()) } else { Err(Error::Mechanism(printable(name))) }
}

/// READY of a PULL socket, as a frame.
pub(super) fn ready() -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend_from_slice(&(b"PULL".len() as u32).to_be_bytes());
    body.extend_from_slice(b"PULL");
    command(&body)
}

/// Checks the first command of a peer: it is to be READY, of a PUSH socket.
pub(super) fn check_ready(body: &[u8]) -> Result<(), Error> {
    let mut properties = match read_command(body)? {
        (b"READY", properties) => properties,
        (b"ERROR", reason) => return Err(refused(reason)),
        _ => return Err(Error::NotReady),
    };
    let mut socket = &b""[..];
    while !properties.is_empty() {
        let (rest, (name, value)) = property(properties).map_err(|_| Error::BadCommand)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket = value;
        }
        properties = rest;
    }
    if socket == b"PUSH" { Ok(()) } else { Err(Error::Socket(printable(socket))) }
}

/// The answer to a command between messages, as a frame, if there is one.
pub(super) fn answer(body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    match read_command(body)? {
        (b"PING", rest) => {
            let context = rest.get(TTL_BYTES..).filter(|context| context.len() <= MAX_PING_CONTEXT);
            let context = context.ok_or(Error::BadCommand)?;
            Ok(Some(command(&[b"\x04PONG", context].concat())))
        }
        (b"ERROR", reason) => Err(refused(reason)),
        // Others are for other sockets than PULL, or of later versions.
        _ => Ok(None),
    }
}

/// A frame with this command, which is short.
fn command(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![COMMAND, body.len() as u8];
    frame.extend_from_slice(body);
    frame
}

/// The name of a command, and what follows.
fn read_command(body: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let read: IResult<&[u8], &[u8]> = length_data(be_u8).parse(body);
    read.map(|(rest, name)| (name, rest)).map_err(|_| Error::BadCommand)
}

/// A name and its value.
fn property(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    (length_data(be_u8), length_data(be_u32)).parse(input)
}

/// What the command ERROR says.
fn refused(reason: &[u8]) -> Error {
    let read: IResult<&[u8], &[u8]> = length_data(be_u8).parse(reason);
    Error::Refused(printable(read.map_or(reason, |(_, reason)| reason)))
}

/// What somebody sent, for a message to people.
fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.iter().take(usize::from(u8::MAX));
    bytes.copied().flat_map(std::ascii::escape_default).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_3_are_named() {
        let start = |change: &dyn Fn(&mut [u8; GREETING_BYTES])| {
            let mut start = greeting();
            change(&mut start);
            check_version(&start)
        };
        assert_eq!(start(&|_| {}), Ok(()));
        assert_eq!(start(&|start| start[10] = 4), Ok(()));
        assert_eq!(start(&|start| start[10] = 1), Err(Error::Version(2)));
        assert_eq!(start(&|start| (start[0], start[1]) = (1, 0)), Err(Error::Version(1)));
        assert_eq!(
            start(&|start| start[..VERSION_BYTES].copy_from_slice(b"GET / HTTP/")),
            Err(Error::NotZeroMq)
        );
    }

    #[test]
    fn only_a_push_socket_without_a_password_goes_together_with_this_one() {
        let mut plain = greeting();
        assert_eq!(check_mechanism(&plain), Ok(()));
        plain[MECHANISM][..5].copy_from_slice(b"PLAIN");
        assert_eq!(check_mechanism(&plain), Err(Error::Mechanism("PLAIN".to_owned())));

        let push = b"\x05READY\x0bsocket-type\0\0\0\x04PUSH\x08Identity\0\0\0\0";
        assert_eq!(check_ready(push), Ok(()));
        assert_eq!(check_ready(&push[..20]), Err(Error::BadCommand));
        assert_eq!(check_ready(&ready()[2..]), Err(Error::Socket("PULL".to_owned())));
        assert_eq!(check_ready(b"\x05ERROR\x02no"), Err(Error::Refused("no".to_owned())));
        assert_eq!(check_ready(b"\x04PING\0\0"), Err(Error::NotReady));
        assert_eq!(check_ready(b""), Err(Error::BadCommand));
    }

    #[test]
    fn a_ping_gets_back_what_it_brought() {
        assert_eq!(answer(b"\x04PING\x00\x0aabc"), Ok(Some(b"\x04\x08\x04PONGabc".to_vec())));
        assert_eq!(answer(b"\x04PING\x00\x0a"), Ok(Some(b"\x04\x05\x04PONG".to_vec())));
        assert_eq!(answer(b"\x04PING\x00"), Err(Error::BadCommand));
        assert_eq!(answer(&[&b"\x04PING\0\0"[..], &[b'x'; 17]].concat()), Err(Error::BadCommand));
        assert_eq!(answer(b"\x07UNKNOWN"), Ok(None));
        assert_eq!(answer(b"\x05ERROR\x01\n"), Err(Error::Refused("\\n".to_owned())));
    }
}
