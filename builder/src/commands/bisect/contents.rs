//! What differs between two images or their locks, where the kernel, each firmware and everything else are a group each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail, ensure};
use history::groups::{Group, Need, image_groups};
use protocol::{InstalledPackage, PackageList};
use serde::Deserialize;
use sha256::Digest;

use super::images;
use crate::local_packages::LocalPackages;
use crate::lock::{Lock, LockedPackage};
use crate::recipe;
use crate::resolve::request_digest_with;

/// Description of an image, in its directory.
const MANIFEST: &str = "manifest.json";

/// Reads the locks of the first and the last image.
pub(super) fn both_locks(paths: &[PathBuf]) -> Result<(Lock, Lock)> {
    let read = |path: Option<&PathBuf>| -> Result<Lock> {
        let path = path.context("the search has no locks")?;
        Ok(Lock::read(path)?.ok_or_else(|| images::no_lock(path))?)
    };
    let (good, bad) = (read(paths.first())?, read(paths.last())?);
    Ok((good, bad))
}

/// The request of images between two locks, if these differ in the files of local packages: that of the recipe with the files
/// that are there now. `None` if both locks are of one request.
///
/// # Errors
/// If the recipe was changed between the locks.
pub(super) fn request(recipe: &str, good: &Lock, bad: &Lock) -> Result<Option<Digest>> {
    if good.request == bad.request {
        return Ok(None);
    }
    let recipe = recipe::load(recipe)?;
    let now = LocalPackages::read(&recipe.packages.local)?;
    // Files that no image has are part of the request too: those that are there now.
    let of_lock = |lock: &Lock| {
        let installed = |name: &str| lock.packages.iter().find(|package| package.is_local() && package.name == name);
        let each = now.names().zip(now.digests());
        let local = each.map(|(name, digest)| installed(name).map_or(digest, |package| package.sha256));
        request_digest_with(&recipe, local) == lock.request
    };
    ensure!(
        of_lock(good) && of_lock(bad),
        Advice::new(
            "the locks are not of the same request: the recipe was changed between them, or local packages that are not in \
             the images",
            "build an image by each, and name their directories instead"
        )
    );
    Ok(Some(request_digest_with(&recipe, now.digests())))
}

