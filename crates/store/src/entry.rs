//! [`StoreEntry`]: what is in a store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha256::Digest;

use crate::description::{Description, TREE_DESCRIPTION, description_path};
use crate::{Store, StoreError};

/// Type of a [`StoreEntry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreEntryKind {
    /// A file, stored under the digest of its content.
    File,
    /// A root directory, stored under the digest of its inputs.
    Tree,
    /// A small named value, cached from an earlier computation.
    Meta,
    /// An interrupted download.
    Partial,
}

/// A file or directory in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEntry {
    /// Type of entry.
    pub kind: StoreEntryKind,
    /// The digest under which it is stored; for a named value, the digest of its name.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last use or write.
    pub last_use: SystemTime,
    /// Description given when it was stored, or a value's name; empty if unknown.
    pub label: String,
    /// Path in the store.
    pub path: PathBuf,
}

impl Store {
    /// All entries of the store, in the order of digests within each [`StoreEntryKind`].
    ///
    /// # Errors
    /// If a directory cannot be read. Entries that another process removes meanwhile are left out.
    pub fn list(&self) -> Result<Vec<StoreEntry>, StoreError> {
        let mut entries = Vec::new();
        for (_, shard) in children(&self.root.join("sha256"))? {
            for (name, path) in children(&shard)? {
                if let Ok(digest) = name.parse() {
                    entries.extend(entry(StoreEntryKind::File, digest, &path, &description_path(&path))?);
                }
            }
        }
        for (name, path) in children(&self.root.join("trees"))? {
            if let Ok(digest) = name.parse() {
                entries.extend(entry(StoreEntryKind::Tree, digest, &path, &path.join(TREE_DESCRIPTION))?);
            }
        }
        for (name, path) in children(&self.root.join("meta"))? {
            // Values have no description, only their name.
            let named = entry(StoreEntryKind::Meta, Digest::of(name.as_bytes()), &path, &description_path(&path))?;
            entries.extend(named.map(|entry| StoreEntry { label: name, ..entry }));
        }
        for (name, path) in children(&self.root.join("partial"))? {
            if let Ok(digest) = name.parse() {
                entries.extend(entry(StoreEntryKind::Partial, digest, &path, &description_path(&path))?);
            }
        }
        entries.sort_by_key(|entry| (entry.kind, entry.digest));
        Ok(entries)
    }
}

/// Names in a directory that are valid UTF-8, with their paths.
pub(crate) fn children(directory: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(StoreError::io("reading", directory))? {
        let entry = entry.map_err(StoreError::io("reading", directory))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn entry(
    kind: StoreEntryKind,
    digest: Digest,
    path: &Path,
    description: &Path,
) -> Result<Option<StoreEntry>, StoreError> {
    let stamped = if kind == StoreEntryKind::Tree { description } else { path };
    let metadata = match fs::metadata(stamped) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("examining", stamped)(e)),
    };
    let last_use = metadata.modified().map_err(StoreError::io("examining", stamped))?;
    let described = match Description::read(description) {
        Ok(described) => described,
        // Listed nevertheless, so that it can be pruned.
        Err(StoreError::BadDescription { .. }) => None,
        Err(e) => return Err(e),
    };
    let size = if kind == StoreEntryKind::Tree { described.as_ref().map_or(0, |d| d.size) } else { metadata.len() };
    let label = described.map_or_else(String::new, |d| d.label);
    Ok(Some(StoreEntry { kind, digest, size, last_use, label, path: path.to_owned() }))
}
