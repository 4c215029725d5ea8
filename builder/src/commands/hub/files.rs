//! The package files of the archive that `--watch` names, for `--keep-packages`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::archive::index::{Package, Universe};
use advice::Advice;
use anyhow::{Context as _, Result};
use hub::{ArchiveFile, ArchiveFiles};
use progress::Silent;
use protocol::InstalledPackage;
use store::{Download, FetchOptions, Fetcher, Store};

use crate::mirror::Mirror;
use crate::{archive, mirror};

/// Name, version and architecture of a package.
type Key = (String, String, String);

/// The files that the archive's indexes name.
pub(super) struct Files {
    pub(super) mirror: Mirror,
    /// Those of the state that was read last.
    pub(super) known: Mutex<Option<HashMap<Key, ArchiveFile>>>,
}

impl Files {
    /// Takes over indexes whose signature was checked.
    pub(super) fn read(&self, universe: &Universe) {
        let packages = universe.ids().filter_map(|id| universe.get(id));
        let files = packages.filter_map(|package| file(&package)).map(|file| (key(&file.package), file)).collect();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(files);
    }

    fn fetch_into(&self, file: &ArchiveFile, directory: &Path) -> Result<PathBuf> {
        let path = directory.join("store");
        let store = Store::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let options = FetchOptions { proxies: mirror::proxies().proxies, ..FetchOptions::default() };
        let download = Download {
            urls: vec![format!("{}/{}", self.mirror.url, archive::quote(&file.path))],
            size: Some(file.size),
            digest: file.sha256,
            label: format!("{} {}", file.package.name, file.package.version),
        };
        let paths = Fetcher::new(store, options)?.fetch_all(&[download], &Silent)?;
        paths.into_iter().next().context("the store has lost the package")
    }
}

impl ArchiveFiles for Files {
    fn find(&self, packages: &[InstalledPackage]) -> Option<Vec<ArchiveFile>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        Some(packages.iter().filter_map(|package| known.get(&key(package)).cloned()).collect())
    }

    fn fetch(&self, file: &ArchiveFile, directory: &Path) -> Result<PathBuf, Advice> {
        self.fetch_into(file, directory).map_err(|error| {
            let report = crate::error::report(&error);
            let what = std::iter::once(report.message).chain(report.causes).collect::<Vec<_>>().join(": ");
            Advice { what, help: report.help }
        })
    }
}

fn key(package: &InstalledPackage) -> Key {
    (package.name.clone(), package.version.clone(), package.architecture.clone())
}

/// The file of a package; `None` if its index entry is not complete.
fn file(package: &Package<'_>) -> Option<ArchiveFile> {
    let (source, source_version) = package.source();
    Some(ArchiveFile {
        package: InstalledPackage {
            name: package.name().to_owned(),
            architecture: package.architecture().to_owned(),
            version: package.version().to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
        },
        path: package.filename().ok()?.to_owned(),
        sha256: package.sha256().ok()?,
        size: package.size().ok()?,
    })
}
