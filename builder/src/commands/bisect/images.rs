//! The images of a search, and how they are booted.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use advice::{Advice, AtPath as _, WithHelp as _};
use anyhow::{Context as _, Result, bail, ensure};
use history::Environment;
use jiff::Timestamp;
use protocol::{Job, Source as JobSource, quoted};
use sha256::Digest;

use super::place::Machines;
use super::state::{End, Observed, Question};
use crate::cmdline::Bisect;
use crate::context::Context;
use crate::image::publish::SUMS;

/// Option of `rocbed boot` for simulated GPUs.
const GPU: &str = "--gpu=";
/// Target of runs that need no GPU.
const NO_TARGET: &str = "none";

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
    let digests = images.iter().map(|image| digest_at_start(image)).collect::<Result<Vec<_>>>()?;
    Ok(Machines { images, digests, recipe, boot, build })
}

/// What tells an image from another one in its place: the digest of a lock, or of the digests of an image's files.
fn digest(image: &Path) -> Result<Digest> {
    let path = if is_lock(image) { image.to_owned() } else { image.join(SUMS) };
    let read = || -> std::io::Result<Digest> { Ok(Digest::of_reader(File::open(&path)?)?.0) };
    read().with_context(|| format!("reading {}", path.display()))
}

/// The same for an image of a search that begins, whose lock may have yet to be made.
fn digest_at_start(image: &Path) -> Result<Digest> {
    if is_lock(image) && !image.exists() {
        return Err(no_lock(image).into());
    }
    digest(image)
}

/// The error for a lock that is not there.
pub(super) fn no_lock(path: &Path) -> Advice {
    Advice::new(
        format!("there is no lock {}", path.display()),
        format!(
            "`rocbed lock RECIPE --lock {}` makes one of the archive as it is now; keep a copy of the lock beside each image",
            quoted(&path.display().to_string())
        ),
    )
}

/// Checks that an image is the one with which the search began: answers about two images under one name decide nothing.
pub(super) fn check_unchanged(machines: &Machines, image: &Path) -> Result<()> {
    let mut pinned = machines.images.iter().zip(&machines.digests);
    let Some((_, pinned)) = pinned.find(|(path, _)| *path == image) else { return Ok(()) };
    let changed = || format!("{} is not what it was when the search began", image.display());
    let help = "put back what was there, or begin a new search with another file as --state";
    let is_same = digest(image).with_context(changed).help(help)? == *pinned;
    ensure!(is_same, Advice::new(changed(), help));
    Ok(())
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
        let tree = Path::new(what);
        let tree = tree.canonicalize().at_path("finding the source tree", tree)?;
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

    #[test]
    fn a_lock_that_is_not_there_is_told_with_how_to_make_it() {
        let error =
            crate::error::report(&digest_at_start(Path::new("/nonexistent/my good.lock")).expect_err("no lock"));
        assert_eq!(
            error.to_string(),
            "there is no lock /nonexistent/my good.lock\n  help: `rocbed lock RECIPE --lock '/nonexistent/my good.lock'` makes one \
             of the archive as it is now; keep a copy of the lock beside each image"
        );
    }

    #[test]
    fn an_image_that_was_built_anew_is_another_one() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (image, lock) = (directory.path().join("a"), directory.path().join("b.lock"));
        std::fs::create_dir(&image)?;
        std::fs::write(image.join(SUMS), "1  root.img")?;
        std::fs::write(&lock, "version = 1")?;
        let images = vec![image.clone(), lock.clone()];
        let digests = images.iter().map(|image| digest(image)).collect::<Result<Vec<_>>>()?;
        let machines = Machines { images, digests, recipe: None, boot: Vec::new(), build: Vec::new() };
        check_unchanged(&machines, &image)?;
        check_unchanged(&machines, &lock)?;
        for (path, changed) in [(image.join(SUMS), &image), (lock.clone(), &lock)] {
            std::fs::write(path, "2")?;
            let error = check_unchanged(&machines, changed).expect_err("it was changed");
            assert!(crate::error::report(&error).to_string().contains("begin a new search"));
        }
        std::fs::remove_dir_all(&image)?;
        let error = crate::error::report(&check_unchanged(&machines, &image).expect_err("it is gone")).to_string();
        assert!(error.contains("begin a new search") && error.contains("No such file"), "{error}");
        // A new lock would be another one.
        std::fs::remove_file(&lock)?;
        let error = crate::error::report(&check_unchanged(&machines, &lock).expect_err("it is gone")).to_string();
        assert!(error.contains("put back what was there") && !error.contains("rocbed lock"), "{error}");
        Ok(())
    }
}
