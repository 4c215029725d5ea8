//! Fetches the packages of new runs, and keeps the limit.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use protocol::api::Problem;
use protocol::{InstalledPackage, PackageList};
use rusqlite::Connection;
use tokio::time::{Instant, sleep, timeout};

use super::again::LaterLists;
use super::tables::Pending;
use super::{ArchiveFile, KeepOptions, tables};
use crate::background::run_in_background;
use crate::hub::Hub;
use crate::problem::io_problem;
use crate::store::bundles::BundleStore as _;

/// What directories begin with into which packages are fetched.
const WORK: &str = "kept-package-";
/// How often it is looked for new runs at most: reports of jobs come in swarms.
const OFTEN: Duration = Duration::from_secs(2);
/// How often all kept packages are looked through if there are no new ones: the archive changes.
const SELDOM: Duration = Duration::from_secs(60);
/// Most package lists of one round.
const LISTS: usize = 20;
/// After so many files that cannot be fetched a list waits for its next turn: the mirror may be away.
const FAILURES: usize = 3;

impl Hub {
    /// Has the packages of tested runs kept: by [`Hub::serve`] if called before it, otherwise when
    /// [`Hub::keep_packages_now`] is called. A second call changes nothing.
    pub fn keep_packages(&self, options: KeepOptions) {
        // A hub keeps those of one archive; the first one stays.
        let _ = self.shared.keep.set(options);
    }

    /// Keeps the packages of tested runs, until this is dropped.
    pub(crate) async fn run_keeping(&self, options: KeepOptions) {
        clean(self.shared.data_dir());
        let mut events = self.shared.core.watch();
        let mut looked_through: Option<Instant> = None;
        let mut later = LaterLists::default();
        loop {
            let is_due = looked_through.is_none_or(|time| time.elapsed() >= SELDOM);
            let kept = self.keep_of_lists(&options, &mut later).await;
            if is_due || !matches!(kept, Ok(0)) {
                // Also if the disk is full: perhaps of what is kept.
                self.keep_the_limit_or_tell(&options).await;
                looked_through = Some(Instant::now());
            }
            if let Err(problem) = kept {
                tracing::warn!(%problem, "packages of tested runs are not kept yet; it is tried again in a minute");
            }
            sleep(OFTEN).await;
            // Whatever it is, also that there were too many to hear of all.
            let _ = timeout(SELDOM, events.recv()).await;
        }
    }

    /// Keeps the packages of the runs until now. [`Hub::serve`] does this when a job has ended.
    pub async fn keep_packages_now(&self) {
        if let Some(options) = self.shared.keep.get().cloned() {
            if let Err(problem) = self.keep_of_lists(&options, &mut LaterLists::default()).await {
                tracing::warn!(%problem, "packages of tested runs are not kept yet");
            }
            self.keep_the_limit_or_tell(&options).await;
        }
    }

    /// Keeps the packages of lists that were not looked at, or are due again. Returns how many lists there were.
    async fn keep_of_lists(&self, options: &KeepOptions, later: &mut LaterLists) -> Result<usize, Problem> {
        let shared = &self.shared;
        let mut count = 0;
        loop {
            let mut pending = shared.readers.run(tables::pending).await?;
            pending.retain(|one| one.is_used || later.is_due(one.list, Instant::now()));
            let is_last = pending.len() <= LISTS;
            for Pending { list, is_used } in pending.into_iter().take(LISTS) {
                let is_due = later.is_due(list, Instant::now());
                let is_whole = match shared.readers.run(move |db| tables::list(db, list)).await? {
                    Ok(packages) if !is_due => {
                        // What is missing waits; what is kept was used all the same.
                        self.note_use(list, packages).await?;
                        continue;
                    }
                    Ok(packages) => match self.keep_of_list(options, packages, is_used).await? {
                        Some(is_whole) => is_whole,
                        // Before the archive was read it is not known what it has.
                        None => return Ok(count),
                    },
                    Err(error) => {
                        tracing::warn!(%error, list, "the packages that a run had are not kept");
                        false
                    }
                };
                // Also on disk: a hub that is started again looks at it again.
                let mark = move |db: &Connection| {
                    if is_used {
                        tables::forget_again(db, list)?;
                    }
                    tables::mark_list(db, list, is_whole)
                };
                shared.core.write(move |tx| Ok(mark(tx.db)?)).await?;
                if is_whole {
                    later.done(list);
                } else {
                    let pause = later.put_off(list, Instant::now()).as_secs();
                    tracing::info!(list, "packages that are not kept are tried again in {pause} s");
                }
                count += 1;
            }
            if is_last {
                return Ok(count);
            }
            self.keep_the_limit_or_tell(options).await;
        }
    }

