//! Operands of a pickle's operations, taken off its bytes in order.

use super::Error;

/// What is left of a pickle.
#[derive(Debug)]
pub(super) struct Cursor<'p>(&'p [u8]);

const SHORT: Error = Error::Broken("it ends too early");

impl<'p> Cursor<'p> {
    pub(super) fn new(pickle: &'p [u8]) -> Self {
        Cursor(pickle)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, length: u64) -> Result<&'p [u8], Error> {
        let length = usize::try_from(length).map_err(|_| SHORT)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A fixed number of bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next four bytes as a length or an index.
    pub(super) fn u32(&mut self) -> Result<u64, Error> {
        self.array().map(|bytes| u64::from(u32::from_le_bytes(bytes)))
    }

    /// The next eight bytes as a length.
    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next four bytes as a number with a sign.
    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_le_bytes)
    }

    /// What stands before the next LF, which is taken too.
    pub(super) fn line(&mut self) -> Result<&'p [u8], Error> {
        let end = memchr::memchr(b'\n', self.0).ok_or(SHORT)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(line)
    }
}
