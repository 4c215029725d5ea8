//! `rocbed diff`: compares two images or locks, package by package, and images file by file.

use std::path::Path;

use advice::Advice;
use anyhow::Result;
use serde::Serialize;

use super::{print, print_json};
use crate::cmdline::Diff;
use crate::context::Context;
use crate::inspect::{self, Difference};
use crate::lock::{self, Change, Lock, PackageState, Versions};

/// Number of paths of the root that are shown; with other packages there are thousands. JSON has all.
const SHOWN: usize = 40;

/// Exit status if something differs, as for diff(1).
const DIFFERS: u8 = 1;

/// A difference of any kind.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Package(Change),
    Content(Difference),
}

/// Prints what differs. The exit status is 0 if nothing does, and 1 if something does.
pub fn run(context: &Context, options: &Diff) -> Result<u8> {
    let (old, new) = (&options.old, &options.new);
    let both_locks = is_lock(old) && is_lock(new);
    let changes = match (versions(old, both_locks)?, versions(new, both_locks)?) {
        (Some(old), Some(new)) => Some(lock::diff(&old, &new)),
        (before, _) => {
            let without = if before.is_none() { old } else { new };
            context
                .reporter
                .say(&format!("packages are not compared: {} has neither root.img nor disk.img", without.display()));
            None
        }
    };
    let differences = if is_lock(old) || is_lock(new) { Vec::new() } else { inspect::compare(old, new)? };
    let differs = changes.as_ref().is_some_and(|changes| !changes.is_empty()) || !differences.is_empty();
    if options.json {
        let packages = changes.into_iter().flatten().map(Found::Package);
        print_json(&packages.chain(differences.into_iter().map(Found::Content)).collect::<Vec<_>>())?;
    } else {
        print(&text(changes.as_deref(), &differences))?;
    }
    Ok(if differs { DIFFERS } else { 0 })
}

fn text(changes: Option<&[Change]>, differences: &[Difference]) -> String {
    let is_path = |difference: &&Difference| {
        use Difference::{PathAdded, PathChanged, PathRemoved};
        matches!(difference, PathAdded { .. } | PathChanged { .. } | PathRemoved { .. })
    };
    let mut text: String = changes
        .unwrap_or_default()
        .iter()
        .map(|change| format!("{}\n", safetext::printable(&change.to_string())))
        .collect();
    let (paths, files): (Vec<_>, Vec<_>) = differences.iter().partition(is_path);
    text.extend(
        files
            .iter()
            .chain(paths.iter().take(SHOWN))
            .map(|difference| format!("{}\n", safetext::printable(&difference.to_string()))),
    );
    if let Some(more) = paths.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("… and {more} more paths of the root file system; --json lists them\n"));
    }
    if differences.is_empty() {
        text.push_str(&changes.map_or_else(|| "nothing changed".to_owned(), lock::summary));
    } else {
        let packages = changes.map_or_else(String::new, |changes| format!("packages: {}; ", lock::summary(changes)));
        text.push_str(&format!("{packages}files: {} differ; paths of the root: {} differ", files.len(), paths.len()));
    }
    text.push('\n');
    text
}

fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "lock")
}

/// The packages of a lock, or of an image according to dpkg in its root file system; `None` for an image without one.
/// Between two locks every package counts, also those that only the build uses.
fn versions(path: &Path, both_locks: bool) -> Result<Option<Versions>> {
    if is_lock(path) {
        let missing = || {
            Advice::new(
                format!("{} is not a lock: it is missing or empty", path.display()),
                "`rocbed lock RECIPE` makes the lock of a recipe; or give the path of one",
            )
        };
        let lock = Lock::read(path)?.ok_or_else(missing)?;
        return Ok(Some(if both_locks { lock::versions(&lock) } else { lock::root_versions(&lock) }));
    }
    let packages = inspect::root_packages(path)?;
    let state = |(name, version)| (name, PackageState::of_version(version));
    Ok(packages.map(|packages| packages.into_iter().map(state).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_paths_are_counted() {
        let path = |number| Difference::PathAdded { path: format!("/usr/share/{number}") };
        let paths: Vec<_> = (0..SHOWN + 2).map(path).collect();
        let shown = text(Some(&[]), &paths);
        assert_eq!(shown.lines().count(), SHOWN + 2);
        assert!(shown.contains("… and 2 more paths"), "{shown}");
        assert!(
            shown.ends_with("packages: nothing changed; files: 0 differ; paths of the root: 42 differ\n"),
            "{shown}"
        );
        assert_eq!(text(Some(&[]), &[]), "nothing changed\n");
    }
}
