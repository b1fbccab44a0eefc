//! `kaneda health`: one GET, and what the answer means. So a container needs no shell and no curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A daemon that needs longer is not well.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A page is shorter; more is not read.
const BODY_MAX: u64 = 64 * 1024;

/// The page of a daemon whose admin address is `listen`.
pub fn url(listen: SocketAddr) -> String {
    format!("http://{}/health", reachable(listen))
}

/// Where a daemon is reached that listens at `listen`.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Gets `url`, which begins with `http://`. The body of an answer 200; else a sentence that says what was wrong.
pub fn run(url: &str) -> Result<String, String> {
    ask(url, TIMEOUT)
}

fn ask(url: &str, timeout: Duration) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("`{url}` does not begin with http://"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/health" } else { path };
    let answer = get(authority, path, timeout).map_err(|error| match error.kind() {
        // How systems call a read or a connect that took longer than it may.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("{url}: no answer within {} seconds", timeout.as_secs())
        }
        _ => format!("{url}: {error}"),
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{url}: this is no HTTP"))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{url}: {}: {}", head.lines().next().unwrap_or_default(), body.trim())),
    }
}

fn get(authority: &str, path: &str, timeout: Duration) -> io::Result<String> {
    let end = Instant::now() + timeout;
    let address = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut connection = TcpStream::connect_timeout(&address, timeout)?;
    connection.set_write_timeout(Some(timeout))?;
    // 1.0, so that the answer ends with the connection and is never in chunks.
    // In one write: a server that answers after the first part and closes would break the pipe for the next.
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while (answer.len() as u64) < BODY_MAX {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The answer of one page, and what it was asked.
    fn served(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = connection.read(&mut request).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (url, server)
    }

    #[test]
    fn a_daemon_that_answers_200_is_alive() {
        let (url, server) = served("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n");
        assert_eq!(run(&url), Ok("alive\n".to_owned()));
        assert!(server.join().unwrap().starts_with("GET /health HTTP/1.0\r\nHost: 127.0.0.1:"));
    }

    #[test]
    fn any_other_answer_is_told_with_its_text() {
        let (url, server) = served("HTTP/1.1 503 Service Unavailable\r\n\r\nstopping\n");
        assert_eq!(run(&url), Err(format!("{url}: HTTP/1.1 503 Service Unavailable: stopping")));
        server.join().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(run(&format!("http://{closed}")).unwrap_err().contains("refused"));
        assert!(run("ftp://there").unwrap_err().contains("http://"));
    }

    #[test]
    fn a_daemon_that_hangs_is_told_apart_from_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(listener.local_addr().unwrap());
        let error = ask(&url, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, format!("{url}: no answer within 1 seconds"));
    }

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(url("0.0.0.0:8126".parse().unwrap()), "http://127.0.0.1:8126/health");
        assert_eq!(url("[::]:1".parse().unwrap()), "http://[::1]:1/health");
        assert_eq!(url("10.0.0.7:1".parse().unwrap()), "http://10.0.0.7:1/health");
    }
}
