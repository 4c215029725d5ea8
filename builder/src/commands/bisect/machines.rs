//! Runs in virtual machines: each boots the image of a set, and runs the test as `rocbed boot --jobs` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use history::bisect::Upgraded;
use history::groups::Group;
use protocol::{GpuNeed, Job, JobList, JobResult, quoted};
use serde::Deserialize;
use sha256::Digest;
use tempfile::TempDir;

use super::command::{test_of, user_of};
use super::mixed::mixed;
use super::place::Machines;
use super::search::ATTEMPTS;
use super::tester::{Ended, Ran, Stop, Tester, packages};
use super::{child, contents, images};
use crate::context::Context;

/// The machines of a search.
pub(super) struct InMachines<'a> {
    context: &'a Context,
    machines: Machines,
    groups: Vec<Group>,
    /// Where candidate images and results are; it is removed at the end.
    scratch: TempDir,
    /// The file of the search; locks of candidate images are beside it.
    state: PathBuf,
    /// The set of which there is an image in `scratch`, and its lock.
    built: Option<(Upgraded, PathBuf)>,
    /// How often each set had no result.
    lost: BTreeMap<Upgraded, u32>,
}

/// How an image came about.
enum Image {
    At(PathBuf),
    /// It cannot be built, for this reason.
    NotBuilt(String),
    Stopped,
}

impl<'a> InMachines<'a> {
    /// `state` is the file of the search; there is to be room for an image beside it.
    pub(super) fn new(context: &'a Context, machines: Machines, groups: Vec<Group>, state: &Path) -> Result<Self> {
        let state = std::path::absolute(state).context("finding the directory of the search")?;
        let parent = state.parent().unwrap_or(Path::new("/"));
        let scratch = tempfile::Builder::new().prefix("rocbed-bisect.").tempdir_in(parent);
        let scratch = scratch.with_context(|| format!("making a directory in {}", parent.display()))?;
        for image in &machines.images {
            images::check_unchanged(&machines, image)?;
        }
        Ok(Self { context, machines, groups, scratch, state, built: None, lost: BTreeMap::new() })
    }

    /// What follows from a run without a result. A set between the two ends may be impossible, as a kernel that does not
    /// boot, or packages that cannot be installed together; but the mirror may be away, too, so that it is tried as often
    /// as a run is. An end was there once.
    fn without_result(&mut self, set: &Upgraded, reason: String) -> Ended {
        let count = self.lost.entry(set.clone()).or_default();
        *count += 1;
        let last = match self.machines.recipe {
            Some(_) => self.groups.len(),
            None => self.machines.images.len().saturating_sub(1),
        };
        let is_end = set.is_empty() || set.len() == last;
        if !is_end && *count >= ATTEMPTS { Ended::Impossible(reason) } else { Ended::Lost(reason) }
    }

    /// The image of a set: one of the user's, or a new one by a lock between the two.
    fn image(&mut self, set: &Upgraded, stop: &Stop) -> Result<Image> {
        let Some(recipe) = self.machines.recipe.clone() else {
            let at = self.machines.images.get(set.len()).context("the search has no image for this step")?;
            images::check_unchanged(&self.machines, at)?;
            return Ok(Image::At(at.clone()));
        };
        let directory = self.scratch.path().join("image");
        if self.built.as_ref().is_some_and(|(built, _)| built == set) {
            return Ok(Image::At(directory));
        }
        self.built = None;
        let lock = self.lock(&recipe, set)?;
        let output = child::run(self.context, &build_words(&self.machines, &recipe, &lock, &directory), stop)?;
        let Some(output) = output else { return Ok(Image::Stopped) };
        if !output.status.success() {
            return Ok(Image::NotBuilt(output.error()));
        }
        self.built = Some((set.clone(), lock));
        Ok(Image::At(directory))
    }

    /// The lock of a set: one of the user's, or a new one beside the search.
    fn lock(&self, recipe: &str, set: &Upgraded) -> Result<PathBuf> {
        let [first, .., last] = &self.machines.images[..] else { bail!("the search has no locks") };
        for lock in [first, last] {
            images::check_unchanged(&self.machines, lock)?;
        }
        let (good, bad) = contents::both_locks(&self.machines.images)?;
        let request = contents::request(recipe, &good, &bad)?;
        let is_last = set.len() == self.groups.len();
        if request.is_none() && (set.is_empty() || is_last) {
            return Ok(if is_last { last.clone() } else { first.clone() });
        }
        let mut lock = mixed(&good, &bad, &self.groups, set);
        lock.request = request.unwrap_or(lock.request);
        let path = lock_path(&self.state, &self.machines, set);
        lock.write(&path).context("writing the lock of an image")?;
        Ok(path)
    }
}

