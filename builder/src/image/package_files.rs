//! [`PackageFiles`]: single files of packages that are not installed in the root.

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use store::Fetcher;

use super::{memo, root};
use crate::lock::{Lock, LockedPackage};
use crate::package_sources::PackageSources;
use crate::report::Reporter;

/// Reads single files of packages that are not installed in the root.
pub(super) struct PackageFiles<'a> {
    pub(super) lock: &'a Lock,
    pub(super) fetcher: &'a Fetcher,
    pub(super) sources: &'a PackageSources,
    pub(super) reporter: &'a Reporter,
}

impl PackageFiles<'_> {
    /// The file at `path` of a locked package. It is kept in the cache under the name `kept`: finding a file in a
    /// package takes a tenth of a second.
    pub(super) fn read(&self, name: &str, path: &str, kept: &str) -> Result<Vec<u8>> {
        let Self { lock, fetcher, sources, reporter } = *self;
        let store = fetcher.store();
        let package = lock
            .package(name)
            .with_context(|| format!("{name} is not in the lock"))
            .help("run `rocbed lock --update`")?;
        let question = package.sha256.to_string();
        if let Some(bytes) = memo::recall(store, kept, &question)? {
            return Ok(bytes);
        }
        let stored = |package: &LockedPackage| root::is_stored(fetcher, package);
        let wanted = sources.downloads(std::iter::once(package), lock, stored)?;
        fetcher.fetch_checked(&wanted, reporter).with_context(|| format!("fetching {name}"))?;
        let bytes = root::package_file(&store.path(&package.sha256), path)?;
        let bytes = bytes.with_context(|| format!("{name} {} has no /{path}", package.version))?;
        memo::remember(store, kept, &question, &bytes)?;
        Ok(bytes)
    }
}
