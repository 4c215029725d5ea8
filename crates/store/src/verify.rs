//! Reads everything in the store again, and compares it with its digests.

use std::fs::File;

use progress::{Progress, Unit};
use sha256::{Digest, DigestReader};

use crate::blob::remove_file;
use crate::content::Content;
use crate::description::{Description, TREE_DESCRIPTION, description_path};
use crate::{Store, StoreEntry, StoreEntryKind, StoreError, Tree};

/// A damaged entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The entry: its path, and the digest it should have.
    pub entry: StoreEntry,
    /// Actual digest.
    pub got: Digest,
}

/// Result of [`Store::verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Number of files that were read.
    pub files: usize,
    /// Number of bytes that they have.
    pub bytes: u64,
    /// Number of root directories that were read.
    pub trees: usize,
    /// Number of named values that were read.
    pub values: usize,
    /// Damaged entries.
    pub broken: Vec<Broken>,
    /// Root directories that cannot be checked: stored without a digest by an earlier version, or by a user whose ids
    /// are mapped differently here.
    pub unknown: Vec<StoreEntry>,
}

/// Result of checking a root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The content matches its digest.
    Whole,
    /// The content differs, and has this digest.
    Damaged(Digest),
    /// It cannot be checked: it has no digest, or one made with another id mapping.
    Unknown,
}

impl Tree {
    /// Reads the whole tree and compares its digest with the stored one: paths, modes, owners, times, links,
    /// capabilities and contents.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn condition(&self) -> Result<Condition, StoreError> {
        let description = match Description::read(&self.entry()) {
            Ok(description) => description,
            Err(StoreError::BadDescription { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(content) = description.and_then(|description| description.content).filter(Content::is_comparable)
        else {
            return Ok(Condition::Unknown);
        };
        let now = Content::of(self.path())?;
        Ok(if now == content { Condition::Whole } else { Condition::Damaged(now.sha256) })
    }
}

impl Store {
    /// Reads everything in the store: files, whose name is their digest, root directories and named values, which have
    /// a digest of their content. With `remove`, damaged entries are removed, so that they are fetched or made again
    /// when needed.
    ///
    /// # Errors
    /// If an entry cannot be read or removed.
    pub fn verify(&self, remove: bool, progress: &dyn Progress) -> Result<VerifyReport, StoreError> {
        let entries = self.list()?;
        let task = progress.task("verifying", Some(entries.iter().map(|e| e.size).sum()), Unit::Bytes);
        let mut report = VerifyReport::default();
        for entry in entries {
            task.detail(&entry.label);
            let got = match entry.kind {
                StoreEntryKind::File => self.verify_file(&entry, &mut report)?,
                StoreEntryKind::Tree => verify_tree(&entry, &mut report)?,
                StoreEntryKind::Meta => {
                    report.values += 1;
                    self.damaged_meta(&entry.label)?
                }
                // Its digest is checked when it is complete.
                StoreEntryKind::Partial => None,
            };
            task.advance(entry.size);
            let Some(got) = got else { continue };
            if remove {
                match entry.kind {
                    StoreEntryKind::Tree => self.discard(&entry.path)?,
                    StoreEntryKind::Meta => remove_file(&entry.path)?,
                    _ => self.remove(&entry.digest)?,
                }
            }
            report.broken.push(Broken { entry, got });
        }
        Ok(report)
    }

    /// The digest of a file, if it differs from its name.
    fn verify_file(&self, entry: &StoreEntry, report: &mut VerifyReport) -> Result<Option<Digest>, StoreError> {
        let Some((got, length)) = self.digest_of(&entry.digest)? else { return Ok(None) };
        report.files += 1;
        report.bytes += length;
        Ok((got != entry.digest).then_some(got))
    }

    fn digest_of(&self, digest: &Digest) -> Result<Option<(Digest, u64)>, StoreError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("opening", &path)(e)),
        };
        let mut reader = DigestReader::new(file);
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(StoreError::io("reading", &path))?;
        Ok(Some(reader.finish()))
    }

    /// As [`Self::has`], but the file is read and compared with its digest; a damaged one is removed.
    ///
    /// # Errors
    /// As [`Self::has`].
    pub fn has_checked(&self, digest: &Digest, size: Option<u64>) -> Result<bool, StoreError> {
        if !self.has(digest, size)? {
            return Ok(false);
        }
        let good = self.digest_of(digest)?.is_some_and(|(got, _)| got == *digest);
        if !good {
            self.remove(digest)?;
        }
        Ok(good)
    }

    /// Removes a file, which may not exist.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        remove_file(&path)?;
        remove_file(&description_path(&path))
    }
}

/// The digest of a damaged root directory; for one without a readable description, the digest of empty data.
fn verify_tree(entry: &StoreEntry, report: &mut VerifyReport) -> Result<Option<Digest>, StoreError> {
    let Some(tree) = Tree::hold(&entry.path)? else { return Ok(None) };
    if matches!(Description::read(&entry.path.join(TREE_DESCRIPTION)), Err(StoreError::BadDescription { .. })) {
        return Ok(Some(Digest::of(b"")));
    }
    match tree.condition()? {
        Condition::Unknown => report.unknown.push(entry.clone()),
        Condition::Whole => report.trees += 1,
        Condition::Damaged(got) => {
            report.trees += 1;
            return Ok(Some(got));
        }
    }
    Ok(None)
}
