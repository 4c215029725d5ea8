//! The archive that `--watch` names: what the hub is told of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use advice::Advice;
use anyhow::{Context as _, Result};
use hub::{ArchiveState, KeepOptions, ReadArchive, WatchOptions, WatchedPackage};
use jiff::Timestamp;
use progress::Silent;
use sha256::Digest;
use store::{FetchOptions, Fetcher, PrunePolicy, Store};

use super::files::Files;
use crate::cmdline::{Source, Watch};
use crate::context::{self, Context};
use crate::mirror::Mirror;
use crate::recipe::Recipe;
use crate::worklist::{Indexes, changed, need, select};
use crate::{archive, mirror, recipe};

/// Indexes that were not used for so long are removed. Those of one state are needed until the next one is read.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

/// Reads the options; `None` if no archive is to be watched. Nothing is fetched.
pub(super) fn options(
    context: &Context,
    wanted: &Watch,
    data: &Path,
) -> Result<Option<(WatchOptions, Option<KeepOptions>)>> {
    let Some(name) = &wanted.watch else { return Ok(None) };
    let recipe = recipe::load(name).context("reading --watch")?;
    let source = Source { mirror: wanted.watch_mirror.clone(), ignore_valid_until: false, offline: false, lock: None };
    let mirror = context::mirror(&recipe, &source);
    context.reporter.detail(&format!("watches {} at {mirror}", recipe.archive.suite));
    let files =
        wanted.keep_packages.map(|limit| (limit, Arc::new(Files { mirror: mirror.clone(), known: Mutex::default() })));
    let keep = files.clone().map(|(limit, files)| KeepOptions { files, limit });
    let files = files.map(|(_, files)| files);
    let archive = Arc::new(Watched { recipe, mirror, store: data.join("archive"), files });
    let every = wanted.watch_every.0.max(Duration::from_secs(1));
    let watch = WatchOptions { archive, every, budget: wanted.watch_budget, priority: wanted.watch_priority };
    Ok(Some((watch, keep)))
}

/// An archive that is read again and again.
struct Watched {
    recipe: Recipe,
    mirror: Mirror,
    /// Where its indexes are kept.
    store: PathBuf,
    /// Its package files, if packages are kept.
    files: Option<Arc<Files>>,
}

impl ReadArchive for Watched {
    fn read(&self, known: Option<Digest>) -> Result<Option<ArchiveState>, Advice> {
        self.read_if_changed(known).map_err(|error| {
            let report = crate::error::report(&error);
            let what = std::iter::once(report.message).chain(report.causes).collect::<Vec<_>>().join(": ");
            Advice { what, help: report.help }
        })
    }
}

impl Watched {
    fn read_if_changed(&self, known: Option<Digest>) -> Result<Option<ArchiveState>> {
        let store = Store::open(&self.store).with_context(|| format!("opening {}", self.store.display()))?;
        let options = FetchOptions { proxies: mirror::proxies().proxies, ..FetchOptions::default() };
        let fetcher = Fetcher::new(store, options)?;
        let wish = &self.recipe.archive;
        let Some((archive, sources)) = archive::open_if_changed(wish, &self.mirror, &fetcher, &Silent, known)? else {
            return Ok(None);
        };
        let indexes = Indexes::new(&sources, &archive.universe);
        let packages = select(&indexes)
            .into_iter()
            .map(|candidate| WatchedPackage {
                need: need::of(&candidate.package, &indexes, &need::Trees::new()),
                tested_with: changed::tested_with(&indexes, &candidate),
                package: candidate.package,
                version: candidate.version,
            })
            .collect();
        if let Some(files) = &self.files {
            files.read(&archive.universe);
        }
        let date = Timestamp::from_second(archive.date).context("reading the date of the Release file")?;
        let state = ArchiveState { suite: wish.suite.clone(), date, release: archive.release, packages };
        // The archive was read all the same, and the next time this is tried again.
        if let Err(error) = fetcher.store().prune(&PrunePolicy { unused_for: Some(KEPT), ..PrunePolicy::default() }) {
            tracing::warn!(%error, "old indexes of the archive that is watched are not removed, and take room");
        }
        Ok(Some(state))
    }
}
