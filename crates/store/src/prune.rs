//! Removes entries that were not used for long.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use sha256::Digest;

use crate::blob::remove_file;
use crate::description::description_path;
use crate::entry::children;
use crate::temp::{remove_all, stale};
use crate::{Store, StoreEntry, StoreEntryKind, StoreError, Tree};

/// Rules for pruning. If both are given, both apply; if none is, nothing is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrunePolicy {
    /// Remove entries that were not used for this long.
    pub unused_for: Option<Duration>,
    /// Then remove the least recently used entries until at most this many bytes are left.
    pub max_bytes: Option<u64>,
    /// Only report what would be removed.
    pub dry_run: bool,
}

/// Result of [`Store::prune`]: what it did, or would do.
#[derive(Debug, Clone, Default)]
pub struct PruneReport {
    /// Removed entries, least recently used first.
    pub removed: Vec<StoreEntry>,
    /// Number of bytes freed.
    pub freed_bytes: u64,
    /// Entries that were not removed because they are in use.
    pub in_use: Vec<StoreEntry>,
    /// Number of entries left.
    pub kept: usize,
    /// Size of the entries left, in bytes.
    pub kept_bytes: u64,
}

impl Store {
    /// Removes entries by `policy`. See [`Self::prune_with`].
    ///
    /// # Errors
    /// As [`Self::prune_with`].
    pub fn prune(&self, policy: &PrunePolicy) -> Result<PruneReport, StoreError> {
        self.prune_with(policy, &mut |path| remove_all(path))
    }

    /// As [`Self::prune`], with `remove` to remove each tree: a tree whose files belong to subordinate user ids cannot
    /// be removed without becoming their owner.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process (or another [`Store::open`] in this one) has the store open, or if an
    /// entry cannot be removed.
    pub fn prune_with(
        &self,
        policy: &PrunePolicy,
        remove: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> Result<PruneReport, StoreError> {
        let _alone = if policy.dry_run { None } else { Some(Alone::new(self)?) };
        let mut entries = self.list()?;
        entries.sort_by_key(|entry| entry.last_use);
        let mut left: u64 = entries.iter().map(|entry| entry.size).sum();
        let now = SystemTime::now();
        let mut report = PruneReport::default();
        for entry in entries {
            let age = now.duration_since(entry.last_use).unwrap_or_default();
            let too_old = policy.unused_for.is_some_and(|limit| age >= limit);
            let too_much = policy.max_bytes.is_some_and(|limit| left > limit);
            if !too_old && !too_much {
                report.kept += 1;
                report.kept_bytes += entry.size;
                continue;
            }
            // A tree can be in use without the store being open: tests run in a root directory and need nothing else
            // of it.
            let unused =
                if entry.kind == StoreEntryKind::Tree { Tree::lock_unused(&entry.path)?.map(Some) } else { Some(None) };
            let Some(_lock) = unused else {
                report.kept += 1;
                report.kept_bytes += entry.size;
                report.in_use.push(entry);
                continue;
            };
            if !policy.dry_run {
                self.remove_entry(&entry, remove)?;
            }
            left -= entry.size;
            report.freed_bytes += entry.size;
            report.removed.push(entry);
        }
        if !policy.dry_run {
            for (path, _locked) in stale(&self.temp_dir())? {
                remove(&path).map_err(StoreError::io("removing an unfinished", &path))?;
            }
            self.remove_orphans()?;
        }
        Ok(report)
    }

    fn remove_entry(
        &self,
        entry: &StoreEntry,
        remove: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        if entry.kind == StoreEntryKind::Tree {
            // Renamed first, so that an interrupted removal never leaves half a tree under a final name.
            let doomed = self.temp_dir().join(format!("{}.removed", entry.digest));
            std::fs::rename(&entry.path, &doomed).map_err(StoreError::io("setting aside", &entry.path))?;
            return remove(&doomed).map_err(StoreError::io("removing", &doomed));
        }
        remove_file(&entry.path)?;
        remove_file(&description_path(&entry.path))
    }

    /// Removes descriptions without content.
    fn remove_orphans(&self) -> Result<(), StoreError> {
        for (_, shard) in children(&self.root.join("sha256"))? {
            for (name, path) in children(&shard)? {
                let described = name.strip_suffix(".json").and_then(|stem| stem.parse::<Digest>().ok());
                if described.is_some_and(|digest| !self.path(&digest).exists()) {
                    remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Exclusive access: no other process has the store open while this lives.
struct Alone<'a>(&'a Store);

impl<'a> Alone<'a> {
    fn new(store: &'a Store) -> Result<Self, StoreError> {
        // A failed conversion of a flock loses the old lock: dropping `alone` takes it again.
        let alone = Self(store);
        match flock(&*store.lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(alone),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Busy(store.root.to_path_buf())),
            Err(e) => Err(StoreError::io("locking", store.root())(e.into())),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // Converting from exclusive to shared does not wait and cannot fail; after a failed conversion it waits at
        // most for another process's pruning.
        let _ = flock(&*self.0.lock, FlockOperation::LockShared);
    }
}
