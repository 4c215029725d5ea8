//! The store's directory, and opening it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use sha256::Digest;

use crate::StoreError;
use crate::temp::{self, create_dir, create_private_dir};

/// Marker file that backup programs respect, see <https://bford.info/cachedir/>.
const CACHEDIR_TAG: &[u8] =
    b"Signature: 8a477f597d28d172789f06886806bc55\n# rocbed keeps here what it can fetch or make again.\n";

/// A content-addressed store in a directory. Cloning it is cheap; clones are the same store.
///
/// Any number of threads and processes may use a store at once. As long as one has it open, no other process can
/// [prune](Store::prune) it, so paths that it returned stay valid.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) root: Arc<Path>,
    pub(crate) lock: Arc<File>,
    /// Boot id of the machine.
    pub(crate) boot: Arc<str>,
}

/// The default directory of the store: `$XDG_CACHE_HOME/rocbed`, or `~/.cache/rocbed` (XDG Base Directory
/// Specification 0.8: a relative path there is ignored).
///
/// # Errors
/// [`StoreError::NoCacheDirectory`] if neither variable is usable.
pub fn default_root() -> Result<PathBuf, StoreError> {
    default_root_from(|name| env::var_os(name).map(PathBuf::from))
}

fn default_root_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, StoreError> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("rocbed"))
        .ok_or(StoreError::NoCacheDirectory)
}

/// Boot id of the machine (proc(5), `random/boot_id`).
fn boot_id() -> Result<String, StoreError> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).map(|id| id.trim().to_owned()).map_err(StoreError::io("reading", path))
}

impl Store {
    /// Opens the store in `root`, creating it if necessary, and removes temporary files that dead processes left
    /// there. Waits while another process prunes it.
    ///
    /// # Errors
    /// If the directories cannot be created or written to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        create_dir(&root)?;
        let root = std::path::absolute(&root).map_err(StoreError::io("resolving", &root))?;
        for name in ["sha256", "meta", "partial"] {
            create_dir(&root.join(name))?;
        }
        for name in ["trees", "tmp"] {
            create_private_dir(&root.join(name))?;
        }
        let lock_path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(StoreError::io("opening", &lock_path))?;
        flock(&lock, FlockOperation::LockShared).map_err(|e| StoreError::io("locking", &lock_path)(e.into()))?;
        let store = Self { root: root.into(), lock: Arc::new(lock), boot: boot_id()?.into() };
        let tag = store.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(&tag, CACHEDIR_TAG).map_err(|e| StoreError::writing(&tag, CACHEDIR_TAG.len() as u64, e))?;
        }
        temp::remove_stale(&store.root.join("tmp"))?;
        Ok(store)
    }

    /// Absolute path of the store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of the content with this digest, stored or not: `<root>/sha256/ab/abcd...`.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.prefix(2)).join(digest.to_string())
    }

    /// Path of an interrupted download of this content.
    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.to_string())
    }

    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(xdg: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
        default_root_from(|name| if name == "HOME" { home } else { xdg }.map(PathBuf::from)).ok()
    }

    #[test]
    fn the_default_follows_xdg() {
        assert_eq!(root(Some("/x"), Some("/h")), Some("/x/rocbed".into()));
        assert_eq!(root(None, Some("/h")), Some("/h/.cache/rocbed".into()));
        assert_eq!(root(Some("relative"), Some("/h")), Some("/h/.cache/rocbed".into()));
        assert_eq!(root(Some(""), None), None);
    }

    #[test]
    fn a_store_is_opened_twice_and_is_tagged_as_a_cache() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path().join("a/b")).unwrap();
        let second = Store::open(first.root()).unwrap();
        assert_eq!(first.root(), second.root());
        let tag = fs::read(first.root().join("CACHEDIR.TAG")).unwrap();
        assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"));
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let error = Store::open("/proc/nowhere").unwrap_err().to_string();
        assert!(error.starts_with("creating /proc/nowhere"), "{error}");
    }
}
