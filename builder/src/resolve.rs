//! Makes a lock from a recipe and an archive: the request, and its solution.

use std::collections::BTreeSet;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use archive::index::{Package, Universe};
use archive::solve::{Base, Request, Solution, solve};
use sha256::Digest;

use crate::architecture::ARCHITECTURE;
use crate::archive::Archive;
use crate::image::signed::SIGNED_PACKAGES;
use crate::lock::{Lock, LockedArchive, LockedPackage, Role};
use crate::recipe::Recipe;

/// Digest of everything in a recipe that affects the choice of packages. A lock with another digest is out of date.
pub fn request_digest(recipe: &Recipe) -> Digest {
    let archive = &recipe.archive;
    let mut request = serde_json::json!({
        "format": 1,
        "suite": archive.suite,
        "components": archive.components,
        "install": recipe.packages.install,
        "exclude": recipe.packages.exclude,
        "recommends": recipe.packages.recommends,
        "kernel": recipe.kernel.flavour,
        "stub": recipe.image.stub_package,
    });
    if recipe.image.secure_boot {
        request["secure-boot"] = serde_json::json!(SIGNED_PACKAGES);
    }
    Digest::of(request.to_string().as_bytes())
}

/// The packages of a recipe's root, each with the first reason for which it is included.
pub fn solution(recipe: &Recipe, universe: &Universe) -> Result<Solution> {
    let kernel = match &recipe.kernel.flavour {
        Some(flavour) => kernel_packages(universe, flavour)?,
        None => Vec::new(),
    };
    let mut request = Request::new(recipe.packages.install.iter().chain(&kernel));
    request.exclude.clone_from(&recipe.packages.exclude);
    request.recommends = recipe.packages.recommends;
    request.base = Base::Essential;
    ARCHITECTURE.clone_into(&mut request.architecture);
    solve(universe, &request).with_context(|| format!("solving the recipe {}", recipe.name))
}

/// Solves a recipe against an archive.
pub fn lock(recipe: &Recipe, archive: &Archive) -> Result<Lock> {
    let universe = &archive.universe;
    let solution = solution(recipe, universe)?;
    let mut packages = Vec::new();
    for (id, _) in &solution.packages {
        let package = universe.get(*id).context("the solver chose a package of another archive")?;
        packages.push(locked(&package, Role::Root)?);
    }
    let stub = &recipe.image.stub_package;
    let has_kernel = recipe.kernel.flavour.is_some();
    if has_kernel && !packages.iter().any(|package| package.name == *stub) {
        let newest = newest(universe, stub)
            .with_context(|| format!("image.stub-package: there is no package {stub} in the archive"))?;
        packages.push(locked(&newest, Role::Build)?);
    }
    for name in SIGNED_PACKAGES.iter().filter(|_| has_kernel && recipe.image.secure_boot) {
        if !packages.iter().any(|package| package.name == *name) {
            let newest = newest(universe, name)
                .with_context(|| format!("image.secure-boot: there is no package {name} in the archive"))
                .help("secure-boot = false in [image] makes a disk that starts where Secure Boot is off")?;
            packages.push(locked(&newest, Role::Esp)?);
        }
    }
    let locked_archive = LockedArchive {
        suite: recipe.archive.suite.clone(),
        components: recipe.archive.components.clone(),
        date: archive.date,
        release: archive.release,
    };
    Ok(Lock::new(request_digest(recipe), locked_archive, packages))
}

fn newest<'a>(universe: &'a Universe, name: &str) -> Option<Package<'a>> {
    universe.candidates(name).first().and_then(|id| universe.get(*id))
}

/// The packages with the kernel and its modules, for the newest kernel of a flavour.
///
/// `linux-image-FLAVOUR` depends on the newest `linux-image-VERSION-FLAVOUR`, which depends on an initramfs generator
/// and on `linux-binary-…` and `linux-modules-…`. Only the last two are needed in an image, because rocbed makes the
/// initramfs itself.
fn kernel_packages(universe: &Universe, flavour: &str) -> Result<Vec<String>> {
    let meta = format!("linux-image-{flavour}");
    let Some(package) = newest(universe, &meta) else {
        let flavours: BTreeSet<&str> = universe
            .suggestions(&meta)
            .into_iter()
            .filter_map(|name| name.strip_prefix("linux-image-"))
            .filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        let known = flavours.into_iter().collect::<Vec<_>>().join(", ");
        bail!(Advice::new(
            format!("kernel.flavour = {flavour:?}: there is no package {meta} in the archive"),
            format!("flavours that look like it: {known}")
        ));
    };
    let versioned = depends(&package)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{meta} depends on no kernel"))?;
    let kernel =
        newest(universe, &versioned).with_context(|| format!("{meta} depends on {versioned}, which is not there"))?;
    let wanted = |name: &String| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
    let packages: Vec<String> = depends(&kernel)?.into_iter().filter(wanted).collect();
    if packages.len() != 2 {
        bail!(Advice::new(
            format!(
                "{versioned} should depend on one linux-binary and one linux-modules package, and depends on: {}",
                packages.join(", ")
            ),
            "rocbed needs a kernel packaged as in sid since 7.2"
        ));
    }
    Ok(packages)
}

/// Names of the packages in Depends, first alternatives only.
fn depends(package: &Package) -> Result<Vec<String>> {
    let relations = package.relations("Depends").with_context(|| format!("reading the dependencies of {package}"))?;
    Ok(relations.0.iter().filter_map(|item| item.0.first()).map(|relation| relation.name.to_owned()).collect())
}

fn locked(package: &Package, role: Role) -> Result<LockedPackage> {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::index::IndexText;

    fn archive(index: &str) -> Archive {
        let text = IndexText { archive: "sid".into(), component: "main".into(), text: index.as_bytes().to_vec() };
        let universe = Universe::new(vec![text], ARCHITECTURE).unwrap();
        Archive { date: 0, release: Digest::of(b""), universe }
    }

    #[test]
    fn the_kernel_comes_without_its_initramfs_generator() {
        let stanza = |name: &str, depends: &str| {
            format!("Package: {name}\nVersion: 7.2-1\nArchitecture: amd64\nDepends: {depends}\n\n")
        };
        let index = stanza("linux-image-amd64", "linux-image-7.2-amd64 (= 7.2-1)")
            + &stanza(
                "linux-image-7.2-amd64",
                "dracut | linux-initramfs-tool, linux-base-7.2, linux-binary-7.2-amd64, linux-modules-7.2-amd64",
            );
        let packages = kernel_packages(&archive(&index).universe, "amd64").unwrap();
        assert_eq!(packages, ["linux-binary-7.2-amd64", "linux-modules-7.2-amd64"]);
    }

    #[test]
    fn a_flavour_that_does_not_exist_names_the_ones_that_do() {
        let index = "Package: linux-image-amd64\nVersion: 1\nArchitecture: amd64\n\n";
        let error = kernel_packages(&archive(index).universe, "amd46").unwrap_err();
        let error = crate::error::report(&error).to_string();
        assert!(error.contains("kernel.flavour") && error.contains("amd64"), "{error}");
    }
}
