//! A search over images: which of some images in a row is the first with which a test fails, or which packages of an image
//! between two locks, where the kernel, each firmware and everything else are a group each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use history::Environment;
use history::groups::{Group, image_groups};
use jiff::Timestamp;
use protocol::{InstalledPackage, Job, PackageList, Source as JobSource};
use serde::Deserialize;

use super::state::{End, Machines, Observed, Question};
use crate::cmdline::Bisect;
use crate::context::Context;
use crate::lock::{Lock, LockedPackage};

/// Option of `rocbed boot` for simulated GPUs.
const GPU: &str = "--gpu=";
/// Target of runs that need no GPU.
const NO_TARGET: &str = "none";

/// Description of an image, in its directory.
const MANIFEST: &str = "manifest.json";

/// The images that the options name, and how they are booted.
pub(super) fn machines(options: &Bisect) -> Result<Machines> {
    let absolute =
        |path: &PathBuf| std::path::absolute(path).with_context(|| format!("finding the image {}", path.display()));
    let images = options.image.iter().map(absolute).collect::<Result<Vec<_>>>()?;
    let are_locks = images.iter().filter(|image| is_lock(image)).count();
    if images.len() < 2 || (are_locks > 0 && images.len() != 2) || (are_locks == 1 && images.len() == 2) {
        bail!(Advice::new(
            format!("--image names {are_locks} locks and {} other images", images.len() - are_locks),
            "name two locks of one recipe, or two image directories or more, in their order: the good one first"
        ));
    }
    let recipe = match (are_locks, &options.recipe) {
        (0, _) => {
            check(&images)?;
            None
        }
        (_, Some(recipe)) => Some(recipe.clone()),
        (_, None) => bail!(Advice::new(
            "the search builds images by these locks, and it is not known of which recipe they are",
            "name it with --recipe"
        )),
    };
    let mut boot: Vec<String> = Vec::new();
    if let Some(gpus) = &options.gpu {
        if gpus.is_empty() {
            bail!(Advice::new(
                "--gpu without a target means this machine's GPUs, and machines of images simulate theirs",
                "name what they are to simulate: --gpu=gfx1030"
            ));
        }
        boot.push(format!("--gpu={}", gpus.join(",")));
    }
    boot.extend(options.memory.iter().map(|memory| format!("--memory={}MiB", memory >> 20)));
    let source = &options.source;
    let both = [
        source.mirror.iter().map(|mirror| format!("--mirror={mirror}")).collect(),
        if source.ignore_valid_until { vec!["--ignore-valid-until".to_owned()] } else { Vec::new() },
    ]
    .concat();
    boot.extend(both.iter().cloned());
    let offline = source.offline.then(|| "--offline".to_owned());
    let build = if recipe.is_some() { both.into_iter().chain(offline).collect() } else { Vec::new() };
    Ok(Machines { images, recipe, boot, build })
}

/// Lets the machines simulate the GPUs on which the test failed, if the options name no others, and says so: what needs a
/// real GPU says nothing about the images then.
pub(super) fn with_gpus(context: &Context, mut machines: Machines, question: &Question) -> Machines {
    let is_gpu = |word: &&String| word.starts_with(GPU);
    let target = question.target.as_deref().filter(|target| *target != NO_TARGET);
    if let (None, Some(target)) = (machines.boot.iter().find(is_gpu), target) {
        let gpus = vec![target; question.job.gpus.max(1) as usize];
        machines.boot.push(format!("{GPU}{}", gpus.join(",")));
    }
    if let Some(word) = machines.boot.iter().find(is_gpu) {
        let target = word.trim_start_matches(GPU);
        context.reporter.say(&format!("the machines simulate {target}: what needs a real GPU fails with each image"));
    }
    machines
}

/// Whether a path names a lock.
fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "lock")
}

/// The question of a search without results: the test is expected to pass with the first image and to fail with the last.
pub(super) fn question(options: &Bisect, images: &[PathBuf]) -> Result<Question> {
    let what = options.what.first().map(String::as_str).unwrap_or_default();
    let Some(test) = options.test.clone() else {
        bail!(Advice::new(
            format!("it is not known which test of {what} is searched for"),
            "name it with --test, or name two results: `rocbed bisect GOOD BAD`"
        ));
    };
    let mut job = if what.contains('/') || what.starts_with('.') {
        let tree = Path::new(what).canonicalize().with_context(|| format!("finding the source tree {what}"))?;
        let tree = tree.to_str().with_context(|| format!("the path {what} is not UTF-8"))?.to_owned();
        Job::new(JobSource::Path(tree))
    } else {
        Job::of_package(what)
    };
    "bisect".clone_into(&mut job.id);
    job.tests = vec![test.clone()];
    let end = |path: Option<&PathBuf>| {
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        End::new(name, Timestamp::UNIX_EPOCH, 0.0, Environment::default())
    };
    Ok(Question {
        test,
        target: options.target.clone(),
        good: end(images.first()),
        bad: end(images.last()),
        job,
        observed: Observed::default(),
    })
}

