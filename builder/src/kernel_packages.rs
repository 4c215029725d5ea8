//! Which packages have the kernel and its modules. Releases package them differently:
//!
//! | since | `linux-image-VERSION` | where the modules are |
//! |---|---|---|
//! | Debian's 6.19 | depends on the two others and an initramfs generator | `linux-modules-VERSION`; the kernel is in `linux-binary-VERSION` |
//! | before | the kernel | in it |
//! | Ubuntu | the kernel | `linux-modules-VERSION`, which it depends on, and `linux-modules-extra-VERSION` |
//! | `make bindeb-pkg` | the kernel | in it |

use std::collections::BTreeSet;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use archive::index::{Package, Universe};

use crate::recipe::KernelChoice;

/// Prefix of the names of packages with a kernel.
const IMAGE: &str = "linux-image-";

/// What generators of an initramfs provide.
const GENERATORS: &str = "linux-initramfs-tool";

/// The one with the fewest dependencies. Others bring udev, whose groups take numbers that recipes give.
const SMALLEST_GENERATOR: &str = "tiny-initramfs";

/// The packages to ask for.
///
/// # Errors
/// If there is no such kernel.
pub(crate) fn kernel_packages(universe: &Universe, choice: &KernelChoice) -> Result<Vec<String>> {
    match choice {
        KernelChoice::None => Ok(Vec::new()),
        KernelChoice::Flavour(flavour) => of_flavour(universe, flavour),
        KernelChoice::Package(name) => {
            let Some(package) = newest(universe, name) else {
                let near = universe.suggestions(name);
                let near = if near.is_empty() { String::new() } else { format!("; like it are {}", near.join(", ")) };
                bail!(Advice::new(
                    format!("kernel.package = {name:?}: there is no such package"),
                    format!(
                        "name the file with it in packages.local, or an archive that has it by [[extra-archive]]{near}"
                    )
                ));
            };
            of_image(universe, &package)
        }
    }
}

/// The packages with the newest kernel of a flavour: of the metapackage `linux-image-FLAVOUR`, only what has a kernel or modules.
fn of_flavour(universe: &Universe, flavour: &str) -> Result<Vec<String>> {
    let meta = format!("{IMAGE}{flavour}");
    let Some(package) = newest(universe, &meta) else {
        let flavours: BTreeSet<&str> = universe
            .suggestions(&meta)
            .into_iter()
            .filter_map(|name| name.strip_prefix(IMAGE))
            .filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        let mut help = vec!["a kernel without a metapackage is named by kernel.package".to_owned()];
        if !flavours.is_empty() {
            let known = flavours.into_iter().collect::<Vec<_>>().join(", ");
            help.insert(0, format!("flavours that look like it: {known}"));
        }
        bail!(Advice::new(format!("kernel.flavour = {flavour:?}: there is no package {meta} in the archive"), help));
    };
    let wanted = depends(&package)?;
    let versioned =
        wanted.iter().find(|name| name.starts_with(IMAGE)).with_context(|| format!("{meta} depends on no kernel"))?;
    let kernel =
        newest(universe, versioned).with_context(|| format!("{meta} depends on {versioned}, which is not there"))?;
    let mut packages = of_image(universe, &kernel)?;
    packages.extend(wanted.into_iter().filter(|name| name.starts_with("linux-modules-extra-")));
    Ok(packages)
}

/// The packages with a kernel and its modules. rocbed makes the initramfs itself: where kernel and modules are in packages of
/// their own, the generator that `linux-image-VERSION` wants is left out with it. Otherwise it is the smallest one, which never runs.
fn of_image(universe: &Universe, kernel: &Package<'_>) -> Result<Vec<String>> {
    let names = depends(kernel)?;
    let named = |prefix: &str| names.iter().find(|name| name.starts_with(prefix)).cloned();
    if let (Some(binary), Some(modules)) = (named("linux-binary-"), named("linux-modules-")) {
        return Ok(vec![binary, modules]);
    }
    let mut packages = vec![kernel.name().to_owned()];
    let relations = kernel.relations("Depends").with_context(|| format!("reading the dependencies of {kernel}"))?;
    let wants_generator = relations.0.iter().flat_map(|item| &item.0).any(|relation| relation.name == GENERATORS);
    if wants_generator && !universe.candidates(SMALLEST_GENERATOR).is_empty() {
        packages.push(format!("{SMALLEST_GENERATOR} | {GENERATORS}"));
    }
    Ok(packages)
}

