//! Hashing of what is given in pieces, or passes through a reader.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// Computes a digest of bytes that come in pieces. As a writer it hashes what is written to it.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Adds bytes, for a few of them in a row.
    #[must_use]
    pub fn chain(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.update(bytes);
        self
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        Digest::from(<[u8; 32]>::from(self.0.finalize()))
    }

    /// The digest of all bytes so far; starts again with no bytes.
    pub fn finish_reset(&mut self) -> Digest {
        std::mem::take(self).finish()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes and counts what is read through it.
#[derive(Debug)]
pub struct DigestReader<R> {
    inner: R,
    hasher: Hasher,
    length: u64,
}

impl<R: Read> DigestReader<R> {
    /// Reads through to `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new(), length: 0 }
    }

    /// Digest and length in bytes of what was read so far.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.length)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.length = self.length.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference() -> io::Result<()> {
        let whole = Digest::of(b"abc");
        assert_eq!(Hasher::new().chain("a").chain("bc").finish(), whole);
        let mut hasher = Hasher::new();
        hasher.write_all(b"ab")?;
        hasher.update("c");
        assert_eq!(hasher.finish_reset(), whole);
        assert_eq!(hasher.finish(), Digest::of(b""));
        let mut reader = DigestReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink())?;
        assert_eq!(reader.finish(), (whole, 3));
        Ok(())
    }
}
