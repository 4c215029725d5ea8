//! [`PackageSources`]: where each locked package is fetched from: the mirror of its archive, or a file on this machine.

use std::collections::BTreeMap;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use archive::index::IndexText;
use sha256::Digest;
use store::Download;

use crate::archive::{Wanted, quote};
use crate::cmdline::Source;
use crate::context::mirror;
use crate::local_packages::LocalPackages;
use crate::lock::{Lock, LockedPackage};
use crate::mirror::{Mirror, Origin};
use crate::recipe::{self, LOCAL, Recipe};

/// Where the packages of a recipe are fetched from.
pub struct PackageSources {
    /// The mirror of the main archive.
    pub mirror: Mirror,
    /// The main archive.
    main: recipe::Archive,
    /// The extra archives with their mirrors, by name.
    extra: BTreeMap<String, (recipe::Archive, Mirror)>,
    local: LocalPackages,
}

impl PackageSources {
    /// Those of a recipe, with the options of the command line. Local packages are read.
    ///
    /// # Errors
    /// If a local package cannot be read.
    pub fn of(recipe: &Recipe, source: &Source) -> Result<Self> {
        let checked = |archive: &recipe::Archive| {
            let mut archive = archive.clone();
            archive.check_valid_until &= !source.ignore_valid_until;
            archive
        };
        let main = mirror(recipe, source);
        let extra = recipe.extra_archives.iter().map(|extra| {
            let own = extra.archive.mirror.as_deref().filter(|_| extra.has_own_mirror);
            let mirror =
                own.map_or_else(|| main.clone(), |url| Mirror::new(url, Origin::ExtraArchive(extra.name.clone())));
            (extra.name.clone(), (checked(&extra.archive), mirror))
        });
        let extra = extra.collect();
        let local = LocalPackages::read(&recipe.packages.local)?;
        Ok(Self { main: checked(&recipe.archive), mirror: main, extra, local })
    }

    /// The archives to open, the main one first.
    pub fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        let main = Wanted { name: &self.main.suite, archive: &self.main, mirror: &self.mirror };
        let extra = self.extra.iter().map(|(name, (archive, mirror))| Wanted { name, archive, mirror });
        std::iter::once(main).chain(extra)
    }

    /// The index of the local packages; `None` if the recipe has none.
    pub fn local_index(&self) -> Option<IndexText> {
        let text = self.local.index()?;
        Some(IndexText { archive: LOCAL.to_owned(), component: String::new(), text })
    }

    /// Digests of the local packages, in the order of their names.
    pub fn local_digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.local.digests()
    }

    /// The names of local packages that are not in a lock.
    pub fn unused_local(&self, lock: &Lock) -> Vec<&str> {
        let is_used = |name: &str| lock.packages.iter().any(|package| package.is_local() && package.name == name);
        self.local.names().filter(|name| !is_used(name)).collect()
    }

    /// The downloads of locked packages: from the mirror first, then from the snapshot service in case the mirror has moved on.
    ///
    /// # Errors
    /// If a local package has changed since it was locked.
    pub fn downloads<'a>(
        &self,
        packages: impl Iterator<Item = &'a LockedPackage>,
        lock: &Lock,
        is_stored: impl Fn(&LockedPackage) -> Result<bool>,
    ) -> Result<Vec<Download>> {
        let urls = |package: &LockedPackage| -> Result<Vec<String>> {
            let Some(name) = &package.archive else {
                return Ok(urls(&self.mirror.url, &self.main.snapshot, lock.archive.date, package));
            };
            if package.is_local() {
                return self.local_url(package, is_stored(package)?);
            }
            let date = lock.extra_archives.iter().find(|extra| extra.name == *name).map(|extra| extra.date);
            let (archive, mirror) = self.extra.get(name).with_context(|| {
                format!("{} is from the archive {name}, which the recipe does not have", package.name)
            })?;
            Ok(urls(&mirror.url, &archive.snapshot, date.unwrap_or(lock.archive.date), package))
        };
        let download = |package: &LockedPackage| {
            Ok(Download {
                urls: urls(package)?,
                size: Some(package.size),
                digest: package.sha256,
                label: format!("{} {}", package.name, package.version),
            })
        };
        packages.map(download).collect()
    }

    /// The address of a local package's file, if it is still what was locked. The store may have kept it.
    fn local_url(&self, package: &LockedPackage, is_stored: bool) -> Result<Vec<String>> {
        match self.local.path(&package.sha256) {
            Some(path) => Ok(vec![format!("file://{}", quote(path))]),
            None if is_stored => Ok(vec![format!("file:///{}", quote(&package.filename))]),
            None => bail!(Advice::new(
                format!("the local package {} {} is not the one that was locked", package.name, package.version),
                "put the locked file back, or lock what there is now: `rocbed lock`"
            )),
        }
    }

    /// The mirrors, for messages.
    pub fn told(&self) -> String {
        let extra = self.extra.iter().filter(|(_, (_, mirror))| mirror.url != self.mirror.url);
        let extra = extra.map(|(name, (_, mirror))| format!(", that of {name} is {mirror}"));
        format!("the mirror is {}{}", self.mirror, extra.collect::<String>())
    }
}

/// The addresses of a package: at the mirror, and at the snapshot service as of a date.
fn urls(mirror: &str, snapshot: &str, date: i64, package: &LockedPackage) -> Vec<String> {
    // The service answers with the archive's state at a given time, and it imports a state some hours after it was
    // made.
    let hours = if snapshot.is_empty() { &[][..] } else { &[0, 6, 12, 24] };
    let snapshot = snapshot.trim_end_matches('/');
    let snapshots = hours.iter().map(|hour| format!("{snapshot}/{}", stamp(date + hour * 3600)));
    let path = quote(&package.filename);
    std::iter::once(mirror.to_owned()).chain(snapshots).map(|base| format!("{base}/{path}")).collect()
}

/// A time as the snapshot service writes it: `20261030T080801Z`.
fn stamp(date: i64) -> String {
    let time = jiff::Timestamp::from_second(date).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{lock, package};

    #[test]
    fn a_file_the_mirror_dropped_is_looked_for_at_the_snapshot_service() {
        let date = lock(Vec::new()).archive.date;
        let urls =
            urls("http://mirror.example/debian", "https://snap.example/archive/debian", date, &package("mawk", "1.3"));
        assert_eq!(
            urls[..2],
            [
                "http://mirror.example/debian/pool/main/mawk_1.3.deb",
                "https://snap.example/archive/debian/20261030T080801Z/pool/main/mawk_1.3.deb"
            ]
        );
    }
}
