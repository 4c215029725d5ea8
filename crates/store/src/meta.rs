//! Small named values: a cache of computed results.

use std::fs;
use std::io;
use std::path::PathBuf;

use sha256::Digest;

use crate::blob::stamp;
use crate::temp::write_atomically;
use crate::{Store, StoreError};

/// Length in bytes of the digest stored in front of a value.
const DIGEST: usize = 32;

/// The digest of a value with its key: a value stored under another key does not match.
fn digest(key: &str, value: &[u8]) -> Digest {
    Digest::of([key.as_bytes(), b"\0", value].concat())
}

impl Store {
    /// The value under `key`, if there is one. Counts as a use. A damaged value counts as missing: the caller computes
    /// it again.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], or if the file cannot be read.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.meta_path(key)?;
        match fs::read(&path) {
            Ok(mut bytes) => {
                if damaged(key, &bytes).is_some() {
                    return Ok(None);
                }
                match stamp(&path) {
                    // Pruned by its owner, or replaced, just after it was read.
                    Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
                bytes.drain(..DIGEST);
                Ok(Some(bytes))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("reading", &path)(e)),
        }
    }

    /// Stores `value` under `key`. Other processes see the old value or the new one, never a part, even after a power
    /// cut.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], or if the file cannot be written.
    pub fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let bytes = [digest(key, value).as_bytes().as_slice(), value].concat();
        write_atomically(&self.temp_dir(), &self.meta_path(key)?, &bytes, true)
    }

    /// The digest of the value under `key`, if it does not match the one stored with it.
    pub(crate) fn damaged_meta(&self, key: &str) -> Result<Option<Digest>, StoreError> {
        let path = match self.meta_path(key) {
            // Not a valid key: a file that was not written by a store.
            Err(StoreError::BadKey(_)) => return Ok(None),
            other => other?,
        };
        match fs::read(&path) {
            Ok(bytes) => Ok(damaged(key, &bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("reading", &path)(e)),
        }
    }

    fn meta_path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.is_empty() || key.len() > 200 || key.starts_with('.') || !key.chars().all(plain) {
            return Err(StoreError::BadKey(key.to_owned()));
        }
        Ok(self.root.join("meta").join(key))
    }
}

/// The actual digest of a stored value, if it does not match the one stored in front of it; also for values of earlier
/// versions.
fn damaged(key: &str, bytes: &[u8]) -> Option<Digest> {
    let (stored, value) = bytes.split_at_checked(DIGEST).unwrap_or((&[], bytes));
    let now = digest(key, value);
    (now.as_bytes().as_slice() != stored).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.meta("a-1.b").unwrap(), None);
        store.set_meta("a-1.b", b"one").unwrap();
        store.set_meta("a-1.b", b"two").unwrap();
        assert_eq!(store.meta("a-1.b").unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn a_value_that_changed_is_not_there_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for change in ["", "short", "longer than any digest, but not behind one of its own"] {
            store.set_meta("a", b"value").unwrap();
            fs::write(dir.path().join("meta/a"), change).unwrap();
            assert_eq!(store.meta("a").unwrap(), None);
        }
        store.set_meta("a", b"value").unwrap();
        fs::rename(dir.path().join("meta/a"), dir.path().join("meta/b")).unwrap();
        assert_eq!(store.meta("b").unwrap(), None, "it is the value of another key");
    }

    #[test]
    fn a_key_cannot_lead_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for key in ["", ".", "..", "../x", "a/b", "a\0b", "ä", &"x".repeat(201)] {
            assert!(matches!(store.set_meta(key, b""), Err(StoreError::BadKey(_))), "{key:?}");
        }
    }
}
