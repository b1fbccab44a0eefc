//! One connection: its handshake, and what keeps it up.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::frame::{Decoder, Frame};
use super::url::Wire;
use super::zmtp::{self, GREETING_BYTES, MAX_COMMAND, VERSION_BYTES};

/// What is read of one connection before others are looked at.
pub(super) const READ_BYTES: usize = 64 << 10;
/// A library shakes hands by itself, whatever its application does.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection ended, or did not come to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Zmtp(#[from] zmtp::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// To shake hands.
    #[error("nobody answers for {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the application has gone")]
    Gone,
    /// Others are there.
    #[error("{0} connections are open; raise `max_connections` if more are wanted")]
    TooMany(usize),
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) decoder: Decoder,
    /// What was sent there could not be, at least in part: nothing is sent any more, and what has come is read to its end.
    pub(super) is_deaf: bool,
}

impl Connection {
    /// Shakes hands. No more is read than belongs to that.
    pub(super) async fn open(wire: Wire, max_message: usize) -> Result<Connection, Error> {
        let mut decoder = Decoder::new(max_message);
        match timeout(HANDSHAKE_TIMEOUT, handshake(&wire, &mut decoder)).await {
            Ok(shaken) => shaken.map(|()| Connection { wire, decoder, is_deaf: false }),
            Err(_) => Err(Error::TimedOut(HANDSHAKE_TIMEOUT)),
        }
    }
}

async fn handshake(wire: &Wire, decoder: &mut Decoder) -> Result<(), Error> {
    wire.write_all(&zmtp::greeting()).await?;
    let mut greeting = [0; GREETING_BYTES];
    // Older ones send no more than that.
    wire.read_exact(&mut greeting[..VERSION_BYTES]).await?;
    zmtp::check_version(&greeting)?;
    wire.read_exact(&mut greeting[VERSION_BYTES..]).await?;
    zmtp::check_mechanism(&greeting)?;
    wire.write_all(&zmtp::ready()).await?;
    loop {
        let mut piece = vec![0; decoder.wanted().min(MAX_COMMAND)];
        wire.read_exact(&mut piece).await?;
        match decoder.next(&mut &*piece)? {
            None => {}
            Some(Frame::Command(ready)) => return Ok(zmtp::check_ready(ready)?),
            Some(_) => return Err(zmtp::Error::NotReady.into()),
        }
    }
}

/// Answers a command that came between messages, unless the other side is deaf. Whether it is now.
pub(super) fn answer(wire: &Wire, is_deaf: bool, command: &[u8]) -> Result<bool, Error> {
    let Some(answer) = zmtp::answer(command)? else { return Ok(is_deaf) };
    // There is room for it, unless those before were not read, or nobody is there any more.
    Ok(is_deaf || !wire.try_write(&answer).is_ok_and(|n| n == answer.len()))
}