/// Names of the packages in Depends, first alternatives only.
fn depends(package: &Package<'_>) -> Result<Vec<String>> {
    let relations = package.relations("Depends").with_context(|| format!("reading the dependencies of {package}"))?;
    Ok(relations.0.iter().filter_map(|item| item.0.first()).map(|relation| relation.name.to_owned()).collect())
}

/// The package of a name that would be taken.
pub(crate) fn newest<'a>(universe: &'a Universe, name: &str) -> Option<Package<'a>> {
    universe.candidates(name).first().and_then(|id| universe.get(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::ARCHITECTURE;
    use archive::index::IndexText;

    fn universe(packages: &[(&str, &str)]) -> Universe {
        let stanza = |(name, depends): &(&str, &str)| {
            format!("Package: {name}\nVersion: 7.2-1\nArchitecture: amd64\nDepends: {depends}\n\n")
        };
        let text = packages.iter().map(stanza).collect::<String>().into_bytes();
        let text = IndexText { archive: "sid".into(), component: "main".into(), text };
        Universe::new(vec![text], ARCHITECTURE).unwrap()
    }

    fn flavour(packages: &[(&str, &str)], flavour: &str) -> Vec<String> {
        kernel_packages(&universe(packages), &KernelChoice::Flavour(flavour.into())).unwrap()
    }

    #[test]
    fn the_kernel_comes_without_its_initramfs_generator_where_it_can() {
        let image =
            "dracut | linux-initramfs-tool, linux-base-7.2-amd64, linux-binary-7.2-amd64, linux-modules-7.2-amd64";
        let sid = [
            ("linux-image-amd64", "linux-base-amd64, linux-image-7.2-amd64 (= 7.2-1)"),
            ("linux-image-7.2-amd64", image),
        ];
        assert_eq!(flavour(&sid, "amd64"), ["linux-binary-7.2-amd64", "linux-modules-7.2-amd64"]);
    }

    #[test]
    fn kernels_of_other_releases_are_found() {
        let debian_13 = [
            ("linux-image-amd64", "linux-image-6.12.117+deb13-amd64 (= 6.12.117-1)"),
            ("linux-image-6.12.117+deb13-amd64", "kmod, initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool"),
        ];
        assert_eq!(flavour(&debian_13, "amd64"), ["linux-image-6.12.117+deb13-amd64"]);
        let debian_13 = [debian_13[0], debian_13[1], ("tiny-initramfs", "cpio")];
        assert_eq!(
            flavour(&debian_13, "amd64"),
            ["linux-image-6.12.117+deb13-amd64", "tiny-initramfs | linux-initramfs-tool"]
        );
        let ubuntu = [
            (
                "linux-image-generic",
                "linux-image-6.8.0-31-generic, linux-modules-extra-6.8.0-31-generic, linux-firmware",
            ),
            ("linux-image-6.8.0-31-generic", "kmod, linux-base (>= 4.5), linux-modules-6.8.0-31-generic"),
        ];
        assert_eq!(
            flavour(&ubuntu, "generic"),
            ["linux-image-6.8.0-31-generic", "linux-modules-extra-6.8.0-31-generic"]
        );
        let own = universe(&[("linux-image-6.18.0-mine", "")]);
        let named = |name: &str| kernel_packages(&own, &KernelChoice::Package(name.into()));
        assert_eq!(named("linux-image-6.18.0-mine").unwrap(), ["linux-image-6.18.0-mine"]);
        let error = crate::error::report(&named("linux-image-6.18.1-mine").unwrap_err()).to_string();
        assert!(error.contains("packages.local") && error.contains("linux-image-6.18.0-mine"), "{error}");
        assert!(kernel_packages(&own, &KernelChoice::None).unwrap().is_empty());
    }

    #[test]
    fn a_flavour_that_does_not_exist_names_the_ones_that_do() {
        let archive = universe(&[("linux-image-amd64", "")]);
        let error = kernel_packages(&archive, &KernelChoice::Flavour("amd46".into())).unwrap_err();
        let error = crate::error::report(&error).to_string();
        assert!(error.contains("kernel.flavour") && error.contains("amd64"), "{error}");
    }
}
