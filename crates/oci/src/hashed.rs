//! A writer that knows the digest and the number of the bytes that went through it.

use std::io::{self, Write};

use sha256::Hasher;

use crate::Digest;

pub(crate) struct Hashed<W> {
    inner: W,
    hash: Hasher,
    length: u64,
}

impl<W: Write> Hashed<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Hasher::new(), length: 0 }
    }

    /// The writer below, the digest, and the length in bytes.
    pub(crate) fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hash.finish()), self.length)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