    /// Notes that a run has had a list that is put off.
    async fn note_use(&self, list: i64, packages: PackageList) -> Result<(), Problem> {
        let note = move |db: &Connection, now: i64| {
            tables::wanted(db, &packages, Some(now))?;
            tables::forget_again(db, list)?;
            tables::mark_list(db, list, false)
        };
        self.shared.core.write(move |tx| Ok(note(tx.db, tx.now)?)).await
    }

    /// Keeps the packages of a list, as far as the archive has them. Returns whether that went well; `None` if no archive was
    /// read yet.
    async fn keep_of_list(
        &self,
        options: &KeepOptions,
        packages: PackageList,
        is_used: bool,
    ) -> Result<Option<bool>, Problem> {
        let shared = &self.shared;
        let missing = shared.core.write(move |tx| {
            let used = if is_used { Some(tx.now) } else { None };
            Ok(tables::wanted(tx.db, &packages, used)?)
        });
        let Some(found) = options.files.find(&missing.await?) else { return Ok(None) };
        let mut failed = 0;
        for file in found.into_iter().filter(|file| file.size <= options.limit) {
            shared.check_room_for(file.size)?;
            if !self.keep(options, file).await? {
                failed += 1;
            }
            if failed >= FAILURES {
                break;
            }
        }
        Ok(Some(failed == 0))
    }

    /// Fetches a file, and keeps it. Returns false if it cannot be fetched now.
    async fn keep(&self, options: &KeepOptions, file: ArchiveFile) -> Result<bool, Problem> {
        let shared = &self.shared;
        let work = tempfile::Builder::new().prefix(WORK).tempdir_in(shared.data_dir());
        let work = work.map_err(|error| io_problem(&error))?;
        let (files, wanted, into) = (options.files.clone(), file.clone(), work.path().to_owned());
        let fetched = match run_in_background("keep", move || files.fetch(&wanted, &into)).await? {
            Ok(path) => path,
            Err(error) => {
                let error = error.in_one_line();
                tracing::warn!(error, package = file.package.name, version = file.package.version, "is not kept");
                return Ok(false);
            }
        };
        // Reads the whole file, so not where all requests wait for it.
        let (store, sha256) = (shared.package_files.clone(), file.sha256);
        let adopted = run_in_background("keep", move || store.adopt(&fetched, &sha256)).await?;
        if !adopted.map_err(|error| io_problem(&error))? {
            tracing::warn!(package = file.package.name, "a file with another digest was fetched, and is not kept");
            return Ok(false);
        }
        shared.core.write(move |tx| Ok(tables::add(tx.db, &file, tx.now)?)).await?;
        Ok(true)
    }

    /// Removes packages beyond the limit, and finds out which the archive has no more.
    async fn keep_the_limit_or_tell(&self, options: &KeepOptions) {
        if let Err(problem) = self.keep_the_limit(options).await {
            tracing::warn!(%problem, "kept packages could not be looked through");
        }
    }

    /// Removes packages beyond the limit, and finds out which the archive has no more.
    async fn keep_the_limit(&self, options: &KeepOptions) -> Result<(), Problem> {
        let shared = &self.shared;
        let mut kept = shared.readers.run(tables::all).await?;
        let packages: Vec<InstalledPackage> = kept.iter().map(|kept| kept.package.clone()).collect();
        if let Some(found) = options.files.find(&packages) {
            let there: BTreeSet<_> = found.into_iter().map(|file| file.package).collect();
            let is_gone = |package: InstalledPackage| {
                let gone = !there.contains(&package);
                (package, gone)
            };
            let gone: Vec<_> = packages.into_iter().map(is_gone).collect();
            shared.core.write(move |tx| Ok(tables::are_gone(tx.db, &gone)?)).await?;
        }
        let mut sum = kept.iter().map(|kept| kept.size).fold(0, u64::saturating_add);
        // What is kept never takes the room that uploads need.
        let most = options.limit.min(sum.saturating_sub(shared.missing_room()?));
        if sum <= most {
            return Ok(());
        }
        // Stable: within both kinds the one that was not used for the longest time goes first.
        let needed = shared.readers.run(tables::needed).await?;
        kept.sort_by_key(|kept| needed.contains(&kept.package));
        let mut doomed = Vec::new();
        for kept in kept {
            if sum <= most {
                break;
            }
            sum = sum.saturating_sub(kept.size);
            doomed.push(kept);
        }
        let count = doomed.len();
        shared.core.write(move |tx| tx.remove_kept(&doomed)).await?;
        tracing::info!(count, "kept packages beyond the limit were removed");
        Ok(())
    }
}

/// Removes what an earlier process of this hub has left that was killed.
fn clean(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK)) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, "{} could not be removed", entry.path().display());
        }
    }
}
