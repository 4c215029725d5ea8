//! Unpacks many packages in parallel, with the same result as dpkg unpacking them one after the other.
//!
//! Packages are unpacked optimistically. If the result could depend on the order (a symbolic link against a directory
//! of the same name), the parallel attempt is discarded and the same code runs again with one thread in the given
//! order. So the result is always that of the given order.
//!
//! Not supported, because they cannot occur in a root directory that starts empty: upgrades, removals, diversions and
//! stat overrides that exist before a package is unpacked. Scripts that create them are run by dpkg itself.

mod claims;
mod package;
mod place;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use claims::Claims;
use package::Attempt;
use place::Place;
pub use place::{Device, add_devices};
use progress::{Progress, Unit};

use crate::Error;
use crate::build::whole_or_damaged;
use crate::deb::Deb;
use crate::hashed::Expected;

/// The part of a package that is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it; configuration files as `X.dpkg-new`, from where `dpkg --configure` installs them.
    Whole,
    /// Files without configuration files: for a package that the image's own dpkg will unpack again, over these.
    FilesOnly,
    /// Nothing: for a package that the image's own dpkg will unpack. Only its digest and limits are checked.
    Nothing,
}

/// An opened package.
#[derive(Debug)]
pub struct Package {
    /// Control information.
    pub deb: Deb,
    /// Path and expected digest of the .deb.
    pub(crate) file: Expected,
    /// The part of it to unpack.
    pub extent: Extent,
}

impl Package {
    /// A package for whose file the caller vouches.
    pub fn trusted(deb: Deb, path: PathBuf, extent: Extent) -> Self {
        let file = Expected { name: deb.name().to_owned(), path, sha256: None };
        Self { deb, file, extent }
    }

    fn replaces(&self, other: &Deb) -> bool {
        let replaces = self.deb.control.relations("Replaces");
        let mut named = replaces.0.iter().flat_map(|alternatives| &alternatives.0);
        named.any(|relation| relation.name == other.name() && relation.accepts_version(other.version()))
    }
}

/// Result of unpacking a package.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The paths it owns, in its order, relative; the root directory is the empty path.
    pub paths: Vec<Vec<u8>>,
    /// MD5 digests of its regular files if it ships none itself (dpkg then writes `md5sums`).
    pub digests: Vec<(String, Vec<u8>)>,
}

/// Result of unpacking all packages.
#[derive(Debug, Default)]
pub struct Report {
    /// Results in the order of the packages.
    pub packages: Vec<Unpacked>,
    /// Device nodes that this user may not create; they have to be added to the file tree.
    pub devices: Vec<Device>,
}

/// Unpacks all packages into `root`, an empty directory, with `threads` threads. The result is that of unpacking one
/// after the other in the given order, except that base-files comes first: it has the links of the merged /usr,
/// through which others may ship files.
pub fn unpack(
    packages: &[Package],
    root: &std::path::Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    // Existing files would be lost if the first attempt is discarded.
    check_empty(root)?;
    if let Some(report) = attempt(packages, root, threads, progress)? {
        return Ok(report);
    }
    for entry in std::fs::read_dir(root).map_err(Error::io("listing", root.as_os_str().as_encoded_bytes()))? {
        let path = entry.map_err(Error::io("listing", root.as_os_str().as_encoded_bytes()))?.path();
        let removed = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        removed.map_err(Error::io("removing", path.as_os_str().as_encoded_bytes()))?;
    }
    match attempt(packages, root, 1, progress)? {
        Some(report) => Ok(report),
        None => unreachable!("one thread never depends on the order"),
    }
}

/// Fails if a directory is not empty.
pub(crate) fn check_empty(root: &std::path::Path) -> Result<(), Error> {
    let mut entries = std::fs::read_dir(root).map_err(Error::io("listing", root.as_os_str().as_encoded_bytes()))?;
    if entries.next().is_some() { Err(Error::NotEmpty(root.to_owned())) } else { Ok(()) }
}

/// One attempt; `None` if its result could depend on timing.
fn attempt(
    packages: &[Package],
    root: &std::path::Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Option<Report>, Error> {
    let place = Place::open(root)?;
    let claims = Claims::new(threads > 1);
    let total = packages.iter().map(|package| package.deb.data_size()).sum();
    let task = progress.task("unpacking packages", Some(total), Unit::Bytes);
    let attempt = Attempt { packages, place: &place, claims: &claims };
    let results: Vec<Mutex<Option<Result<Unpacked, Error>>>> = packages.iter().map(|_| Mutex::new(None)).collect();
    let run = |order: usize| {
        let Some(package) = packages.get(order) else { return };
        task.detail(package.deb.name());
        let result = attempt.unpack(order, None);
        task.advance(package.deb.data_size());
        if let Some(slot) = results.get(order) {
            *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
        }
    };

    let (base, mut rest): (Vec<usize>, Vec<usize>) =
        (0..packages.len()).partition(|order| packages[*order].deb.name() == "base-files");
    base.into_iter().for_each(run);
    claims.seal();
    if threads > 1 {
        // The largest first: otherwise one thread would be busy with it after all others are done.
        rest.sort_by_key(|order| std::cmp::Reverse(packages[*order].deb.data_size()));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, rest.len().max(1)) {
            scope.spawn(|| {
                while let Some(order) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if claims.is_order_sensitive() {
                        break;
                    }
                    run(*order);
                }
            });
        }
    });
    if claims.is_order_sensitive() {
        return Ok(None);
    }
    finish(&attempt, packages, results).map(Some)
}

/// Writes replacing files, removes replaced paths from the lists, and sets the directories' metadata.
fn finish(
    attempt: &Attempt,
    packages: &[Package],
    results: Vec<Mutex<Option<Result<Unpacked, Error>>>>,
) -> Result<Report, Error> {
    let results = results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
    let packages_in = whole_or_damaged(results.map(|result| result.unwrap_or_else(|| Ok(Unpacked::default()))))?;
    let mut report = Report { packages: packages_in, devices: Vec::new() };
    if let Some(error) = attempt.claims.first_conflict(packages) {
        return Err(error);
    }
    let mut takeovers: BTreeMap<usize, HashSet<Vec<u8>>> = BTreeMap::new();
    for takeover in attempt.claims.takeovers() {
        takeovers.entry(takeover.winner).or_default().insert(takeover.winner_path);
        if let Some(loser) = report.packages.get_mut(takeover.loser) {
            loser.digests.retain(|(_, path)| *path != takeover.loser_path);
            loser.paths.retain(|path| *path != takeover.loser_path);
        }
    }
    for (winner, paths) in takeovers {
        attempt.unpack(winner, Some(&paths))?;
    }
    attempt.place.set_directories(&attempt.claims.directories())?;
    report.devices = attempt.place.take_devices();
    Ok(report)
}
