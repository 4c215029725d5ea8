//! Cached root directories, made under a temporary name and visible only when complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};
use rustix::io::Errno;
use sha256::Digest;

use crate::blob::stamp;
use crate::content::Content;
use crate::description::{Description, TREE_DESCRIPTION};
use crate::temp::{self, TempFile, is_at, remove_all};
use crate::{Store, StoreError};

/// Time after which the kernel has most likely written a tree to the disk, so that syncing it is cheap.
const SETTLED: Duration = Duration::from_secs(60);

/// A cached root directory in use: while this lives it is not removed, in this process or another. If it is replaced
/// or pruned meanwhile, a later process that opens the store removes it.
///
/// Forked processes share its lock, and keep it until they execute another program or end.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    _shared: File,
}

impl Tree {
    /// Path of the root directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the description beside it.
    pub(crate) fn entry(&self) -> PathBuf {
        self.path.with_file_name(TREE_DESCRIPTION)
    }

    /// Locks the tree in `directory` for use; `None` if it is gone.
    pub(crate) fn hold(directory: &Path) -> Result<Option<Self>, StoreError> {
        let shared = match File::open(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("opening", directory))?,
        };
        // Waits only for a process that removes it, or has just made it.
        flock(&shared, FlockOperation::LockShared).map_err(|e| StoreError::io("locking", directory)(e.into()))?;
        let there = is_at(&shared, directory).map_err(StoreError::io("examining", directory))?;
        Ok(there.then(|| Self { path: directory.join("tree"), _shared: shared }))
    }

    /// Takes the exclusive lock of an unused tree; `None` if it is in use.
    pub(crate) fn lock_unused(directory: &Path) -> Result<Option<File>, StoreError> {
        let lock = File::open(directory).map_err(StoreError::io("opening", directory))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(StoreError::io("locking", directory)(e.into())),
        }
    }
}

impl Store {
    /// The root directory cached under `digest`, if there is a complete one. Counts as a use.
    ///
    /// Making a tree does not wait for the disk. Instead a tree has the boot id in which it was made until it is known
    /// to be on the disk, which is ensured here once it is a minute old. A tree from an earlier boot that was never
    /// synced is removed: a power cut may have emptied some of its files.
    ///
    /// # Errors
    /// If it cannot be examined, or a doubtful one cannot be removed.
    pub fn tree(&self, digest: &Digest) -> Result<Option<Tree>, StoreError> {
        let directory = self.tree_directory(digest);
        // Locked before it is examined: the examined tree must be the one that is used.
        let Some(tree) = Tree::hold(&directory)? else { return Ok(None) };
        let entry = directory.join(TREE_DESCRIPTION);
        let mut description = match Description::read(&entry) {
            Ok(Some(description)) => description,
            Ok(None) => return Ok(None),
            Err(StoreError::BadDescription { .. }) => {
                drop(tree);
                self.discard(&directory)?;
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        if let Some(boot) = &description.unsynced_since_boot {
            if **boot != *self.boot {
                drop(tree);
                self.discard(&directory)?;
                return Ok(None);
            }
            let modified =
                fs::metadata(&entry).and_then(|m| m.modified()).map_err(StoreError::io("examining", &entry))?;
            if SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED) {
                let handle = File::open(&directory).map_err(StoreError::io("opening", &directory))?;
                syncfs(&handle).map_err(|e| StoreError::io("flushing to the disk", &directory)(e.into()))?;
                description.unsynced_since_boot = None;
                description.write(self, &entry)?;
            }
        }
        stamp(&entry)?;
        Ok(Some(tree))
    }

    /// Begins a root directory that is to be cached under `digest`. `label` describes it in [`Self::list`].
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn new_tree(&self, digest: &Digest, label: &str) -> Result<TreeBuilder, StoreError> {
        temp::spread(&self.temp_dir());
        loop {
            // Reserves the name until the file is dropped.
            let name = TempFile::new(&self.temp_dir())?;
            let directory = name.path().with_extension("tree");
            temp::create_dir(&directory)?;
            let handle = File::open(&directory).map_err(StoreError::io("opening", &directory))?;
            flock(&handle, FlockOperation::LockExclusive)
                .map_err(|e| StoreError::io("locking", &directory)(e.into()))?;
            if is_at(&handle, &directory).map_err(StoreError::io("examining", &directory))? {
                temp::create_dir(&directory.join("tree"))?;
                let (store, label) = (self.clone(), label.to_owned());
                return Ok(TreeBuilder { store, digest: *digest, label, directory, done: false, lock: handle });
            }
        }
    }

    fn tree_directory(&self, digest: &Digest) -> PathBuf {
        self.root.join("trees").join(digest.to_string())
    }

    /// Removes a tree so that no half of it is ever visible under its name. If its files belong to other users, the
    /// remains stay in the temporary directory for [pruning](Store::prune_with).
    pub(crate) fn discard(&self, directory: &Path) -> Result<(), StoreError> {
        self.set_aside(directory)?.map_or(Ok(()), |pending| pending.remove().map(drop))
    }

    /// Renames a tree to a temporary name; `None` if it does not exist.
    fn set_aside(&self, directory: &Path) -> Result<Option<PendingRemoval>, StoreError> {
        let name = TempFile::new(&self.temp_dir())?;
        let path = name.path().with_extension("removed");
        match fs::rename(directory, &path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("setting aside", directory))?,
        }
        // A process that opens the store now leaves it to this process, or to the tree's users.
        let lock = Tree::lock_unused(&path)?;
        Ok(Some(PendingRemoval { path, _name: name, lock }))
    }
}

