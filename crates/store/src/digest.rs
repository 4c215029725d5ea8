//! SHA-256 digests (FIPS 180-4) as names of stored content.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest. Its text form is 64 hexadecimal digits, written in lower case and read in either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 digest: it takes 64 hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads `reader` to its end; returns its digest and its length in bytes.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hashed = DigestReader::new(reader);
        io::copy(&mut hashed, &mut io::sink())?;
        Ok(hashed.finish())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first two digits of the text form, used as the name of a stored file's directory.
    pub(crate) fn shard(&self) -> String {
        hex::encode(self.0.get(..1).unwrap_or_default())
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError(text.chars().take(100).collect()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Hashes and counts what is read through it.
pub struct DigestReader<R> {
    inner: R,
    hash: Sha256,
    length: u64,
}

impl<R: Read> DigestReader<R> {
    /// Reads through to `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }

    /// Digest and length of what was read so far.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.hash.finalize().into()), self.length)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.length = self.length.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of_reader(io::empty()).unwrap(), (Digest::of(b""), 0));
    }

    #[test]
    fn upper_case_is_read_and_lower_case_written() {
        let digest: Digest = EMPTY.to_uppercase().parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest.shard(), "e3");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "e3", "zz", &EMPTY[1..], &format!("{EMPTY}0"), &format!("{}é", &EMPTY[2..]), "../../etc/passwd"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_is_the_text_form() {
        let json = serde_json::to_string(&Digest::of(b"")).unwrap();
        assert_eq!(json, format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), Digest::of(b""));
        assert!(serde_json::from_str::<Digest>("\"e3\"").is_err());
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 32]) {
            let digest = Digest::from(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            prop_assert!(digest.to_string().starts_with(&digest.shard()));
        }

        #[test]
        fn no_text_panics(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text.to_lowercase());
            }
        }
    }
}
