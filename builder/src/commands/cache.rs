//! `rocbed cache`: lists, verifies and prunes the cache.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use advice::Advice;
use anyhow::Result;
use progress::Progress as _;
use serde::Serialize;
use sha256::Digest;
use store::{PrunePolicy, StoreEntry, StoreEntryKind, VerifyReport};

use super::{bytes, print, print_json};
use crate::cmdline::CacheCommand;
use crate::context::Context;
use crate::wording::counted;

/// Kinds of entries, with their heading and JSON key, in the order in which they are shown.
const KINDS: [(StoreEntryKind, &str, &str); 4] = [
    (StoreEntryKind::Tree, "root directory", "root directories"),
    (StoreEntryKind::Meta, "result", "results: initramfs, module selections and such"),
    (StoreEntryKind::File, "file", "packages and indexes"),
    (StoreEntryKind::Partial, "interrupted", "interrupted downloads"),
];

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    kind: &'static str,
    label: String,
    bytes: u64,
    /// Seconds since the last use.
    idle: u64,
    digest: Digest,
}

pub fn run(context: &Context, command: &CacheCommand) -> Result<()> {
    match command {
        CacheCommand::Path => print(&format!("{}\n", context.cache_directory()?.display())),
        CacheCommand::List { json: true, .. } => print_json(&entries(context)?),
        CacheCommand::List { files, json: false } => list(&entries(context)?, *files),
        CacheCommand::Verify { remove } => verify(context, *remove),
        CacheCommand::Prune { older_than, max_size, all, dry_run, json } => {
            // Cached root directories hold files of other users.
            rootfs::sandbox::become_root()?;
            let unused_for = if *all { Duration::ZERO } else { Duration::from_secs(older_than.saturating_mul(86_400)) };
            let max_bytes = Some(if *all { 0 } else { *max_size });
            let policy = PrunePolicy { unused_for: Some(unused_for), max_bytes, dry_run: *dry_run };
            let report = context.store()?.prune(&policy)?;
            for entry in &report.in_use {
                context.reporter.say(&format!("in use, stays: {}", entry.label));
            }
            let removed: Vec<Kept> = report.removed.into_iter().map(kept).collect();
            if *json {
                return print_json(&removed);
            }
            print(&removed.iter().map(line).collect::<String>())?;
            let verb = if *dry_run { "would remove" } else { "removed" };
            context.reporter.say(&format!(
                "{verb} {}, {}; {}, {} stay",
                counted(removed.len(), "entry", "entries"),
                bytes(report.freed_bytes),
                counted(report.kept, "entry", "entries"),
                bytes(report.kept_bytes)
            ));
            Ok(())
        }
    }
}

fn verify(context: &Context, remove: bool) -> Result<()> {
    // Cached root directories hold files of other users. Without any, becoming their root is not needed.
    let trees = context.cache_directory()?.join("trees");
    if std::fs::read_dir(&trees).is_ok_and(|mut entries| entries.next().is_some()) {
        rootfs::sandbox::become_root()?;
    }
    let report = context.store()?.verify(remove, &context.reporter)?;
    for broken in &report.broken {
        context.reporter.warn(&format!("damaged: {}", broken.entry.path.display()));
    }
    for unknown in &report.unknown {
        context.reporter.warn(&format!(
            "stored without a digest, or by somebody else, and not checked: {}",
            unknown.path.display()
        ));
    }
    let VerifyReport { files, trees, values, bytes: size, .. } = &report;
    let files = counted(*files, "file", "files");
    let trees = counted(*trees, "root directory", "root directories");
    let values = counted(*values, "result", "results");
    context.reporter.say(&format!("read {files} ({}), {trees} and {values}", bytes(*size)));
    match (report.broken.len(), remove) {
        (0, _) => context.reporter.say("all of it is what its digest says"),
        (count, true) => {
            context
                .reporter
                .say(&format!("removed {count} damaged entries; the next build fetches or makes them anew"));
        }
        (count, false) => anyhow::bail!(Advice::new(
            format!("{count} damaged entries"),
            "`rocbed cache verify --remove` removes them, to be fetched or made anew"
        )),
    }
    Ok(())
}

fn kept(entry: StoreEntry) -> Kept {
    Kept {
        kind: KINDS.iter().find(|(kind, _, _)| *kind == entry.kind).map_or("other", |(_, name, _)| name),
        label: entry.label,
        bytes: entry.size,
        idle: SystemTime::now().duration_since(entry.last_use).map_or(0, |idle| idle.as_secs()),
        digest: entry.digest,
    }
}

fn line(entry: &Kept) -> String {
    format!("  {:>12}  {:>9}  {}\n", bytes(entry.bytes), idle(entry.idle), entry.label)
}

/// Time since the last use, as text.
fn idle(seconds: u64) -> String {
    match seconds / 86_400 {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days"),
    }
}

/// What is kept, sorted by kind and name.
fn entries(context: &Context) -> Result<Vec<Kept>> {
    let mut entries: Vec<Kept> = context.store()?.list()?.into_iter().map(kept).collect();
    entries.sort_by(|a, b| (a.kind, &a.label, a.idle).cmp(&(b.kind, &b.label, b.idle)));
    Ok(entries)
}

/// The list for people, with every package and index in it if `files` are wanted.
fn list(entries: &[Kept], files: bool) -> Result<()> {
    let sum = |entries: &[&Kept]| bytes(entries.iter().map(|entry| entry.bytes).sum());
    let mut text = String::new();
    for (kind, name, heading) in KINDS {
        let of_kind: Vec<&Kept> = entries.iter().filter(|entry| entry.kind == name).collect();
        let Some(last) = of_kind.iter().map(|entry| entry.idle).min() else { continue };
        writeln!(text, "{heading}: {}, {}, last used: {}", of_kind.len(), sum(&of_kind), idle(last))?;
        if files || kind != StoreEntryKind::File {
            text.extend(of_kind.into_iter().map(line));
        }
    }
    let all: Vec<&Kept> = entries.iter().collect();
    writeln!(text, "in all: {}, {}", counted(all.len(), "entry", "entries"), sum(&all))?;
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_told_in_days() {
        assert_eq!((idle(5), idle(90_000), idle(86_400 * 12)), ("today".into(), "yesterday".into(), "12 days".into()));
    }
}