/// Reads the locks of the first and the last image.
pub(super) fn both_locks(paths: &[PathBuf]) -> Result<(Lock, Lock)> {
    let read = |path: Option<&PathBuf>| -> Result<Lock> {
        let path = path.context("the search has no locks")?;
        Lock::read(path)?.with_context(|| format!("there is no lock {}", path.display()))
    };
    let (good, bad) = (read(paths.first())?, read(paths.last())?);
    if good.request != bad.request {
        bail!(Advice::new(
            "the locks are not of the same request: the recipe was changed between them",
            "build an image by each, and name their directories instead"
        ));
    }
    Ok((good, bad))
}

/// What differs between two locks, in groups.
pub(super) fn groups(good: &Lock, bad: &Lock) -> Result<Vec<Group>> {
    let found = image_groups(&list_of(good), &list_of(bad));
    if found.is_empty() {
        bail!(Advice::new(
            "both locks have the same versions of all packages",
            "the test fails because of something else, or by chance: run it again with the same image"
        ));
    }
    Ok(found)
}

fn list_of(lock: &Lock) -> PackageList {
    let package = |package: &LockedPackage| installed(&package.name, &package.version, &package.filename);
    lock.packages.iter().map(package).collect()
}

/// A package of an image. Its source is the directory of its file in the archive's pool: `pool/main/l/linux/NAME.deb`.
fn installed(name: &str, version: &str, file: &str) -> InstalledPackage {
    let directory = file.rsplit('/').nth(1).filter(|_| file.starts_with("pool/"));
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
    /// Image files have none.
    external_refs: Option<serde::de::IgnoredAny>,
}

/// What differs between two image directories, in groups. Empty if one of them has no description any more.
pub(super) fn changed(before: &Path, after: &Path) -> Vec<Group> {
    match (described(before), described(after)) {
        (Some(before), Some(after)) => image_groups(&before, &after),
        _ => Vec::new(),
    }
}

fn described(image: &Path) -> Option<PackageList> {
    let text = std::fs::read(image.join(MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    let packages = manifest.packages.iter().filter(|package| package.external_refs.is_some());
    let each = packages.filter_map(|package| {
        Some(installed(&package.name, package.version_info.as_ref()?, package.package_file_name.as_ref()?))
    });
    Some(each.collect())
}

/// Names that tell images apart: the ends of their paths, as much of them as that takes.
pub(super) fn labels(images: &[PathBuf]) -> Vec<String> {
    let end = |path: &PathBuf, count: usize| {
        let parts: Vec<_> =
            path.components().rev().take(count).map(|part| part.as_os_str().to_string_lossy()).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join("/")
    };
    let deepest = images.iter().map(|path| path.components().count()).max().unwrap_or(1);
    let tells_apart = |count: &usize| {
        let names: BTreeSet<String> = images.iter().map(|path| end(path, *count)).collect();
        names.len() == images.len()
    };
    let count = (1..=deepest).find(tells_apart).unwrap_or(deepest);
    images.iter().map(|path| end(path, count)).collect()
}

/// Checks that images are there before the first is booted.
pub(super) fn check(images: &[PathBuf]) -> Result<()> {
    for image in images {
        if !image.join(crate::image::publish::SUMS).is_file() {
            bail!(Advice::new(
                format!("{} is neither a complete image nor a lock", image.display()),
                "give directories that `rocbed build` has made, such as images/rocm, or two locks of one recipe"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::document;
    use crate::lock::tests::{lock, package};

    fn in_pool(name: &str, version: &str, source: &str) -> LockedPackage {
        let filename = format!("pool/main/x/{source}/{name}_{version}_amd64.deb");
        LockedPackage { filename, ..package(name, version) }
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
        assert_eq!(words(&groups(&good, &bad)?), expected);
        assert!(groups(&good, &good).is_err());
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
    fn images_are_called_by_the_ends_of_their_paths() {
        let labels = |paths: &[&str]| labels(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(labels(&["/images/a", "/images/b"]), ["a", "b"]);
        assert_eq!(labels(&["/old/rocm", "/new/rocm"]), ["old/rocm", "new/rocm"]);
    }

    #[test]
    fn what_is_not_an_image_is_refused_before_the_first_boot() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = check(&[directory.path().to_owned()]).expect_err("it is empty");
        assert!(crate::error::report(&error).to_string().contains("two locks of one recipe"));
    }
}
