//! `rocbed lock`: makes or renews a lock.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{print, print_json};
use crate::cmdline::LockArgs;
use crate::context::Context;
use crate::lock::{self, Change, LockError};
use crate::locking::{self, Found, Origin, Relock};
use crate::package_sources::PackageSources;
use crate::recipe;
use crate::times::date;
use crate::wording::counted;

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
    let found = match locking::find(&recipe, &options.source) {
        Err(error) if options.update && advice::find(&error).is_some_and(LockError::is_invalid) => {
            context.reporter.warn_of(&crate::error::report(&error));
            Found { lock: None, path: locking::path(&recipe, &options.source) }
        }
        found => found?,
    };
    let fetcher = context.fetcher(&options.source)?;
    let sources = PackageSources::of(&recipe, &options.source)?;
    let relock = if options.update { Relock::Always } else { Relock::IfNeeded };
    let outcome = locking::current(context, &recipe, &sources, &found, &fetcher, relock)?;
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
    let packages = outcome.lock.packages.len();
    let what = if first { counted(packages, "package", "packages") } else { lock::summary(&changes) };
    let verb = if write { "wrote" } else { "kept" };
    context.reporter.say(&format!(
        "{verb} {}: {what}, archive of {}",
        found.path.display(),
        date(outcome.lock.archive.date)
    ));
    Ok(())
}
