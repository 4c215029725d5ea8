//! Ownership of paths by packages, while several packages are unpacked in parallel.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use fsimage::Metadata;

use super::Package;
use crate::Error;

/// A name in a directory, independent of the path to it: /bin/sh and /usr/bin/sh are the same with a merged /usr.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) name: Vec<u8>,
}

/// The owner of a name.
#[derive(Debug)]
enum Claim {
    Directory(DirectoryClaim),
    Other { owner: usize, path: Vec<u8> },
}

/// The metadata of a directory from the first package that ships it; `usize::MAX` while no package has.
#[derive(Debug, Clone)]
pub(super) struct DirectoryClaim {
    pub(super) owner: usize,
    pub(super) path: Vec<u8>,
    pub(super) metadata: Metadata,
}

/// Decision about an entry that is not a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The name is unused: create it.
    Create,
    /// The same package has created it already: the later entry wins.
    Recreate,
    /// Another package owns the name and keeps it; the entry is not added to the package's list.
    Lost,
    /// The entry is added to the list, but not written: it is shared with another architecture, or a directory exists
    /// in place of a link.
    Keep,
    /// It overwrites another package's file when all others are done.
    Later,
}

/// Decision about a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DirectoryDecision {
    /// Create it.
    Create,
    /// It exists.
    Exists,
    /// Another type exists; allowed if it is a link to a directory.
    Follow,
}

/// A file that another package replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Takeover {
    pub(super) winner: usize,
    pub(super) winner_path: Vec<u8>,
    pub(super) loser: usize,
    pub(super) loser_path: Vec<u8>,
}

/// All claims of one attempt.
pub(super) struct Claims {
    parallel: bool,
    sealed: AtomicBool,
    order_sensitive: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    claims: HashMap<Key, Claim>,
    takeovers: BTreeSet<Takeover>,
    conflicts: BTreeSet<(usize, usize, Vec<u8>)>,
    /// Packages that were unpacked before the others, whose links the others may use.
    early_owners: BTreeSet<usize>,
}

impl Claims {
    pub(super) fn new(parallel: bool) -> Self {
        Self {
            parallel,
            sealed: AtomicBool::new(false),
            order_sensitive: AtomicBool::new(false),
            state: Mutex::new(State::default()),
        }
    }

    /// Ends the phase in which packages are unpacked one by one.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(super) fn is_order_sensitive(&self) -> bool {
        self.order_sensitive.load(Ordering::Acquire)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn racing(&self) -> bool {
        self.parallel && self.sealed.load(Ordering::Acquire)
    }

    /// Claims a name for a directory. `create` creates it, under the lock, if the answer is
    /// [`DirectoryDecision::Create`].
    pub(super) fn directory(
        &self,
        key: Key,
        claim: DirectoryClaim,
        create: impl FnOnce() -> Result<(), Error>,
    ) -> Result<DirectoryDecision, Error> {
        let racing = self.racing();
        let mut state = self.state();
        match state.claims.get_mut(&key) {
            None => {
                create()?;
                state.claims.insert(key, Claim::Directory(claim));
                Ok(DirectoryDecision::Create)
            }
            Some(Claim::Directory(known)) => {
                if claim.owner < known.owner {
                    *known = claim;
                }
                Ok(DirectoryDecision::Exists)
            }
            Some(Claim::Other { owner, .. }) => {
                let owner = *owner;
                if racing && owner != claim.owner && !state.early_owners.contains(&owner) {
                    self.order_sensitive.store(true, Ordering::Release);
                }
                Ok(DirectoryDecision::Follow)
            }
        }
    }

    /// Claims a name for anything but a directory.
    pub(super) fn other(&self, key: Key, owner: usize, path: &[u8], link: bool, packages: &[Package]) -> Decision {
        let racing = self.racing();
        let mut state = self.state();
        if !self.sealed.load(Ordering::Acquire) {
            state.early_owners.insert(owner);
        }
        let (holder, holder_path) = match state.claims.get(&key) {
            None => {
                state.claims.insert(key, Claim::Other { owner, path: path.to_vec() });
                return Decision::Create;
            }
            Some(Claim::Directory(directory)) => {
                if racing && directory.owner != owner {
                    self.order_sensitive.store(true, Ordering::Release);
                }
                if link {
                    return Decision::Keep; // dpkg keeps a directory where a link would be
                }
                let holder = directory.owner;
                state.conflicts.insert((holder.min(owner), holder.max(owner), path.to_vec()));
                return Decision::Lost;
            }
            Some(Claim::Other { owner: holder, .. }) if *holder == owner => return Decision::Recreate,
            Some(Claim::Other { owner: holder, path }) => (*holder, path.clone()),
        };
        let (Some(mine), Some(theirs)) = (packages.get(owner), packages.get(holder)) else { return Decision::Lost };
        if mine.deb.name() == theirs.deb.name() && mine.deb.is_multi_arch_same() && theirs.deb.is_multi_arch_same() {
            return Decision::Keep;
        }
        let later_wins = owner > holder;
        let wins = match (mine.replaces(&theirs.deb), theirs.replaces(&mine.deb)) {
            (true, true) => later_wins,
            (true, false) => true,
            (false, true) => false,
            (false, false) => {
                state.conflicts.insert((holder.min(owner), holder.max(owner), path.to_vec()));
                return Decision::Lost;
            }
        };
        if wins {
            state.claims.insert(key, Claim::Other { owner, path: path.to_vec() });
            state.takeovers.insert(Takeover {
                winner: owner,
                winner_path: path.to_vec(),
                loser: holder,
                loser_path: holder_path,
            });
            Decision::Later
        } else {
            Decision::Lost
        }
    }

    /// The conflict between the earliest packages, so that the message does not depend on timing.
    pub(super) fn first_conflict(&self, packages: &[Package]) -> Option<Error> {
        let state = self.state();
        let (first, second, path) = state.conflicts.first()?;
        let name =
            |order: &usize| packages.get(*order).map_or_else(String::new, |package| package.deb.name().to_owned());
        if first == second {
            return Some(Error::Entry {
                package: name(first),
                path: String::from_utf8_lossy(path).into_owned(),
                what: "its archive has a directory and something else of this name".into(),
            });
        }
        Some(Error::Conflict {
            first: name(first),
            second: name(second),
            path: String::from_utf8_lossy(path).into_owned(),
        })
    }

    pub(super) fn takeovers(&self) -> Vec<Takeover> {
        self.state().takeovers.iter().cloned().collect()
    }

    /// All directories, deepest first, so that read-only directories do not prevent changes below them.
    pub(super) fn directories(&self) -> Vec<DirectoryClaim> {
        let state = self.state();
        let mut directories: Vec<_> = state
            .claims
            .values()
            .filter_map(|claim| match claim {
                Claim::Directory(directory) => Some(directory.clone()),
                Claim::Other { .. } => None,
            })
            .collect();
        directories.sort_by(|a, b| b.path.cmp(&a.path));
        directories
    }
}
