//! `kaneda send`: sends lines as any client would, and says what became of them where the transport has an answer.

mod http;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};

/// Bytes of a datagram that goes over an Ethernet unfragmented, IPv6 and some tunnels included.
const PACKET_BYTES: usize = 1432;
/// Bytes of a datagram that any daemon takes whole.
const LONGEST_DATAGRAM: usize = 65_507;

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

/// Why nothing is known of the lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The daemon, or what is there in its place, did not answer in time.
    #[error("no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    /// What is there speaks another language.
    #[error("what listens there is no kaneda: it answered `{0}`")]
    Stranger(String),
    /// A line that no datagram can carry.
    #[error("a line of {0} bytes is too long for a datagram: send it over tcp, unix or http")]
    TooLong(usize),
}

/// Sends `lines` and waits for the answer, at most `timeout` in all.
pub async fn run(to: &Target, lines: &[String], timeout: Duration) -> Result<Report, Error> {
    tokio::time::timeout(timeout, send(to, lines)).await.unwrap_or(Err(Error::Late(timeout)))
}

async fn send(to: &Target, lines: &[String]) -> Result<Report, Error> {
    match to {
        Target::Tcp(address) => stream(TcpStream::connect(address).await?, lines).await,
        Target::Unix(path) => stream(UnixStream::connect(path).await?, lines).await,
        Target::Udp(address) => {
            let no_address = || io::Error::from(io::ErrorKind::NotFound);
            let to = lookup_host(address).await?.next().ok_or_else(no_address)?;
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
            socket.connect(to).await?;
            for datagram in pack(lines)? {
                socket.send(datagram.as_bytes()).await?;
            }
            Ok(Report::Sent(lines.len()))
        }
        Target::Unixgram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            for datagram in pack(lines)? {
                socket.send(datagram.as_bytes()).await?;
            }
            Ok(Report::Sent(lines.len()))
        }
        Target::Http { authority, path } => http::post(authority, path, text(lines)).await,
    }
}

/// The lines, each ended by LF.
fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// The lines in as few datagrams as carry them unfragmented; a longer line has one of its own.
fn pack(lines: &[String]) -> Result<Vec<String>, Error> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        if line.len() > LONGEST_DATAGRAM {
            return Err(Error::TooLong(line.len()));
        }
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= PACKET_BYTES => {
                last.push('\n');
                last.push_str(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    Ok(datagrams)
}

/// Sends the lines and `!sync`, and adds up the answers: there are more if one of the lines was `!sync`.
async fn stream(stream: impl AsyncRead + AsyncWrite, lines: &[String]) -> Result<Report, Error> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let lines = text(lines) + "!sync\n";
    let mut answers = String::new();
    let sending = async {
        writer.write_all(lines.as_bytes()).await?;
        writer.shutdown().await
    };
    // Both at once: a daemon whose answers nobody reads stops reading too.
    tokio::try_join!(sending, reader.read_to_string(&mut answers))?;
    let (mut accepted, mut rejected, mut error) = (0, 0, None);
    let mut is_answered = false;
    for answer in answers.lines().filter(|answer| *answer != "pong") {
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
        let (taken, refused) = counts.ok_or_else(|| Error::Stranger(answer.to_owned()))?;
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