/// A tree that cannot be found any more but still takes its space. If dropped without [`remove`](Self::remove), the
/// next process to open the store removes it.
#[derive(Debug)]
#[must_use]
pub struct PendingRemoval {
    path: PathBuf,
    /// Reserves the temporary name, and so the tree's.
    _name: TempFile,
    /// `None` while the tree is in use.
    lock: Option<File>,
}

/// Result of removing a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, or its remains need another user to remove them.
    Done,
    /// It is in use. The next process to open the store after that removes it.
    InUse,
}

impl PendingRemoval {
    /// Removes the tree unless it is in use, which takes seconds if it is large and the disk is busy.
    ///
    /// # Errors
    /// If a file cannot be removed, other than for belonging to another user.
    pub fn remove(self) -> Result<Removal, StoreError> {
        if self.lock.is_none() && Tree::lock_unused(&self.path)?.is_none() {
            return Ok(Removal::InUse);
        }
        match remove_all(&self.path) {
            Err(e) if ![io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound].contains(&e.kind()) => {
                Err(StoreError::io("removing", &self.path)(e))
            }
            _ => Ok(Removal::Done),
        }
    }
}

/// A root directory in the making. If dropped without [`commit`](Self::commit) it is removed; if the process dies, it
/// is removed the next time the store is opened.
#[derive(Debug)]
pub struct TreeBuilder {
    store: Store,
    digest: Digest,
    label: String,
    directory: PathBuf,
    done: bool,
    lock: File,
}

impl TreeBuilder {
    /// Path of the empty directory to fill.
    pub fn path(&self) -> PathBuf {
        self.directory.join("tree")
    }

    /// Makes the directory visible under its digest and returns its final path, after reading all of it: it is stored
    /// with the digest of its content. `size` is its size on the disk, in bytes. If another process was faster, its
    /// tree stays and this one is removed.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn commit(self, size: u64) -> Result<Tree, StoreError> {
        self.describe(size)?;
        self.publish()
    }

    /// As [`Self::commit`], but replaces an existing tree, which is returned for the caller to remove: for callers
    /// that do not trust the old one.
    ///
    /// # Errors
    /// If one of them cannot be renamed.
    pub fn replace(mut self, size: u64) -> Result<(Tree, Option<PendingRemoval>), StoreError> {
        // This takes seconds. Until it is done the old one stays: testbeds of a running test are opened by its path.
        self.describe(size)?;
        let target = self.store.tree_directory(&self.digest);
        // Whoever reads it by its path finds one of them at each moment.
        if renameat_with(CWD, &self.directory, CWD, &target, RenameFlags::EXCHANGE).is_ok() {
            let old = self.directory.clone();
            let tree = self.in_place(&target)?;
            return Ok((tree, self.store.set_aside(&old)?));
        }
        // There is none, or the file system cannot do that.
        let old = self.store.set_aside(&target)?;
        Ok((self.publish()?, old))
    }

    /// Writes the description beside the tree, with the digest of all its content.
    fn describe(&self, size: u64) -> Result<(), StoreError> {
        let content = Content::of(&self.path())?;
        let description = Description { content: Some(content), ..Description::new(&self.store, size, &self.label) };
        description.write(&self.store, &self.directory.join(TREE_DESCRIPTION))
    }

    fn publish(mut self) -> Result<Tree, StoreError> {
        let target = self.store.tree_directory(&self.digest);
        loop {
            match fs::rename(&self.directory, &target) {
                Ok(()) => break,
                Err(e) if [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists].contains(&e.kind()) => {
                    // `None` if another process has just removed it.
                    if let Some(tree) = Tree::hold(&target)? {
                        return Ok(tree);
                    }
                }
                Err(e) => return Err(StoreError::io("renaming a finished tree to", &target)(e)),
            }
        }
        self.in_place(&target)
    }

    /// The tree, once it is at its place.
    fn in_place(&mut self, target: &Path) -> Result<Tree, StoreError> {
        self.done = true;
        // The same lock as the builder's, now in shared mode.
        let shared = self.lock.try_clone().map_err(StoreError::io("keeping open", target))?;
        flock(&shared, FlockOperation::LockShared).map_err(|e| StoreError::io("locking", target)(e.into()))?;
        Ok(Tree { path: target.join("tree"), _shared: shared })
    }
}

