//! As much of HTTP/1.1 as is needed to answer a request in place of a server.

/// What has come of a request so far.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// More is to come.
    Partial,
    /// All of it.
    Whole,
}

/// Whether `bytes` are a whole request.
pub(super) fn request(bytes: &[u8]) -> Request {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Request::Partial };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let whole = match header("content-length:") {
        Some(length) => bytes.len() >= end + 4 + length.parse::<usize>().unwrap(),
        None if header("transfer-encoding:").is_some() => bytes.ends_with(b"0\r\n\r\n"),
        None => true,
    };
    if whole { Request::Whole } else { Request::Partial }
}

/// Whether `text` is in a request; the empty text is in all of them.
pub(super) fn contains(request: &[u8], text: &str) -> bool {
    text.is_empty() || find(request, text.as_bytes()).is_some()
}

/// A whole answer, after which the connection is closed.
pub(super) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
