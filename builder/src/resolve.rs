//! Makes a lock from a recipe and an archive: the request, and its solution.

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};
use archive::index::{Package, Universe};
use archive::policy::{Pin, Policy, Share};
use archive::solve::{Base, Request, Solution, solve};
use serde_json::json;
use sha256::Digest;

use crate::architecture::ARCHITECTURE;
use crate::archive::Archive;
use crate::image::signed::SIGNED_PACKAGES;
use crate::kernel_packages::{kernel_packages, newest};
use crate::lock::{Lock, LockedArchive, LockedExtraArchive, LockedPackage, Role};
use crate::package_sources::PackageSources;
use crate::recipe::{ExtraArchive, KernelChoice, LOCAL, Recipe};

/// Digest of everything in a recipe that affects the choice of packages. A lock with another digest is out of date.
pub fn request_digest(recipe: &Recipe, sources: &PackageSources) -> Digest {
    request_digest_with(recipe, sources.local_digests())
}

/// [`request_digest`] of a recipe whose local packages have these digests, in the order of their names.
pub fn request_digest_with(recipe: &Recipe, local: impl Iterator<Item = Digest>) -> Digest {
    let archive = &recipe.archive;
    let flavour = match &recipe.kernel.choice {
        KernelChoice::Flavour(flavour) => Some(flavour),
        KernelChoice::None | KernelChoice::Package(_) => None,
    };
    let mut request = json!({
        "format": 1,
        "suite": archive.suite,
        "components": archive.components,
        "install": recipe.packages.install,
        "exclude": recipe.packages.exclude,
        "recommends": recipe.packages.recommends,
        "kernel": flavour,
        "stub": recipe.image.stub_package,
    });
    if let KernelChoice::Package(name) = &recipe.kernel.choice {
        request["kernel-package"] = json!(name);
    }
    if recipe.image.secure_boot {
        request["secure-boot"] = json!(SIGNED_PACKAGES);
    }
    // Only what there is: a recipe without these keeps the digest that it had before they were known.
    if !recipe.extra_archives.is_empty() {
        let extra = |extra: &ExtraArchive| {
            let ExtraArchive { name, archive, packages, .. } = extra;
            json!({ "name": name, "suite": archive.suite, "components": archive.components, "packages": packages })
        };
        request["extra-archives"] = recipe.extra_archives.iter().map(extra).collect();
    }
    if !recipe.packages.local.is_empty() {
        request["local"] = local.map(|digest| digest.to_string()).collect();
    }
    if !recipe.packages.versions.is_empty() {
        let pin = |pin: &Pin| json!([pin.to_string(), pin.version]);
        request["versions"] = recipe.packages.versions.iter().map(pin).collect();
    }
    Digest::of(request.to_string().as_bytes())
}

/// Says what may come from which of the recipe's archives.
pub fn apply_policy(recipe: &Recipe, archive: &mut Archive) -> Result<()> {
    let mut policy = Policy { pins: recipe.packages.versions.clone(), ..Policy::default() };
    policy.shares.insert(LOCAL.to_owned(), Share::First);
    for extra in &recipe.extra_archives {
        let Some(packages) = &extra.packages else {
            let state = archive.extra.iter().find(|state| state.name == extra.name);
            ensure!(
                !state.is_some_and(|state| state.not_automatic),
                Advice::new(
                    format!(
                        "nothing comes from the archive {} by itself: its Release file says NotAutomatic",
                        extra.name
                    ),
                    "name what is to come from it: packages = [\"src:NAME\"] in its [[extra-archive]], or [\"*\"] for all"
                )
            );
            continue;
        };
        let is_named = |package: &Package<'_>| packages.iter().any(|selector| selector.matches(package));
        for selector in packages {
            let is_there = |id| {
                archive
                    .universe
                    .get(id)
                    .is_some_and(|package| package.archive() == extra.name && selector.matches(&package))
            };
            ensure!(
                archive.universe.ids().any(is_there),
                Advice::new(
                    format!("the archive {} has no package {selector}, which is to come from it", extra.name),
                    format!(
                        "take it off packages of the [[extra-archive]] {}, or look for it in another suite",
                        extra.name
                    )
                )
            );
        }
        policy.shares.insert(extra.name.clone(), Share::Named(Box::new(is_named)));
    }
    archive.universe.prefer(&policy).context("applying packages.versions")
}

