//! Unpacking many packages at once, to what dpkg would have made from them one after the other.
//!
//! Packages run in parallel and optimistically. Where the result could depend on who comes first (a symbolic link
//! against a directory of the same name), the parallel attempt is given up and the same code runs again with one
//! thread in the given order. So the result is always that of the given order.
//!
//! Not done here, because it cannot occur in a root directory that starts empty: upgrades, removals, diversions and
//! stat overrides that exist before a package is unpacked. Scripts that make them are run by dpkg itself.

mod claims;
mod package;
mod target;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use claims::Claims;
use package::Attempt;
use progress::{Progress, Unit};
use target::UnpackTarget;
pub use target::{Device, add_devices};

use crate::Error;
use crate::error::whole_or_damaged;
use crate::hashed::Expected;
use debian::deb::Deb;

/// How much of a package is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it; configuration files as `X.dpkg-new`, from where `dpkg --configure` installs them.
    Whole,
    /// Files without configuration files: a package that the image's own dpkg will unpack again, over these.
    FilesOnly,
    /// Nothing of it: a package that the image's own dpkg will unpack. Its digest and limits are looked at.
    Nothing,
}

/// A package that was opened.
#[derive(Debug)]
pub struct Package {
    /// Its control information.
    pub deb: Deb,
    /// Where the .deb is, and what it has to be.
    pub(crate) file: Expected,
    /// How much of it to unpack.
    pub extent: Extent,
}

impl Package {
    /// A package whose file the caller answers for.
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

/// What one package brought.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The paths it owns, in its order, relative; the root directory is the empty path.
    pub paths: Vec<Vec<u8>>,
    /// MD5 digests of its regular files, if it ships none itself (dpkg then writes `md5sums` itself).
    pub digests: Vec<(String, Vec<u8>)>,
    /// Another package has replaced files of it.
    pub replaced: bool,
    /// A later package has replaced all of it: dpkg forgets such a package, as if it had never been there.
    pub disappeared: bool,
}

/// What all packages brought.
#[derive(Debug, Default)]
pub struct UnpackReport {
    /// One for each package, in the order of the packages.
    pub packages: Vec<Unpacked>,
    /// Device nodes that this user may not make; they have to be added to the file tree.
    pub devices: Vec<Device>,
}

/// Unpacks all packages into `root`, an empty directory, with `threads` threads. The result is that of unpacking one
/// after the other in the given order, except that base-files comes first: it brings the links of the merged /usr,
/// through which others may ship files.
pub fn unpack(
    packages: &[Package],
    root: &std::path::Path,
    threads: usize,
    progress: &dyn Progress,
) -> Result<UnpackReport, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    // What is there would be lost if the first attempt is given up.
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

/// Whether dpkg lets a package disappear when it unpacks a later one that replaces it: everything that is left of it
/// belongs to the other too, and no package depends on it. One with a script that would have to run then stays, with an
/// empty list of files.
fn disappears(packages: &[Package], report: &UnpackReport, order: usize) -> bool {
    let (Some(package), Some(left)) = (packages.get(order), report.packages.get(order)) else { return false };
    if !left.replaced || package.deb.file("postrm").is_some() {
        return false;
    }
    let later = packages.iter().zip(&report.packages).skip(order + 1);
    let mut replacing = later.filter(|(other, _)| other.extent == Extent::Whole && other.replaces(&package.deb));
    let depends = |other: &Package| {
        let fields = ["Pre-Depends", "Depends"].map(|field| other.deb.control.relations(field));
        fields.iter().flat_map(|field| &field.0).flat_map(|item| &item.0).any(|one| one.name == package.deb.name())
    };
    replacing.any(|(_, other)| left.paths.iter().all(|path| path.is_empty() || other.paths.contains(path)))
        && !packages.iter().any(depends)
}

/// Fails if there is anything in a directory.
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
) -> Result<Option<UnpackReport>, Error> {
    let target = UnpackTarget::open(root)?;
    let claims = Claims::new(threads > 1);
    let total = packages.iter().map(|package| package.deb.data_size()).sum();
    let task = progress.task("unpacking packages", Some(total), Unit::Bytes);
    let attempt = Attempt { packages, target: &target, claims: &claims };
    let run = |order: usize| {
        let package = &packages[order];
        task.detail(package.deb.name());
        let result = attempt.unpack(order, None);
        task.advance(package.deb.data_size());
        (order, result)
    };

    let (base, mut rest): (Vec<usize>, Vec<usize>) =
        (0..packages.len()).partition(|order| packages[*order].deb.name() == "base-files");
    let mut results: Vec<_> = base.into_iter().map(run).collect();
    claims.seal();
    if threads > 1 {
        // The largest first: otherwise one thread would be busy with it after all others are done.
        rest.sort_by_key(|order| std::cmp::Reverse(packages[*order].deb.data_size()));
    }
    let others = parallel::map(rest, threads, |order| (!claims.is_order_sensitive()).then(|| run(order)));
    if claims.is_order_sensitive() {
        return Ok(None);
    }
    results.extend(others.into_iter().flatten());
    results.sort_unstable_by_key(|(order, _)| *order);
    finish(&attempt, packages, results.into_iter().map(|(_, result)| result)).map(Some)
}

/// Lets replacing packages overwrite, drops what was replaced from the lists, and sets the directories' metadata.
fn finish(
    attempt: &Attempt,
    packages: &[Package],
    results: impl Iterator<Item = Result<Unpacked, Error>>,
) -> Result<UnpackReport, Error> {
    let mut report = UnpackReport { packages: whole_or_damaged(results)?, devices: Vec::new() };
    if let Some(error) = attempt.claims.first_conflict(packages) {
        return Err(error);
    }
    let mut takeovers: BTreeMap<usize, HashSet<Vec<u8>>> = BTreeMap::new();
    for takeover in attempt.claims.takeovers() {
        takeovers.entry(takeover.winner).or_default().insert(takeover.winner_path);
        if let Some(loser) = report.packages.get_mut(takeover.loser) {
            loser.digests.retain(|(_, path)| *path != takeover.loser_path);
            loser.paths.retain(|path| *path != takeover.loser_path);
            loser.replaced = true;
        }
    }
    let gone: Vec<bool> = (0..packages.len()).map(|order| disappears(packages, &report, order)).collect();
    report.packages.iter_mut().zip(gone).for_each(|(unpacked, gone)| unpacked.disappeared = gone);
    for (winner, paths) in takeovers {
        attempt.unpack(winner, Some(&paths))?;
    }
    attempt.target.set_directories(&attempt.claims.directories())?;
    report.devices = attempt.target.take_devices();
    Ok(report)
}