/// What differs between two locks, in groups. `needs` gives the dependencies of a version of a package.
pub(super) fn groups(good: &Lock, bad: &Lock, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Result<Vec<Group>> {
    let contents = |lock: &Lock| lock.packages.iter().map(content).collect();
    let found = groups_of(contents(good), contents(bad), needs);
    if found.is_empty() {
        bail!(Advice::new(
            "both locks have the same packages",
            "the test fails because of something else, or by chance: run it again with the same image"
        ));
    }
    Ok(found)
}

/// A package of an image, and the digest of its file.
struct Content {
    package: InstalledPackage,
    sha256: Option<String>,
}

fn content(package: &LockedPackage) -> Content {
    let sha256 = Some(package.sha256.to_string());
    Content { package: installed(&package.name, &package.version, &package.filename), sha256 }
}

/// Characters of a digest that tell people which of two files is meant.
const SHORT: usize = 12;

/// What differs. A package that was built anew under the same version is one that differs: a digest behind its version says
/// which one it is.
fn groups_of(mut good: Vec<Content>, mut bad: Vec<Content>, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Vec<Group> {
    let by_name: BTreeMap<&str, usize> =
        good.iter().enumerate().map(|(at, content)| (content.package.name.as_str(), at)).collect();
    let places = bad.iter().enumerate().filter_map(|(at, new)| Some((*by_name.get(new.package.name.as_str())?, at)));
    let places: Vec<(usize, usize)> = places.collect();
    for (old, new) in places {
        let (Some(old), Some(new)) = (good.get_mut(old), bad.get_mut(new)) else { continue };
        let (Some(old_digest), Some(new_digest)) = (&old.sha256, &new.sha256) else { continue };
        if old.package.version != new.package.version || old_digest == new_digest {
            continue;
        }
        for (package, digest) in [(&mut old.package, old_digest), (&mut new.package, new_digest)] {
            let short = digest.get(..SHORT).unwrap_or(digest);
            package.version = format!("{} (sha256 {short})", package.version);
            package.source_version.clone_from(&package.version);
        }
    }
    let list = |contents: Vec<Content>| contents.into_iter().map(|content| content.package).collect::<PackageList>();
    image_groups(&list(good), &list(bad), needs)
}

/// A package of an image. Its source is the directory of its file in the archive's pool: `pool/main/l/linux/NAME.deb`. A
/// pool without such directories does not tell: then each package is a source of its own.
fn installed(name: &str, version: &str, file: &str) -> InstalledPackage {
    let parts: Vec<&str> = file.split('/').collect();
    let directory = match parts[..] {
        ["pool", .., prefix, source, _] if !prefix.is_empty() && source.starts_with(prefix) => Some(source),
        _ => None,
    };
    InstalledPackage {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: version.to_owned(),
        source: directory.unwrap_or(name).to_owned(),
        source_version: version.to_owned(),
    }
}

/// `manifest.json` of an image, as far as a search needs it.
#[derive(Deserialize)]
struct Manifest {
    packages: Vec<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    version_info: Option<String>,
    package_file_name: Option<String>,
    #[serde(default)]
    checksums: Vec<Checksum>,
    /// Image files have none.
    external_refs: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: String,
    checksum_value: String,
}

/// What differs between two image directories, in groups. Empty if one of them has no description any more.
pub(super) fn changed(before: &Path, after: &Path) -> Vec<Group> {
    match (described(before), described(after)) {
        (Some(before), Some(after)) => groups_of(before, after, &|_, _| Vec::new()),
        _ => Vec::new(),
    }
}

fn described(image: &Path) -> Option<Vec<Content>> {
    let text = std::fs::read(image.join(MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    let packages = manifest.packages.iter().filter(|package| package.external_refs.is_some());
    let each = packages.filter_map(|package| {
        let sha256 = package.checksums.iter().find(|checksum| checksum.algorithm == "SHA256");
        Some(Content {
            package: installed(&package.name, package.version_info.as_ref()?, package.package_file_name.as_ref()?),
            sha256: sha256.map(|checksum| checksum.checksum_value.clone()),
        })
    });
    Some(each.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::document;
    use crate::lock::tests::{lock, package};
    use debian::deb::fixtures;

    fn in_pool(name: &str, version: &str, source: &str) -> LockedPackage {
        let filename = format!("pool/main/{}/{source}/{name}_{version}_amd64.deb", &source[..1]);
        LockedPackage { filename, ..package(name, version) }
    }

    fn nothing(_: &str, _: &str) -> Vec<Need> {
        Vec::new()
    }

    fn words(groups: &[Group]) -> Vec<String> {
        groups.iter().map(Group::words).collect()
    }

    #[test]
    fn kernel_and_firmware_are_told_apart_from_other_packages() -> Result<()> {
        let good = lock(vec![
            in_pool("linux-image-7.2-amd64", "7.2-1", "linux-signed-amd64"),
            in_pool("linux-base-7.2-amd64", "7.2-1", "linux"),
            in_pool("firmware-amd-graphics", "20260101-1", "firmware-nonfree"),
            in_pool("libc6", "2.42-1", "glibc"),
            in_pool("gzip", "1.14-1", "gzip"),
        ]);
        let bad = lock(vec![
            in_pool("linux-image-7.3-amd64", "7.3-1", "linux-signed-amd64"),
            in_pool("linux-base-7.3-amd64", "7.3-1", "linux"),
            in_pool("firmware-amd-graphics", "20261001-1", "firmware-nonfree"),
            in_pool("libc6", "2.42-2", "glibc"),
            in_pool("gzip", "1.14-2", "gzip"),
        ]);
        let expected = [
            "glibc 2.42-1 -> 2.42-2, gzip 1.14-1 -> 1.14-2",
            "linux 7.2-1 -> 7.3-1, linux-signed-amd64 7.2-1 -> 7.3-1",
            "firmware-nonfree 20260101-1 -> 20261001-1",
        ];
        assert_eq!(words(&groups(&good, &bad, &nothing)?), expected);
        assert!(groups(&good, &good, &nothing).is_err());
        // The same from the descriptions of two images.
        let directory = tempfile::tempdir()?;
        for (name, lock) in [("good", &good), ("bad", &bad)] {
            std::fs::create_dir(directory.path().join(name))?;
            std::fs::write(directory.path().join(name).join(MANIFEST), document("x", lock, b"init", &[]))?;
        }
        assert_eq!(words(&changed(&directory.path().join("good"), &directory.path().join("bad"))), expected);
        assert_eq!(words(&changed(&directory.path().join("good"), &directory.path().join("gone"))), [""; 0]);
        Ok(())
    }

    #[test]
    fn a_package_that_was_built_anew_differs() -> Result<()> {
        let rebuilt = LockedPackage { sha256: Digest::of(b"again"), ..in_pool("libhip6", "6-1", "hip") };
        let good = lock(vec![in_pool("libhip6", "6-1", "hip"), in_pool("gzip", "1.14-1", "gzip")]);
        let bad = lock(vec![rebuilt, in_pool("gzip", "1.14-1", "gzip")]);
        let found = words(&groups(&good, &bad, &nothing)?);
        let short = |lock: &Lock| lock.package("libhip6").map(|package| package.sha256.to_string()[..SHORT].to_owned());
        let (old, new) = (short(&good).unwrap_or_default(), short(&bad).unwrap_or_default());
        assert_eq!(found, [format!("hip 6-1 (sha256 {old}) -> 6-1 (sha256 {new})")]);
        Ok(())
    }

    #[test]
    fn only_a_pool_with_directories_tells_the_source() {
        let source = |file: &str| installed("libhip6", "6-1", file).source;
        assert_eq!(source("pool/main/r/rocm-hipamd/libhip6_6-1_amd64.deb"), "rocm-hipamd");
        assert_eq!(source("pool/non-free/libh/libhip/libhip6_6-1_amd64.deb"), "libhip");
        for file in ["pool/libhip6_6-1_amd64.deb", "pool/x/y/libhip6_6-1_amd64.deb", "libhip6_6-1_amd64.deb"] {
            assert_eq!(source(file), "libhip6", "{file}");
        }
    }

    #[test]
    fn locks_may_differ_in_the_files_of_local_packages() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("own.toml");
        std::fs::write(&path, "inherits = 'smoke'\n[packages]\nlocal = ['*.deb']\n")?;
        // The file that is there now is that of the newer lock.
        let deb = |name: &str| {
            let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\nDescription: a\n");
            let control = fixtures::tar(&[fixtures::directory("./"), fixtures::file("./control", &control)]);
            let data = fixtures::tar(&[fixtures::directory("./")]);
            fixtures::ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)])
        };
        // Nothing installs the second one.
        let (own, unused) = (deb("firmware-own"), deb("firmware-own-dbgsym"));
        std::fs::write(directory.path().join("own.deb"), &own)?;
        std::fs::write(directory.path().join("unused.deb"), &unused)?;
        let name = path.display().to_string();
        let recipe = recipe::load(&name)?;
        let of = |content: &[u8]| {
            let mut package = package("firmware-own", "1");
            package.archive = Some(recipe::LOCAL.to_owned());
            package.sha256 = Digest::of(content);
            let mut lock = lock(vec![package.clone()]);
            lock.request = request_digest_with(&recipe, [package.sha256, Digest::of(&unused)].into_iter());
            lock
        };
        let (good, bad) = (of(b"old"), of(&own));
        assert_eq!(request(&name, &good, &good)?, None);
        assert_eq!(request(&name, &good, &bad)?, Some(bad.request));
        let error = request(&name, &good, &lock(Vec::new())).expect_err("another recipe");
        assert!(error.to_string().contains("the recipe was changed between them"), "{error}");
        Ok(())
    }
}
