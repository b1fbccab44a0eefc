//! Writing bytes of a report as UTF-8, and as the inside of a JSON string.

use std::io::Write;

/// Appends `bytes` in UTF-8: what is not becomes U+FFFD.
pub fn write_lossy(bytes: &[u8], out: &mut Vec<u8>) {
    // Nearly all are ASCII, which this passes over many at a time.
    if str::from_utf8(bytes).is_ok() {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `bytes` as the inside of a JSON string, in UTF-8.
pub fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        write_lossy(&rest[..at], out);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    write_lossy(rest, out);
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