impl Drop for TreeBuilder {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now is tried again by the next process to open the store.
            let _ = remove_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreEntryKind;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_tree_is_visible_when_committed_and_not_before() {
        let (_dir, store) = store();
        let digest = Digest::of(b"lock");
        let builder = store.new_tree(&digest, "root of smoke").unwrap();
        fs::write(builder.path().join("hello"), "x").unwrap();
        assert!(store.tree(&digest).unwrap().is_none());
        let tree = builder.commit(4096).unwrap();
        assert_eq!(store.tree(&digest).unwrap().unwrap().path(), tree.path());
        assert_eq!(fs::read_to_string(tree.path().join("hello")).unwrap(), "x");
        let entry = store.list().unwrap().pop().unwrap();
        assert_eq!((entry.kind, entry.size, entry.label.as_str()), (StoreEntryKind::Tree, 4096, "root of smoke"));
        assert_eq!(fs::read_dir(store.temp_dir()).unwrap().count(), 0);
    }

    #[test]
    fn the_first_of_two_wins_and_a_dropped_draft_is_gone() {
        let (_dir, store) = store();
        let digest = Digest::of(b"lock");
        let (first, second) = (store.new_tree(&digest, "").unwrap(), store.new_tree(&digest, "").unwrap());
        drop(store.new_tree(&digest, "").unwrap());
        fs::write(first.path().join("who"), "first").unwrap();
        fs::write(second.path().join("who"), "second").unwrap();
        // Opening the store again must not take the drafts for abandoned ones.
        Store::open(store.root()).unwrap();
        let tree = first.commit(1).unwrap();
        assert_eq!(second.commit(1).unwrap().path(), tree.path());
        assert_eq!(fs::read_to_string(tree.path().join("who")).unwrap(), "first");
        assert_eq!(fs::read_dir(store.temp_dir()).unwrap().count(), 0);
    }

    #[test]
    fn a_replaced_tree_is_the_new_one() {
        let (_dir, store) = store();
        let digest = Digest::of(b"lock");
        store.new_tree(&digest, "").unwrap().commit(1).unwrap();
        let builder = store.new_tree(&digest, "").unwrap();
        fs::write(builder.path().join("new"), "").unwrap();
        let (tree, old) = builder.replace(1).unwrap();
        assert!(tree.path().join("new").exists());
        assert_eq!(store.tree(&digest).unwrap().unwrap().path(), tree.path());
        assert_eq!(old.expect("there was one").remove().unwrap(), Removal::Done);
        assert_eq!(fs::read_dir(store.temp_dir()).unwrap().count(), 0);
    }

    #[test]
    fn an_unsynced_tree_of_an_earlier_boot_is_not_trusted() {
        let (_dir, store) = store();
        let digest = Digest::of(b"lock");
        store.new_tree(&digest, "").unwrap().commit(1).unwrap();
        let entry = store.tree_directory(&digest).join(TREE_DESCRIPTION);
        let mut description = Description::read(&entry).unwrap().unwrap();
        description.unsynced_since_boot = Some("another".into());
        description.write(&store, &entry).unwrap();
        assert!(store.tree(&digest).unwrap().is_none());
        assert!(!store.tree_directory(&digest).exists());
    }

    #[test]
    fn an_old_tree_is_made_sure_of_once() {
        let (_dir, store) = store();
        let digest = Digest::of(b"lock");
        store.new_tree(&digest, "").unwrap().commit(1).unwrap();
        let entry = store.tree_directory(&digest).join(TREE_DESCRIPTION);
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(&entry).unwrap().set_modified(long_ago).unwrap();
        assert!(store.tree(&digest).unwrap().is_some());
        assert!(Description::read(&entry).unwrap().unwrap().unsynced_since_boot.is_none());
    }
}
