//! Small named values: what was learnt once and should be known the next time.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::blob::{remove_file, stamp};
use crate::temp::write_atomically;
use crate::{Store, StoreError};

impl Store {
    /// The value under `key`, if there is one. It counts as used now.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], or where the file cannot be read.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.meta_path(key)?;
        match fs::read(&path) {
            Ok(bytes) => {
                match stamp(&path) {
                    // Pruned by its owner, or replaced, just after it was read.
                    Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
                Ok(Some(bytes))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("reading", &path)(e)),
        }
    }

    /// Puts `value` under `key`. Another process sees the old value or this one, never a part. After a power cut too.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], or where the file cannot be written.
    pub fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        write_atomically(&self.temp_dir(), &self.meta_path(key)?, value, true)
    }

    /// Removes the value under `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], or where the file cannot be removed.
    pub fn remove_meta(&self, key: &str) -> Result<(), StoreError> {
        remove_file(&self.meta_path(key)?)
    }

    fn meta_path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.is_empty() || key.len() > 200 || key.starts_with('.') || !key.chars().all(plain) {
            return Err(StoreError::BadKey(key.to_owned()));
        }
        Ok(self.root.join("meta").join(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.meta("a-1.b").unwrap(), None);
        store.set_meta("a-1.b", b"one").unwrap();
        store.set_meta("a-1.b", b"two").unwrap();
        assert_eq!(store.meta("a-1.b").unwrap().as_deref(), Some(&b"two"[..]));
        store.remove_meta("a-1.b").unwrap();
        store.remove_meta("a-1.b").unwrap();
        assert_eq!(store.meta("a-1.b").unwrap(), None);
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
