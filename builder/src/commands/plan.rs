//! `rocbed plan`: shows what a build would do.

use std::path::PathBuf;

use anyhow::Result;
use safetext::without_password;
use serde::Serialize;

use super::{bytes, print, print_json};
use crate::cmdline::PlanArgs;
use crate::context::Context;
use crate::image::root;
use crate::lock::{self, Change, LockedExtraArchive, LockedPackage};
use crate::locking::{self, Relock};
use crate::package_sources::PackageSources;
use crate::wording::counted;
use crate::{recipe, resolve, times, why};

/// Most packages of an extra archive that are shown.
const SHOWN: usize = 8;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    recipe: &'a str,
    /// URL without a password.
    mirror: String,
    /// Origin of the mirror's address, for people.
    mirror_from: String,
    lock: &'a PathBuf,
    archive_date: i64,
    /// Archives beside it.
    extra_archives: &'a [LockedExtraArchive],
    /// Changes that would be made to the lock; empty if it stays.
    changes: Vec<Change>,
    packages: Vec<Entry<'a>>,
    download_bytes: u64,
    installed_bytes: u64,
    root_directory_cached: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry<'a> {
    #[serde(flatten)]
    package: &'a LockedPackage,
    /// Path of the .deb if it is already stored.
    cached: Option<PathBuf>,
}

pub fn run(context: &Context, options: &PlanArgs) -> Result<()> {
    // As a build would: cached root directories belong to the users of a user namespace. If this process cannot enter
    // one, the plan is still useful, and the build will report the problem.
    if let Err(error) = rootfs::sandbox::become_root() {
        context.reporter.detail(&format!("planning without a user namespace: {error}"));
    }
    let recipe = recipe::load(&options.recipe)?;
    let fetcher = context.fetcher(&options.source)?;
    let sources = PackageSources::of(&recipe, &options.source)?;
    if let Some(package) = &options.why {
        let archive = locking::archive_of(context, &recipe, &sources, &fetcher)?;
        let solution = resolve::solution(&recipe, &archive.universe)?;
        let why = why::why(&archive.universe, &solution, package, &recipe.archive.suite)?;
        return if options.json { print_json(&why) } else { print(&why.text()) };
    }
    let found = locking::find(&recipe, &options.source)?;
    // The command line refuses both at once.
    let relock = match (options.update, options.locked) {
        (true, _) => Relock::Always,
        (false, true) => Relock::Never,
        (false, false) => Relock::IfNeeded,
    };
    let outcome = locking::current(context, &recipe, &sources, &found, &fetcher, relock)?;
    let store = fetcher.store();
    let mut packages = Vec::new();
    let mut download_bytes = 0;
    for package in &outcome.lock.packages {
        let cached = store.has(&package.sha256, Some(package.size))?.then(|| store.path(&package.sha256));
        if cached.is_none() {
            download_bytes += package.size;
        }
        packages.push(Entry { package, cached });
    }
    let mirror = &sources.mirror;
    let report = Report {
        recipe: &recipe.name,
        mirror: without_password(&mirror.url),
        mirror_from: mirror.origin.to_string(),
        lock: &found.path,
        archive_date: outcome.lock.archive.date,
        extra_archives: &outcome.lock.extra_archives,
        changes: outcome.changes.unwrap_or_default(),
        download_bytes,
        installed_bytes: outcome.lock.root_packages().map(|package| package.installed_size).sum(),
        root_directory_cached: store.tree(&root::key(&recipe, &outcome.lock))?.is_some(),
        packages,
    };
    if options.json {
        return print_json(&report);
    }
    print(&text(&report, found.lock.is_some()))
}

/// A line for each archive that packages come from besides the main one.
fn elsewhere(report: &Report) -> Vec<String> {
    let dates = report.extra_archives.iter().map(|extra| (extra.name.as_str(), Some(extra.date)));
    let mut lines = Vec::new();
    for (name, date) in dates.chain([(recipe::LOCAL, None)]) {
        let packages = report.packages.iter().map(|entry| entry.package);
        let from: Vec<_> = packages.filter(|package| package.archive.as_deref() == Some(name)).collect();
        if from.is_empty() && date.is_none() {
            continue;
        }
        let shown = from.iter().take(SHOWN).map(|package| format!("{} {}", package.name, package.version));
        let mut shown = shown.collect::<Vec<_>>().join(", ");
        if from.len() > SHOWN {
            shown.push_str(&format!(" and {} more (--json lists them)", from.len() - SHOWN));
        }
        let date = date.map(|date| format!(" of {}", times::date(date))).unwrap_or_default();
        let shown = if from.is_empty() { "nothing".to_owned() } else { shown };
        lines.push(format!("from       {name}{date}: {shown}"));
    }
    lines
}

fn text(report: &Report, had_lock: bool) -> String {
    let missing = report.packages.iter().filter(|entry| entry.cached.is_none()).count();
    let mut lines = vec![
        format!("recipe     {}", report.recipe),
        format!("mirror     {} ({})", report.mirror, report.mirror_from),
        format!("archive    of {}", times::date(report.archive_date)),
    ];
    lines.extend(elsewhere(report));
    let lock = match (had_lock, report.changes.is_empty()) {
        (false, _) => format!("{} would be made", report.lock.display()),
        (true, true) => "fits, stays".to_owned(),
        (true, false) => format!("{} would change: {}", report.lock.display(), lock::summary(&report.changes)),
    };
    lines.push(format!("lock       {lock}"));
    if had_lock {
        lines.extend(report.changes.iter().map(|change| format!("           {change}")));
    }
    lines.push(format!("packages   {}, {} installed", report.packages.len(), bytes(report.installed_bytes)));
    lines.push(match missing {
        0 => "download   nothing, all packages are in the cache".to_owned(),
        some => format!("download   {}, {}", counted(some, "package", "packages"), bytes(report.download_bytes)),
    });
    let root = if report.root_directory_cached { "from the cache" } else { "to be unpacked and configured" };
    lines.push(format!("root       {root}"));
    lines.join("\n") + "\n"
}
