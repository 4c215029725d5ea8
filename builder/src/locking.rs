//! The lock of a recipe: finding it, and making a new one when it no longer fits.

mod elsewhere;

use std::path::PathBuf;

use advice::Advice;
use anyhow::{Result, bail};
use store::Fetcher;

use crate::cmdline::Source;
use crate::context::Context;
use crate::lock::{self, Change, Lock};
use crate::mirror::Mirror;
use crate::package_sources::PackageSources;
use crate::recipe::{self, Recipe};
use crate::{archive, resolve};

/// Origin of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The copy embedded in the program.
    Shipped,
}

/// The existing lock, if any, and where a new one would be written.
pub struct Found {
    /// The lock and where it was read from.
    pub lock: Option<(Lock, Origin)>,
    /// Path for writing.
    pub path: PathBuf,
}

/// Looks for a recipe's lock: `--lock`, beside the recipe's file, `NAME.lock` here, inside the program.
pub fn find(recipe: &Recipe, source: &Source) -> Result<Found> {
    let path = path(recipe, source);
    if let Some(lock) = Lock::read(&path)? {
        return Ok(Found { lock: Some((lock, Origin::File(path.clone()))), path });
    }
    let shipped =
        if recipe.path.is_none() && source.lock.is_none() { recipe::shipped_lock(&recipe.name) } else { None };
    let lock = shipped
        .map(|text| Lock::parse(text, &format!("{} (shipped)", recipe.name)).map(|lock| (lock, Origin::Shipped)))
        .transpose()?;
    Ok(Found { lock, path })
}

/// Path of a recipe's lock: `--lock`, or else beside the recipe's file, or in this directory.
pub fn path(recipe: &Recipe, source: &Source) -> PathBuf {
    let beside = || recipe.path.as_ref().map(|path| path.with_extension("lock"));
    source.lock.clone().or_else(beside).unwrap_or_else(|| PathBuf::from(format!("{}.lock", recipe.name)))
}

/// When a new lock is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relock {
    /// If there is none, or if the recipe has changed.
    IfNeeded,
    /// Always: with the newest packages of the archive.
    Always,
    /// Never (`--locked`): where one would be needed is an error.
    Never,
}

/// Result of [`current`].
pub struct Outcome {
    /// The lock to use.
    pub lock: Lock,
    /// Changes against the previous lock; `None` if no new lock was made.
    pub changes: Option<Vec<Change>>,
}

/// The lock for a recipe: the existing one, or a new one from the archive, which is not written here.
pub fn current(
    context: &Context,
    recipe: &Recipe,
    sources: &PackageSources,
    found: &Found,
    fetcher: &Fetcher,
    relock: Relock,
) -> Result<Outcome> {
    let request = resolve::request_digest(recipe, sources);
    match &found.lock {
        Some((lock, _)) if lock.request == request && relock != Relock::Always => {
            return Ok(Outcome { lock: lock.clone(), changes: None });
        }
        Some(_) if relock == Relock::Never => bail!(Advice::new(
            format!(
                "the recipe {} asks for something else than its lock {} was made for",
                recipe.name,
                found.path.display()
            ),
            format!("run `rocbed lock {}` and look at what changes", recipe.asked())
        )),
        None if relock == Relock::Never => bail!(Advice::new(
            format!("the recipe {} has no lock", recipe.name),
            format!("`rocbed lock {}` makes {}", recipe.asked(), found.path.display())
        )),
        Some((lock, _)) if lock.request != request => context.reporter.say("the recipe has changed: locking it anew"),
        _ => {}
    }
    let archive = archive_of(context, recipe, sources, fetcher)?;
    let lock = resolve::lock(recipe, sources, &archive)?;
    if let Some((old, _)) = &found.lock
        && let Some(warning) = goes_back(old, &lock, &sources.mirror)
    {
        context.reporter.warn_of(&warning.into());
    }
    for warning in elsewhere::warnings(recipe, sources, &archive.universe, &lock) {
        context.reporter.warn_of(&warning.into());
    }
    let before = found.lock.as_ref().map(|(lock, _)| lock::versions(lock)).unwrap_or_default();
    let changes = lock::diff(&before, &lock::versions(&lock));
    Ok(Outcome { lock, changes: Some(changes) })
}

/// A recipe's archives as they are now, with what may come from each.
pub fn archive_of(
    context: &Context,
    recipe: &Recipe,
    sources: &PackageSources,
    fetcher: &Fetcher,
) -> Result<archive::Archive> {
    context.reporter.detail(&sources.told());
    let mut archive = archive::open_all(sources.wanted(), sources.local_index(), fetcher, &context.reporter)?;
    resolve::apply_policy(recipe, &mut archive)?;
    Ok(archive)
}

/// A warning if the mirror is older than the archive that the old lock was made from: a signature proves who made an
/// archive's state, not that it is the latest.
fn goes_back(old: &Lock, new: &Lock, mirror: &Mirror) -> Option<Advice> {
    let day = |date| jiff::Timestamp::from_second(date).unwrap_or_default();
    (old.archive.suite == new.archive.suite && new.archive.date < old.archive.date).then(|| {
        Advice::new(
            format!(
                "{mirror} has {} as it was at {}, and the lock was made from a later one, of {}: packages may go back",
                new.archive.suite,
                day(new.archive.date),
                day(old.archive.date)
            ),
            "look at what changes; another mirror (--mirror) may be newer",
        )
    })
}
