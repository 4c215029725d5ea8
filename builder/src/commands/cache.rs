//! `rocbed cache`: what is kept, and tidying up.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use progress::Progress as _;
use serde::Serialize;
use store::{Entry, Kind, PrunePolicy};

use super::{bytes, print, print_json};
use crate::cmdline::CacheCommand;
use crate::context::Context;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    kind: &'static str,
    label: String,
    bytes: u64,
    /// Seconds since it was last used.
    idle: u64,
    digest: String,
}

pub fn run(context: &Context, command: &CacheCommand) -> Result<()> {
    match command {
        CacheCommand::Path => print(&format!("{}\n", context.cache_directory()?.display())),
        CacheCommand::List { json } => list(context, *json),
        CacheCommand::Verify { remove } => verify(context, *remove),
        CacheCommand::Prune { older_than, max_size, dry_run, json } => {
            // Cached root directories hold files of other users.
            rootfs::sandbox::become_root()?;
            let policy = PrunePolicy {
                unused_for: Some(Duration::from_secs(older_than.saturating_mul(86_400))),
                max_bytes: *max_size,
                dry_run: *dry_run,
            };
            let report = context.store()?.prune(&policy)?;
            let removed: Vec<Kept> = report.removed.into_iter().map(kept).collect();
            if *json {
                return print_json(&removed);
            }
            print(&removed.iter().map(line).collect::<String>())?;
            let verb = if *dry_run { "would remove" } else { "removed" };
            context.reporter.say(&format!(
                "{verb} {} entries, {}; {} entries, {} stay",
                removed.len(),
                bytes(report.freed_bytes),
                report.kept,
                bytes(report.kept_bytes)
            ));
            Ok(())
        }
    }
}

fn verify(context: &Context, remove: bool) -> Result<()> {
    let report = context.store()?.verify(remove, &context.reporter)?;
    for broken in &report.broken {
        context.reporter.warn(&format!("damaged: {}", broken.entry.path.display()));
    }
    match (report.broken.len(), remove) {
        (0, _) => context.reporter.say("every file is what its digest says"),
        (count, true) => {
            context.reporter.say(&format!("removed {count} damaged files; the next build fetches them anew"))
        }
        (count, false) => anyhow::bail!(
            "{count} damaged files\n  help: `rocbed cache verify --remove` removes them, to be fetched anew"
        ),
    }
    Ok(())
}

fn kept(entry: Entry) -> Kept {
    Kept {
        kind: match entry.kind {
            Kind::File => "file",
            Kind::Tree => "root directory",
            Kind::Partial => "interrupted",
        },
        label: entry.label,
        bytes: entry.size,
        idle: SystemTime::now().duration_since(entry.last_use).map_or(0, |idle| idle.as_secs()),
        digest: entry.digest.to_string(),
    }
}

fn line(entry: &Kept) -> String {
    let days = entry.idle / 86_400;
    format!("{:<15} {:>12}  {days:>4} days idle  {}\n", entry.kind, bytes(entry.bytes), entry.label)
}

fn list(context: &Context, json: bool) -> Result<()> {
    let mut entries: Vec<Kept> = context.store()?.list()?.into_iter().map(kept).collect();
    entries.sort_by(|a, b| (a.kind, &a.label).cmp(&(b.kind, &b.label)));
    if json {
        return print_json(&entries);
    }
    let total = bytes(entries.iter().map(|entry| entry.bytes).sum());
    print(&(entries.iter().map(line).collect::<String>() + &format!("{} entries, {total}\n", entries.len())))
}
