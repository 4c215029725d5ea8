//! `rocbed plan`: shows what a build would do.

use std::path::PathBuf;

use anyhow::Result;
use safetext::without_password;
use serde::Serialize;

use super::{bytes, print, print_json};
use crate::cmdline::PlanArgs;
use crate::context::{Context, mirror};
use crate::image::root;
use crate::lock::{self, Change, LockedPackage};
use crate::locking::{self, Relock};
use crate::wording::counted;
use crate::{recipe, resolve, times, why};

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
    if let Some(package) = &options.why {
        let archive = locking::archive_of(context, &recipe, &options.source, &fetcher)?;
        let why = why::why(&archive.universe, &resolve::solution(&recipe, &archive.universe)?, package)?;
        return if options.json { print_json(&why) } else { print(&why.text()) };
    }
    let found = locking::find(&recipe, &options.source)?;
    // The command line refuses both at once.
    let relock = match (options.update, options.locked) {
        (true, _) => Relock::Always,
        (false, true) => Relock::Never,
        (false, false) => Relock::IfNeeded,
    };
    let outcome = locking::current(context, &recipe, &options.source, &found, &fetcher, relock)?;
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
    let mirror = mirror(&recipe, &options.source);
    let report = Report {
        recipe: &recipe.name,
        mirror: without_password(&mirror.url),
        mirror_from: mirror.origin.to_string(),
        lock: &found.path,
        archive_date: outcome.lock.archive.date,
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

fn text(report: &Report, had_lock: bool) -> String {
    let missing = report.packages.iter().filter(|entry| entry.cached.is_none()).count();
    let mut lines = vec![
        format!("recipe     {}", report.recipe),
        format!("mirror     {} ({})", report.mirror, report.mirror_from),
        format!("archive    of {}", times::date(report.archive_date)),
    ];
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
