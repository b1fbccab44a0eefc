//! `kaneda send`: sends lines as any client would, and says what became of them where the transport has an answer.

mod http;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};

/// Bytes of a datagram that goes over an Ethernet unfragmented, IPv6 and some tunnels included.
const PACKET_BYTES: usize = 1432;
/// Bytes of a datagram that any daemon takes whole.
const LONGEST_DATAGRAM: usize = 65_507;
/// Bytes of an answer of a daemon at most; a longer one is somebody else's.
const ANSWER_BYTES: u64 = 4096;
/// Bytes of standard input that are sent at once.
pub const INPUT_BYTES: usize = 64 << 20;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `udp://host:port`.
    Udp(String),
    /// `tcp://host:port`.
    Tcp(String),
    /// `unix:///path`, a stream socket.
    Unix(PathBuf),
    /// `unixgram:///path`, a datagram socket.
    Unixgram(PathBuf),
    /// `http://host:port`, with a path if it is not `/ingest`.
    Http {
        /// Host and port.
        authority: String,
        /// Begins with `/`.
        path: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Udp(address) => write!(f, "udp://{address}"),
            Target::Tcp(address) => write!(f, "tcp://{address}"),
            Target::Unix(path) => write!(f, "unix://{}", path.display()),
            Target::Unixgram(path) => write!(f, "unixgram://{}", path.display()),
            Target::Http { authority, path } => write!(f, "http://{authority}{path}"),
        }
    }
}

/// A text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address to send to: write udp://host:port, tcp://host:port, unix:///path, unixgram:///path or http://host:port"
)]
pub struct BadTarget(String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(url: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let address = || {
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            let is_good = !host.is_empty() && port.parse::<u16>().is_ok();
            if is_good { Ok(rest.to_owned()) } else { Err(bad()) }
        };
        let path = || if rest.starts_with('/') { Ok(PathBuf::from(rest)) } else { Err(bad()) };
        match scheme {
            "udp" => Ok(Target::Udp(address()?)),
            "tcp" => Ok(Target::Tcp(address()?)),
            "unix" => Ok(Target::Unix(path()?)),
            "unixgram" => Ok(Target::Unixgram(path()?)),
            "http" => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let authority = match authority.parse::<hyper::http::uri::Authority>() {
                    Ok(parsed) if parsed.port().is_some() => authority.to_owned(),
                    Ok(_) => format!("{authority}:80"),
                    Err(_) => return Err(bad()),
                };
                let path = if matches!(path, "" | "/") { "/ingest" } else { path };
                Ok(Target::Http { authority, path: path.to_owned() })
            }
            _ => Err(bad()),
        }
    }
}

/// What became of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The daemon has answered.
    Answered {
        /// Lines it took.
        accepted: u64,
        /// Lines it refused.
        rejected: u64,
        /// Which lines it refused and why, where the transport tells.
        refused: Vec<String>,
        /// Why they cannot all be called stored.
        error: Option<String>,
    },
    /// The daemon took nothing, and says why.
    Refused(String),
    /// So many lines left; the transport has no answer.
    Sent(usize),
}

impl Report {
    /// Whether all is well, as far as can be known.
    pub fn is_good(&self) -> bool {
        matches!(self, Report::Sent(_) | Report::Answered { rejected: 0, error: None, .. })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Answered { accepted, rejected, refused, error } => {
                write!(f, "ok {accepted} {rejected}")?;
                if let Some(error) = error {
                    write!(f, "\nerror {error}")?;
                }
                refused.iter().try_for_each(|line| write!(f, "\n{line}"))
            }
            Report::Refused(error) => write!(f, "error {error}"),
            Report::Sent(lines) => write!(f, "sent {lines}; no answer on this transport"),
        }
    }
}

/// Why the lines cannot be called stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("nothing was sent: {0}")]
    Nobody(io::Error),
    /// The connection broke.
    #[error("nothing is known of the lines: {0}")]
    Io(#[from] io::Error),
    /// The daemon, or what is there in its place, did not answer in time.
    #[error("nothing is known of the lines: no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    /// What is there speaks another language.
    #[error("nothing is known of the lines: what listens there is no kaneda: it answered `{0}`")]
    Stranger(String),
    /// A line that no datagram can carry.
    #[error(
        "nothing was sent: a line of {0} bytes is too long for a datagram: send it over tcp, unix or http"
    )]
    TooLong(usize),
}

