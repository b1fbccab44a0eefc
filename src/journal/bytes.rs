//! Taking stored bytes apart. Numbers are little-endian.

/// What is left of them. Every method gives `None` where there is too little.
pub(super) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Rest(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// UTF-8.
    pub(super) fn text(&mut self, bytes: u32) -> Option<&'a str> {
        str::from_utf8(self.take(bytes as usize)?).ok()
    }

    /// `count` times what `one` takes, which is `LEAST` bytes or more: room is not made for more than there can be.
    pub(super) fn several<T, const LEAST: usize>(
        &mut self,
        count: u32,
        one: fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = count as usize;
        if count > self.len() / LEAST {
            return None;
        }
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }
}
