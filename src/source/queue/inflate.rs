//! Bodies as kombu and RQ compress them, inflated up to a limit.

use std::io::Read;

use bzip2::bufread::BzDecoder;
use flate2::bufread::ZlibDecoder;

use super::{Error, Limits};

/// The body under the header `compression`, which is a content type or one of kombu's short names.
pub(super) fn body(compression: &str, body: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    match compression {
        // What kombu calls gzip is zlib.
        "application/x-gzip" | "gzip" | "zlib" => zlib(body, limits),
        "application/x-bz2" | "bzip2" | "bzip" => read(BzDecoder::new(body), limits),
        other => Err(Error::Compression(other.to_owned())),
    }
}

/// What zlib has deflated.
pub(super) fn zlib(bytes: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    read(ZlibDecoder::new(bytes), limits)
}

/// The first bytes of what zlib has deflated, though the rest be missing or broken; empty: it has not deflated anything.
pub(super) fn head(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut inflated = ZlibDecoder::new(bytes);
    let mut head = vec![0; most];
    let mut length = 0;
    while let Ok(read @ 1..) = inflated.read(&mut head[length..]) {
        length += read;
    }
    head.truncate(length);
    head
}

fn read(inflated: impl Read, limits: Limits) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = limits.max_message as u64 + 1;
    inflated.take(most).read_to_end(&mut bytes).map_err(|_| Error::BadCompression)?;
    if bytes.len() > limits.max_message { Err(Error::TooLong(limits.max_message)) } else { Ok(bytes) }
}
