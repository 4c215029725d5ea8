//! `rocbed lock`, and finding the lock that all other commands use.

use std::path::PathBuf;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use store::Fetcher;

use super::{print, print_json};
use crate::cmdline::{LockArgs, Source};
use crate::context::{Context, mirror};
use crate::lock::{self, Change, Lock, LockError};
use crate::mirror::Mirror;
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

fn path(recipe: &Recipe, source: &Source) -> PathBuf {
    let beside = || recipe.path.as_ref().map(|path| path.with_extension("lock"));
    source.lock.clone().or_else(beside).unwrap_or_else(|| PathBuf::from(format!("{}.lock", recipe.name)))
}

/// Result of [`current`].
pub struct Outcome {
    /// The lock to use.
    pub lock: Lock,
    /// Changes against the previous lock; `None` if no new lock was made.
    pub changes: Option<Vec<Change>>,
}

/// The lock for a recipe: the existing one, if it fits the recipe and `update` is not set; else a new one from the
/// archive, which is not written here.
pub fn current(
    context: &Context,
    recipe: &Recipe,
    source: &Source,
    found: &Found,
    fetcher: &Fetcher,
    update: bool,
    locked: bool,
) -> Result<Outcome> {
    let request = resolve::request_digest(recipe);
    match &found.lock {
        Some((lock, _)) if lock.request == request && !update => {
            return Ok(Outcome { lock: lock.clone(), changes: None });
        }
        Some(_) if locked => bail!(Advice::new(
            format!(
                "the recipe {} asks for something else than its lock {} was made for",
                recipe.name,
                found.path.display()
            ),
            format!("run `rocbed lock {}` and look at what changes", recipe.asked())
        )),
        None if locked => bail!(Advice::new(
            format!("the recipe {} has no lock", recipe.name),
            format!("`rocbed lock {}` makes {}", recipe.asked(), found.path.display())
        )),
        Some((lock, _)) if lock.request != request => context.reporter.say("the recipe has changed: locking it anew"),
        _ => {}
    }
    let mirror = mirror(recipe, source);
    let archive = archive_of(context, recipe, source, fetcher)?;
    let lock = resolve::lock(recipe, &archive)?;
    if let Some((old, _)) = &found.lock
        && let Some(warning) = goes_back(old, &lock, &mirror)
    {
        context.reporter.warn_of(&warning.into());
    }
    let before = found.lock.as_ref().map(|(lock, _)| lock::versions(lock)).unwrap_or_default();
    let changes = lock::diff(&before, &lock::versions(&lock));
    Ok(Outcome { lock, changes: Some(changes) })
}

/// A recipe's archive as it is now.
pub fn archive_of(context: &Context, recipe: &Recipe, source: &Source, fetcher: &Fetcher) -> Result<archive::Archive> {
    let mut wish = recipe.archive.clone();
    wish.check_valid_until &= !source.ignore_valid_until;
    let mirror = mirror(recipe, source);
    context.reporter.detail(&format!("mirror: {mirror}"));
    archive::open(&wish, &mirror, fetcher, &context.reporter)
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

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    lock: &'a PathBuf,
    written: bool,
    archive_date: i64,
    packages: usize,
    changes: &'a [Change],
}

pub fn run(context: &Context, options: &LockArgs) -> Result<()> {
    let recipe = recipe::load(&options.recipe)?;
    let found = match find(&recipe, &options.source) {
        Err(error) if options.update && advice::find(&error).is_some_and(LockError::is_invalid) => {
            context.reporter.warn_of(&crate::error::report(&error));
            Found { lock: None, path: path(&recipe, &options.source) }
        }
        found => found?,
    };
    let fetcher = context.fetcher(&options.source)?;
    let outcome = current(context, &recipe, &options.source, &found, &fetcher, options.update, false)?;
    let on_disk = matches!(&found.lock, Some((_, Origin::File(_))));
    let changed = found.lock.as_ref().is_none_or(|(lock, _)| *lock != outcome.lock);
    let write = changed || !on_disk;
    if write {
        outcome.lock.write(&found.path).context("keeping the new lock")?;
    }
    let changes = outcome.changes.unwrap_or_default();
    if options.json {
        return print_json(&Report {
            lock: &found.path,
            written: write,
            archive_date: outcome.lock.archive.date,
            packages: outcome.lock.packages.len(),
            changes: &changes,
        });
    }
    let first = found.lock.is_none();
    if !first {
        print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>())?;
    }
    let what = if first { format!("{} packages", outcome.lock.packages.len()) } else { lock::summary(&changes) };
    let verb = if write { "wrote" } else { "kept" };
    context.reporter.say(&format!(
        "{verb} {}: {what}, archive of {}",
        found.path.display(),
        date(outcome.lock.archive.date)
    ));
    Ok(())
}

/// Formats a time for people, in UTC.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
