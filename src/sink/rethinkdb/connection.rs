//! One connection to a server: logged in, then queries out and their answers back.
//!
//! The protocol is V1_0 of RethinkDB's "Writing drivers": a magic number, three messages of JSON each way that end
//! with NUL, then queries of JSON behind a token of 8 bytes and a length of 4, both little-endian. The server works on
//! all queries at once and answers each with its token, in any order.
//!
//! Nothing here ends a wait by itself: who calls sets a limit of time. A call that failed or was given up leaves the
//! connection in the middle of something, and then it is of no more use: see [`Session::is_whole`].

use std::io;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{BufReader, ReadHalf, WriteHalf};

use super::answer::Garbled;
use super::query::Query;
use super::scram::{self, Scram};
use crate::sink::address::Login;

/// `VersionDummy.V1_0` of `ql2.proto`.
const MAGIC: u32 = 0x34c2_bdc3;
/// Bytes of a message of the handshake at most; the server itself takes no more than this.
const MESSAGE_BYTES: usize = 2048;
/// Bytes of an answer at most. The error of an insert quotes the documents, spread over lines and indented; those
/// that are asked to tell of each document hold few of them (see `write.rs`).
const ANSWER_BYTES: u32 = 64 << 20;

/// A stream of bytes to a server, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is logged in.
pub(super) struct Session {
    reader: BufReader<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
    next_token: u64,
    /// Whether all that was asked is answered.
    is_whole: bool,
}

/// What a connection can end with. No text of it holds a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// Somebody is there, but not as we know him.
    #[error("no TLS with the server: {0}; mend `tls`")]
    Tls(io::Error),
    /// It ended in the middle.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The server lets us in no further.
    #[error("the server does not let us in: {0}; mend `user` and `password`")]
    Login(String),
    /// The server's side of the login is wrong.
    #[error("{0}; mend `host`")]
    Scram(#[from] scram::Error),
    /// It is no RethinkDB, or a very old one.
    #[error("{0}; mend `host` and `port`: the port of drivers, 28015, of RethinkDB 2.3 or later")]
    Stranger(String),
    /// It is one, but it does not speak as it should.
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// The machine has no random numbers.
    #[error("no random numbers for the login: {0}")]
    Random(#[from] getrandom::Error),
}

impl Session {
    /// Logs in over a new connection.
    pub(super) async fn start(stream: Box<dyn Stream>, login: Login) -> Result<Session, Error> {
        let (reader, writer) = tokio::io::split(stream);
        let mut session = Session { reader: BufReader::new(reader), writer, next_token: 0, is_whole: true };
        session.writer.write_all(&MAGIC.to_le_bytes()).await?;
        session.greeting().await?;

        let scram = Scram::new(login)?;
        let first = json!({
            "protocol_version": 0,
            "authentication_method": "SCRAM-SHA-256",
            "authentication": scram.first(),
        });
        let answer = session.ask(&first).await?;
        // Milliseconds of work.
        let proof =
            tokio::task::spawn_blocking(move || scram.prove(&answer)).await.map_err(io::Error::other)??;
        let answer = session.ask(&json!({ "authentication": proof.message })).await?;
        proof.verify(&answer)?;
        Ok(session)
    }

    async fn greeting(&mut self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Greeting {
            success: bool,
            min_protocol_version: f64,
            max_protocol_version: f64,
        }
        let message = self.message().await?;
        let strange = || Error::Stranger(format!("not a greeting of RethinkDB: {}", quoted(&message)));
        let greeting: Greeting = serde_json::from_slice(&message).map_err(|_| strange())?;
        let (min, max) = (greeting.min_protocol_version, greeting.max_protocol_version);
        if !greeting.success || !(min..=max).contains(&0.0) {
            return Err(strange());
        }
        Ok(())
    }

    /// Sends a message of the login, and gives back what the server says to it.
    async fn ask(&mut self, message: &serde_json::Value) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Answer {
            success: bool,
            authentication: Option<String>,
            error: Option<String>,
        }
        self.writer.write_all(format!("{message}\0").as_bytes()).await?;
        let message = self.message().await?;
        let strange = || Error::Stranger("the login is answered with something else".to_owned());
        match serde_json::from_slice(&message).map_err(|_| strange())? {
            Answer { success: true, authentication: Some(answer), .. } => Ok(answer),
            Answer { success: false, error: Some(error), .. } => Err(Error::Login(quoted(error.as_bytes()))),
            _ => Err(strange()),
        }
    }

    /// Reads up to a NUL, which is left off.
    async fn message(&mut self) -> Result<Vec<u8>, Error> {
        let mut message = Vec::new();
        (&mut self.reader).take(MESSAGE_BYTES as u64).read_until(0, &mut message).await?;
        match message.pop() {
            Some(0) => Ok(message),
            Some(_) if message.len() + 1 == MESSAGE_BYTES => {
                Err(Error::Stranger("a greeting without an end".to_owned()))
            }
            _ => Err(closed().into()),
        }
    }

    /// Sends queries, all at once, and gives back the answers to them in their order.
    pub(super) async fn exchange(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<u8>>, Error> {
        let first = self.next_token;
        self.next_token += queries.len() as u64;
        self.is_whole = false;
        // At the same time: neither side may come to wait for the other to read.
        let sent = send(&mut self.writer, queries, first);
        let answered = receive(&mut self.reader, queries.len(), first);
        let (sent, answered) = tokio::join!(sent, answered);
        // What the server says before it closes the connection is worth more than that it was closed.
        let answers = match (sent, answered) {
            (Err(error), Err(Error::Broken(_))) => return Err(error.into()),
            (_, answered) => answered?,
        };
        self.is_whole = true;
        Ok(answers)
    }

    /// Whether nothing is on its way: else the answer to a query that was given up may come for another one.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the server has not closed it meanwhile, nor said anything that nobody has asked for.
    pub(super) async fn is_open(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.reader.fill_buf() => false,
            () = std::future::ready(()) => true,
        }
    }
}

async fn send(writer: &mut WriteHalf<Box<dyn Stream>>, queries: &[Query<'_>], first: u64) -> io::Result<()> {
    for (token, query) in (first..).zip(queries) {
        let length = u32::try_from(query.len()).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(&token.to_le_bytes());
        head.extend_from_slice(&length.to_le_bytes());
        let mut parts = query.parts();
        head.extend_from_slice(parts.next().unwrap_or_default());
        writer.write_all(&head).await?;
        for part in parts.filter(|part| !part.is_empty()) {
            writer.write_all(part).await?;
        }
    }
    writer.flush().await
}

/// Reads the answers to so many queries, whose tokens begin with `first`, in the order of the queries.
pub(super) async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    queries: usize,
    first: u64,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut answers: Vec<Option<Vec<u8>>> = vec![None; queries];
    for _ in 0..queries {
        let token = reader.read_u64_le().await?;
        let length = reader.read_u32_le().await?;
        if length > ANSWER_BYTES {
            return Err(Garbled(format!("an answer of {length} bytes")).into());
        }
        let place = token.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some(answer @ None) = place.and_then(|place| answers.get_mut(place)) else {
            return Err(Garbled(format!("an answer to query {token}, which was not asked")).into());
        };
        // Its memory grows with what really comes.
        let mut bytes = Vec::new();
        reader.take(u64::from(length)).read_to_end(&mut bytes).await?;
        if bytes.len() < length as usize {
            return Err(closed().into());
        }
        *answer = Some(bytes);
    }
    Ok(answers.into_iter().flatten().collect())
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it")
}

/// What a stranger says, not too long and on one line.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(100).map(|char| if char.is_control() { ' ' } else { char }).collect()
}