/// The lines of `input`, which need not be UTF-8; an error if it is longer than [`INPUT_BYTES`].
pub fn read(input: impl io::Read) -> io::Result<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    input.take(INPUT_BYTES as u64 + 1).read_to_end(&mut text)?;
    if text.len() > INPUT_BYTES {
        let problem = format!("more than {} MiB: send it in parts", INPUT_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    } else if text.is_empty() {
        return Ok(Vec::new());
    }
    Ok(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// Sends `lines` and waits for the answer, at most `timeout` in all.
pub async fn run(to: &Target, lines: &[Vec<u8>], timeout: Duration) -> Result<Report, Error> {
    tokio::time::timeout(timeout, send(to, lines)).await.unwrap_or(Err(Error::Late(timeout)))
}

async fn send(to: &Target, lines: &[Vec<u8>]) -> Result<Report, Error> {
    match to {
        Target::Tcp(address) => {
            stream(TcpStream::connect(address).await.map_err(Error::Nobody)?, lines).await
        }
        Target::Unix(path) => stream(UnixStream::connect(path).await.map_err(Error::Nobody)?, lines).await,
        Target::Udp(address) => {
            let datagrams = pack(lines)?;
            let socket = udp(address).await.map_err(Error::Nobody)?;
            for datagram in datagrams {
                socket.send(&datagram).await?;
            }
            Ok(Report::Sent(lines.len()))
        }
        Target::Unixgram(path) => {
            let datagrams = pack(lines)?;
            let socket = UnixDatagram::unbound().map_err(Error::Nobody)?;
            socket.connect(path).map_err(Error::Nobody)?;
            for datagram in datagrams {
                socket.send(&datagram).await?;
            }
            Ok(Report::Sent(lines.len()))
        }
        Target::Http { authority, path } => http::post(authority, path, text(lines)).await,
    }
}

/// A socket that sends to `address`.
async fn udp(address: &str) -> io::Result<UdpSocket> {
    let to = lookup_host(address).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// The lines, each ended by LF.
fn text(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_slice(), b"\n"]).flatten().copied().collect()
}

/// The lines in as few datagrams as carry them unfragmented; a longer line has one of its own.
fn pack(lines: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        if line.len() > LONGEST_DATAGRAM {
            return Err(Error::TooLong(line.len()));
        }
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= PACKET_BYTES => {
                last.push(b'\n');
                last.extend_from_slice(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    Ok(datagrams)
}

/// Sends the lines and `!sync`, and adds up the answers: there are more if one of the lines was `!sync`.
async fn stream(stream: impl AsyncRead + AsyncWrite, lines: &[Vec<u8>]) -> Result<Report, Error> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = text(lines);
    lines.extend_from_slice(b"!sync\n");
    let sending = async {
        writer.write_all(&lines).await?;
        writer.shutdown().await.map_err(Error::Io)
    };
    // Both at once: a daemon whose answers nobody reads stops reading too.
    let ((), report) = tokio::try_join!(sending, answers(reader))?;
    Ok(report)
}

/// Adds up all answers until the daemon closes.
async fn answers(reader: impl AsyncRead + Unpin) -> Result<Report, Error> {
    let mut reader = BufReader::new(reader);
    let (mut accepted, mut rejected, mut error) = (0, 0, None);
    let (mut is_answered, mut line) = (false, Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(ANSWER_BYTES).read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let answer = text.trim_end_matches(['\r', '\n']);
        if answer == "pong" {
            continue;
        }
        is_answered = true;
        let words: Vec<&str> = answer.split(' ').collect();
        let counts = match words[..] {
            ["ok", taken, refused] => taken.parse::<u64>().ok().zip(refused.parse::<u64>().ok()),
            ["error", ..] => {
                error = Some(answer["error".len()..].trim_start().to_owned());
                continue;
            }
            _ => None,
        };
        let stranger = || Error::Stranger(answer.chars().take(100).collect());
        let (taken, refused) = counts.ok_or_else(stranger)?;
        accepted += taken;
        rejected += refused;
    }
    match error {
        // It comes in place of the counts.
        Some(error) => Ok(Report::Refused(error)),
        None if is_answered => Ok(Report::Answered { accepted, rejected, refused: Vec::new(), error: None }),
        None => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed without an answer")
                .into())
        }
    }
}
