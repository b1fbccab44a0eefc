//! The body of a request: received and inflated, never beyond the limit.

use std::io::{self, Read};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::answer::Refusal;

/// Receives a body of `max_body` bytes at most. One that says beforehand that it is longer is not received at all.
pub async fn receive(mut body: Body, max_body: usize) -> Result<Vec<u8>, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_body {
        return Err(Refusal::too_large(max_body));
    }
    let mut received = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let cut_off = |_| Refusal::new(StatusCode::BAD_REQUEST, "the body was cut off: send it again");
        let data = frame.map_err(cut_off)?.into_data().unwrap_or_else(|_trailers| Bytes::new());
        append(&mut received, &data, max_body)?;
    }
    Ok(received)
}

/// Puts `data` behind what is there. The room grows by doubling, but never beyond `max_body`.
fn append(received: &mut Vec<u8>, data: &[u8], max_body: usize) -> Result<(), Refusal> {
    let length = received.len() + data.len();
    if length > max_body {
        return Err(Refusal::too_large(max_body));
    }
    if length > received.capacity() {
        let room = (2 * received.capacity()).clamp(length, max_body);
        received.reserve_exact(room - received.len());
    }
    received.extend_from_slice(data);
    Ok(())
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952, one member or more.
    Gzip,
    /// The zlib format of RFC 1950: what HTTP calls deflate.
    Deflate,
}

impl Encoding {
    /// What `Content-Encoding` says. Several encodings, one around the other, are refused: nobody needs them, and
    /// each could be a bomb.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Encoding::Identity) };
        let name = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        match (name.as_str(), values.next()) {
            ("identity" | "", None) => Ok(Encoding::Identity),
            ("gzip" | "x-gzip", None) => Ok(Encoding::Gzip),
            ("deflate", None) => Ok(Encoding::Deflate),
            _ => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Encoding must be gzip or deflate, or not be sent; only one of them",
            )),
        }
    }

    /// The body as it was before it was packed; `max_body` bytes at most.
    pub(super) fn decode(self, received: Vec<u8>, max_body: usize) -> Result<Vec<u8>, Refusal> {
        match self {
            Encoding::Identity => Ok(received),
            Encoding::Gzip => {
                // A second member, if any, follows the first: what follows the last one is an error by itself.
                inflate(MultiGzDecoder::new(received.as_slice()), max_body)
            }
            Encoding::Deflate => {
                let mut decoder = ZlibDecoder::new(received.as_slice());
                let body = inflate(&mut decoder, max_body)?;
                if decoder.into_inner().is_empty() { Ok(body) } else { Err(malformed("more behind its end")) }
            }
        }
    }
}

/// Reads to the end of the packed body, or to the limit.
fn inflate(mut decoder: impl Read, max_body: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(body),
            Ok(length) => append(&mut body, &piece[..length], max_body)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(malformed(error)),
        }
    }
}

fn malformed(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not what Content-Encoding says: {why}"))
}

/// Holds for all bytes, or panics: however it is packed, a body that comes out is within the limit, and one that
/// was packed comes out as it was. The first byte gives the limit. For fuzzing and tests.
#[doc(hidden)]
pub fn check_body(bytes: &[u8]) {
    use flate2::{Compression, bufread::GzEncoder, bufread::ZlibEncoder};
    let [limit, body @ ..] = bytes else { return };
    let max_body = usize::from(*limit) * 16 + 1;
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        if let Ok(body) = encoding.decode(body.to_vec(), max_body) {
            assert!(body.capacity() <= max_body);
        }
        let mut packed = Vec::new();
        let read = match encoding {
            Encoding::Gzip => GzEncoder::new(body, Compression::fast()).read_to_end(&mut packed),
            _ => ZlibEncoder::new(body, Compression::fast()).read_to_end(&mut packed),
        };
        assert!(read.is_ok());
        match encoding.decode(packed.clone(), max_body) {
            Ok(inflated) => assert!(inflated == body && body.len() <= max_body),
            Err(refusal) => {
                assert!(body.len() > max_body && refusal.status == StatusCode::PAYLOAD_TOO_LARGE);
            }
        }
        packed.pop();
        assert!(encoding.decode(packed, usize::MAX).is_err(), "a body that was cut is not taken");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_inflated_is_what_was_packed_and_within_the_limit(limit in 0u8..20, body: Vec<u8>) {
            check_body(&[&[limit], body.as_slice()].concat());
            check_body(&[&[limit], body.repeat(20).as_slice()].concat());
        }
    }
}
