//! Warnings about packages from elsewhere that a lock has, or does not have, against what somebody would expect.

use advice::Advice;
use archive::index::{Package, Universe};
use debian::version::compare;

use crate::lock::{Lock, LockedPackage};
use crate::package_sources::PackageSources;
use crate::recipe::Recipe;

/// What a person should know about a new lock.
pub(super) fn warnings(recipe: &Recipe, sources: &PackageSources, universe: &Universe, lock: &Lock) -> Vec<Advice> {
    let mut warnings: Vec<Advice> =
        lock.packages.iter().filter_map(|package| older(recipe, universe, package)).collect();
    let unused = sources.unused_local(lock);
    if !unused.is_empty() {
        warnings.push(Advice::new(
            format!("local packages that nothing installs: {}", unused.join(", ")),
            "add what is to be in the image to packages.install",
        ));
    }
    for extra in &recipe.extra_archives {
        let is_used = lock.packages.iter().any(|package| package.archive.as_deref() == Some(&extra.name));
        if !is_used && extra.packages.is_some() {
            warnings.push(Advice::new(
                format!(
                    "nothing comes from the archive {}: no package of the image is among those that it gives",
                    extra.name
                ),
                "add what is to be in the image to packages.install",
            ));
        }
    }
    warnings
}

/// A package from elsewhere that the main archive has in a newer version.
fn older(recipe: &Recipe, universe: &Universe, package: &LockedPackage) -> Option<Advice> {
    let archive = package.archive.as_deref()?;
    let main = recipe.archive.suite.as_str();
    let in_main =
        universe.named(&package.name).filter_map(|id| universe.get(id)).filter(|other| other.archive() == main);
    let newest = in_main.map(|other: Package<'_>| other.version()).max_by(|a, b| compare(a, b))?;
    let is_pinned = recipe.packages.versions.iter().any(|pin| pin.version == package.version);
    (compare(newest, &package.version).is_gt() && !is_pinned).then(|| {
        Advice::new(
            format!("{} {} of {archive} is older than {newest}, which {main} has", package.name, package.version),
            "take it off the recipe if that is not meant",
        )
    })
}
