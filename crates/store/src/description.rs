//! [`Description`]: what is recorded beside an entry of a store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::temp::write_atomically;
use crate::{Store, StoreError};

/// The description beside a tree; its modification time is the tree's last use. (The tree's own modification time is
/// content.)
pub(crate) const TREE_DESCRIPTION: &str = "entry.json";

/// Path of the description of the content at `path`.
pub(crate) fn description_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// Metadata recorded beside an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) size: u64,
    pub(crate) label: String,
    /// Boot id in which it was made, as long as it is not known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsynced_since_boot: Option<String>,
    /// Content of a root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
}

impl Description {
    /// The description of an entry that is being written now, in this boot.
    pub(crate) fn new(store: &Store, size: u64, label: &str) -> Self {
        Self { size, label: label.to_owned(), unsynced_since_boot: Some(store.boot.to_string()), content: None }
    }

    /// The description in `path`, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| StoreError::BadDescription { path: path.to_owned(), source }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("reading", path)(e)),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // A struct of a number and strings always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Does not wait for the disk: if a power cut empties it, the entry has to be fetched or made again.
    pub(crate) fn write(&self, store: &Store, path: &Path) -> Result<(), StoreError> {
        write_atomically(&store.temp_dir(), path, &self.to_bytes(), false)
    }
}
