//! The archive that `--watch` names: what the hub is told of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use advice::Advice;
use anyhow::{Context as _, Result};
use hub::{ArchiveState, ReadArchive, WatchOptions, WatchedPackage};
use jiff::Timestamp;
use progress::Silent;
use sha256::Digest;
use store::{FetchOptions, Fetcher, PrunePolicy, Store};

use crate::cmdline::{Source, Watch};
use crate::context::{self, Context};
use crate::mirror::Mirror;
use crate::recipe::Recipe;
use crate::worklist::{Indexes, changed, need, select};
use crate::{archive, mirror, recipe};

/// Indexes that were not used for so long are removed. Those of one state are needed until the next one is read.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

/// Reads the options; `None` if no archive is to be watched. Nothing is fetched.
pub(super) fn options(context: &Context, wanted: &Watch, data: &Path) -> Result<Option<WatchOptions>> {
    let Some(name) = &wanted.watch else { return Ok(None) };
    let recipe = recipe::load(name).context("reading --watch")?;
    let source = Source { mirror: wanted.watch_mirror.clone(), ignore_valid_until: false, offline: false, lock: None };
    let mirror = context::mirror(&recipe, &source);
    context.reporter.detail(&format!("watches {} at {mirror}", recipe.archive.suite));
    let archive = Arc::new(Watched { recipe, mirror, store: data.join("archive") });
    let every = wanted.watch_every.0.max(Duration::from_secs(1));
    Ok(Some(WatchOptions { archive, every, budget: wanted.watch_budget, priority: wanted.watch_priority }))
}

/// An archive that is read again and again.
struct Watched {
    recipe: Recipe,
    mirror: Mirror,
    /// Where its indexes are kept.
    store: PathBuf,
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
        let date = Timestamp::from_second(archive.date).context("reading the date of the Release file")?;
        let state = ArchiveState { suite: wish.suite.clone(), date, release: archive.release, packages };
        // What is not removed now is removed another time.
        let _ = fetcher.store().prune(&PrunePolicy { unused_for: Some(KEPT), ..PrunePolicy::default() });
        Ok(Some(state))
    }
}
