//! One connection: its handshake, and what keeps it up.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::url::Wire;
use super::zmtp::{self, Decoder, Frame, GREETING_BYTES, MAX_COMMAND, VERSION_BYTES};

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
    /// To connect, or to shake hands.
    #[error("nobody answers for {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It asks for answers and does not read them.
    #[error("what is sent to it is not read")]
    Unread,
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
}

impl Connection {
    /// Shakes hands. No more is read than belongs to that.
    pub(super) async fn open(wire: Wire, max_message: usize) -> Result<Connection, Error> {
        let mut decoder = Decoder::new(max_message);
        match timeout(HANDSHAKE_TIMEOUT, handshake(&wire, &mut decoder)).await {
            Ok(shaken) => shaken.map(|()| Connection { wire, decoder }),
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

/// Answers a command that came between messages.
pub(super) fn answer(wire: &Wire, command: &[u8]) -> Result<(), Error> {
    let Some(answer) = zmtp::answer(command)? else { return Ok(()) };
    // There is room for it, unless nobody has read those before.
    match wire.try_write(&answer) {
        Ok(n) if n == answer.len() => Ok(()),
        Ok(_) => Err(Error::Unread),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Unread),
        Err(error) => Err(error.into()),
    }
}