/// The lock of a set, beside the file of its search. It is named by the numbers that upgraded groups have in the plan, and by
/// the two locks of the search, so that a search never writes over what an earlier one has left, which may be one of its own
/// ends: `rocbed-bisect.2+3-1a2b3c4d.lock`.
fn lock_path(state: &Path, machines: &Machines, set: &Upgraded) -> PathBuf {
    let numbers = set.iter().map(|group| (group + 1).to_string()).collect::<Vec<_>>().join("+");
    let digests: String = machines.digests.iter().map(ToString::to_string).collect();
    let pair = Digest::of(digests.as_bytes()).to_string();
    let pair = pair.get(..SHORT).unwrap_or(&pair);
    state.with_extension(format!("{}-{pair}.lock", if set.is_empty() { "none" } else { &numbers }))
}

/// Characters of a digest in the name of a lock.
const SHORT: usize = 8;

/// The words after `rocbed` that build an image.
fn build_words(machines: &Machines, recipe: &str, lock: &Path, to: &Path) -> Vec<String> {
    let mut words = vec!["build".to_owned(), recipe.to_owned(), "--locked".to_owned()];
    words.push(format!("--lock={}", lock.display()));
    words.push(format!("--output={}", to.display()));
    words.extend(machines.build.iter().cloned());
    words
}

/// The words after `rocbed` that boot an image and run the jobs of a list.
fn boot_words(machines: &Machines, job: &Job, image: &Path, list: &Path, results: &Path) -> Vec<String> {
    let mut words = vec!["boot".to_owned(), image.display().to_string(), "--json".to_owned()];
    words.push(format!("--jobs={}", list.display()));
    words.push(format!("--results={}", results.display()));
    words.extend(machines.boot.iter().cloned());
    if let GpuNeed::Targets(targets) = &job.gpu
        && !machines.boot.iter().any(|word| word.starts_with("--gpu"))
    {
        words.extend(targets.first().map(|target| format!("--gpu={target}")));
    }
    words
}

/// The command that repeats a run, for people. `lock` is that of the image, if it was built for the search.
fn reproduce(machines: &Machines, job: &Job, set: &Upgraded, lock: Option<&Path>) -> String {
    let boot = |image: &Path| {
        let words = boot_words(machines, job, image, Path::new("JOBS.toml"), Path::new("results"));
        let shown = words.iter().filter(|word| *word != "--json").map(|word| quoted(word));
        format!("rocbed {}", shown.collect::<Vec<_>>().join(" "))
    };
    match (&machines.recipe, lock) {
        (Some(recipe), Some(lock)) => {
            let build = build_words(machines, recipe, lock, Path::new("IMAGE"));
            let build = build.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            format!("rocbed {build} && {}", boot(Path::new("IMAGE")))
        }
        _ => boot(machines.images.get(set.len()).map_or(Path::new("IMAGE"), PathBuf::as_path)),
    }
}

/// A result as `rocbed boot --json` prints it.
#[derive(Debug, Deserialize)]
struct Printed {
    summary: String,
    #[serde(default)]
    result: Option<JobResult>,
}

impl Tester for InMachines<'_> {
    fn begin(&mut self, _: &Job, _: Option<&str>) -> Result<Option<String>> {
        Ok(None)
    }

    fn finish(&mut self, job: &Job, set: &Upgraded, _: Option<&str>, stop: &Stop) -> Result<Ended> {
        let image = match self.image(set, stop)? {
            Image::At(image) => image,
            Image::Stopped => return Ok(Ended::Stopped),
            Image::NotBuilt(reason) => {
                return Ok(self.without_result(set, format!("its image cannot be built: {reason}")));
            }
        };
        let run = self.scratch.path().join("run");
        if run.exists() {
            fs::remove_dir_all(&run).with_context(|| format!("removing {}", run.display()))?;
        }
        fs::create_dir(&run).with_context(|| format!("making {}", run.display()))?;
        let list = run.join("jobs.json");
        let jobs = JobList { version: protocol::VERSION, job: vec![job.clone()] };
        fs::write(&list, serde_json::to_vec(&jobs).context("writing down the job")?)
            .with_context(|| format!("writing {}", list.display()))?;
        let words = boot_words(&self.machines, job, &image, &list, &run.join("results"));
        let Some(output) = child::run(self.context, &words, stop)? else { return Ok(Ended::Stopped) };
        let printed: Vec<Printed> = serde_json::from_str(&output.stdout).unwrap_or_default();
        let result = match printed.into_iter().next() {
            Some(Printed { result: Some(result), .. }) => result,
            Some(Printed { summary, .. }) => {
                return Ok(self.without_result(set, format!("the job has no result: {summary}")));
            }
            None => {
                let reason = format!("`rocbed boot` ended with {}: {}", output.status, output.reason_of_machine());
                return Ok(self.without_result(set, reason));
            }
        };
        let lists = result
            .installed
            .resolve()
            .with_context(|| format!("reading the packages of a run with {}", image.display()))?;
        Ok(Ended::Ran(Box::new(Ran {
            job: None,
            machine: result.machine.name.clone(),
            packages: packages(&result, &test_of(job), user_of(job), &lists),
            reproduce: reproduce(&self.machines, job, set, self.built.as_ref().map(|(_, lock)| lock.as_path())),
            result,
        })))
    }
}

#[cfg(test)]
#[path = "machines/tests.rs"]
mod tests;