/// The packages of a recipe's root, each with the first reason for which it is included.
pub fn solution(recipe: &Recipe, universe: &Universe) -> Result<Solution> {
    let kernel = kernel_packages(universe, &recipe.kernel.choice)?;
    let mut request = Request::new(recipe.packages.install.iter().chain(&kernel));
    request.exclude.clone_from(&recipe.packages.exclude);
    request.recommends = recipe.packages.recommends;
    request.base = Base::Essential;
    ARCHITECTURE.clone_into(&mut request.architecture);
    solve(universe, &request).with_context(|| format!("solving the recipe {}", recipe.name))
}

/// Solves a recipe against an archive.
pub fn lock(recipe: &Recipe, sources: &PackageSources, archive: &Archive) -> Result<Lock> {
    let universe = &archive.universe;
    let main = recipe.archive.suite.as_str();
    let solution = solution(recipe, universe)?;
    let mut packages = Vec::new();
    for (id, _) in &solution.packages {
        let package = universe.get(*id).context("the solver chose a package of another archive")?;
        packages.push(locked(&package, Role::Root, main)?);
    }
    let stub = &recipe.image.stub_package;
    let has_kernel = recipe.kernel.choice != KernelChoice::None;
    if has_kernel && !packages.iter().any(|package| package.name == *stub) {
        let newest = newest(universe, stub)
            .with_context(|| format!("image.stub-package: there is no package {stub} in the archive"))?;
        packages.push(locked(&newest, Role::Build, main)?);
    }
    for name in SIGNED_PACKAGES.iter().filter(|_| has_kernel && recipe.image.secure_boot) {
        if !packages.iter().any(|package| package.name == *name) {
            let newest = newest(universe, name)
                .with_context(|| format!("image.secure-boot: there is no package {name} in the archive"))
                .help("secure-boot = false in [image] makes a disk that starts where Secure Boot is off")?;
            packages.push(locked(&newest, Role::Esp, main)?);
        }
    }
    let locked_archive = LockedArchive {
        suite: recipe.archive.suite.clone(),
        components: recipe.archive.components.clone(),
        date: archive.date,
        release: archive.release,
    };
    let extra = |extra: &ExtraArchive| {
        let state = archive.extra.iter().find(|state| state.name == extra.name);
        let state = state.with_context(|| format!("the archive {} was not opened", extra.name))?;
        Ok(LockedExtraArchive {
            name: extra.name.clone(),
            suite: extra.archive.suite.clone(),
            components: extra.archive.components.clone(),
            date: state.date,
            release: state.release,
            release_names: state.names.clone(),
        })
    };
    let extra_archives = recipe.extra_archives.iter().map(extra).collect::<Result<_>>()?;
    Ok(Lock::new(request_digest(recipe, sources), locked_archive, extra_archives, packages))
}

/// The entry of a lock; `main` is the name of the main archive.
fn locked(package: &Package, role: Role, main: &str) -> Result<LockedPackage> {
    let context = || format!("reading the index entry of {package}");
    Ok(LockedPackage {
        name: package.name().to_owned(),
        version: package.version().to_owned(),
        architecture: package.architecture().to_owned(),
        filename: package.filename().with_context(context)?.to_owned(),
        size: package.size().with_context(context)?,
        sha256: package.sha256().with_context(context)?,
        installed_size: package.installed_size().with_context(context)?.saturating_mul(1024),
        essential: package.is_essential(),
        role,
        archive: Some(package.archive()).filter(|name| *name != main).map(ToOwned::to_owned),
    })
}
