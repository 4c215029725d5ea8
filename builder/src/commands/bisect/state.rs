//! The search as it is kept in a file: what is asked, what was answered, and which run is under way.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use history::Environment;
use history::bisect::{Answer, Bisect, Step, Upgraded};
use history::groups::{Deviation, Group, Grouped};
use jiff::Timestamp;
use protocol::{ArchiveState, Job, PackageList, SourceChange, Verdict};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::origins::Origin;
use super::place::Place;

/// Version of the format.
const VERSION: u32 = 1;

/// A search.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct State {
    version: u32,
    /// The test that fails.
    pub(super) test: String,
    /// The target on which it fails, if it needs a GPU.
    pub(super) target: Option<String>,
    /// The run that passed.
    pub(super) good: End,
    /// The run that failed.
    pub(super) bad: End,
    /// Where runs are made.
    pub(super) place: Place,
    /// The job, without versions of packages.
    pub(super) job: Job,
    /// The packages that differ.
    pub(super) groups: Vec<Group>,
    /// Where the versions of the groups come from; empty if that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) versions: Vec<Origin>,
    /// For a search by date: the states of the archive, that of the run that passed first. Then there are no groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dates: Vec<String>,
    /// For a search over images in a row: their names, that of the good one first. Then there are no groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<String>,
    /// What differs and takes effect at the next boot only.
    pub(super) at_boot: Vec<SourceChange>,
    /// How often the test failed and passed since it fails, before this search.
    pub(super) observed: Observed,
    /// The answers.
    pub(super) search: Bisect,
    /// All runs, in their order.
    pub(super) runs: Vec<Done>,
    /// The run that is under way.
    pub(super) waiting: Option<Waiting>,
}

/// A run with which the search began.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct End {
    /// Its job, or its file.
    pub(super) name: String,
    pub(super) started: Timestamp,
    pub(super) seconds: f64,
    pub(super) environment: Environment,
    #[serde(default)]
    pub(super) archives: Vec<ArchiveState>,
    /// The packages that were installed while the test ran, as lines of a package list.
    packages: Vec<String>,
}

/// How often a test failed and passed where it can fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Observed {
    pub(super) failed: u32,
    pub(super) passed: u32,
}

/// A run that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Done {
    /// The upgraded groups.
    pub(super) upgraded: Upgraded,
    /// Its job at the hub; missing for a run on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    pub(super) verdict: Verdict,
    /// What it says; missing if the GPU or the testbed failed, or the time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Answer>,
    pub(super) seconds: f64,
    /// The environment, without packages.
    pub(super) environment: Environment,
    /// In a search by date: the packages that were installed, as lines of a package list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) packages: Vec<String>,
    /// Packages that were not installed as they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deviations: Vec<Deviation>,
    /// Why it says nothing, or why it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// The command that repeats it.
    pub(super) reproduce: String,
}

/// A run that is under way at a hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Waiting {
    pub(super) upgraded: Upgraded,
    pub(super) job: String,
}

impl End {
    pub(super) fn new(name: String, started: Timestamp, seconds: f64, environment: Environment) -> Self {
        Self { name, started, seconds, environment, archives: Vec::new(), packages: Vec::new() }
    }

    pub(super) fn with_packages(mut self, list: &PackageList) -> Self {
        self.packages = list.packages().map(ToString::to_string).collect();
        self
    }

    /// The packages that were installed.
    pub(super) fn list(&self) -> Result<PackageList> {
        list(&self.packages).with_context(|| format!("reading the packages of {}", self.name))
    }
}

/// The list of these lines.
pub(super) fn list(lines: &[String]) -> Result<PackageList, protocol::InstalledError> {
    PackageList::parse(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// What a search is about.
pub(super) struct Question {
    pub(super) test: String,
    pub(super) target: Option<String>,
    pub(super) good: End,
    pub(super) bad: End,
    pub(super) job: Job,
    pub(super) observed: Observed,
}

impl State {
    /// A new search by date.
    pub(super) fn of_dates(question: Question, place: Place, dates: Vec<String>, repeat: u32) -> Self {
        let search = Bisect::of_steps(dates.len().saturating_sub(1), repeat);
        Self { dates, search, ..Self::new(question, place, Grouped::default(), repeat) }
    }

    /// A new search over images in a row, by their names.
    pub(super) fn of_images(question: Question, place: Place, images: Vec<String>, repeat: u32) -> Self {
        let search = Bisect::of_steps(images.len().saturating_sub(1), repeat);
        Self { images, search, ..Self::new(question, place, Grouped::default(), repeat) }
    }

    /// A new search by package.
    pub(super) fn new(question: Question, place: Place, grouped: Grouped, repeat: u32) -> Self {
        let Question { test, target, good, bad, job, observed } = question;
        Self {
            version: VERSION,
            test,
            target,
            good,
            bad,
            place,
            job,
            search: Bisect::new(grouped.groups.len(), repeat),
            groups: grouped.groups,
            versions: Vec::new(),
            dates: Vec::new(),
            images: Vec::new(),
            at_boot: grouped.at_boot,
            observed,
            runs: Vec::new(),
            waiting: None,
        }
    }

    /// Whether it is for a step in a row of states of the archive or of images, and not for groups of packages.
    pub(super) fn is_of_steps(&self) -> bool {
        !self.dates.is_empty() || !self.images.is_empty()
    }

    /// Whether images are booted for its runs.
    pub(super) fn is_of_images(&self) -> bool {
        matches!(self.place, Place::Machines(_))
    }

    /// How many things the search can upgrade.
    pub(super) fn steps(&self) -> usize {
        let row = self.dates.len().max(self.images.len());
        if self.is_of_steps() { row.saturating_sub(1) } else { self.groups.len() }
    }

    /// The archive's date for a set, in a search by date.
    pub(super) fn date(&self, upgraded: &Upgraded) -> Option<&str> {
        self.dates.get(upgraded.len()).map(String::as_str)
    }

    /// The image for a set, in a search over images in a row.
    pub(super) fn image(&self, upgraded: &Upgraded) -> Option<&str> {
        self.images.get(upgraded.len()).map(String::as_str)
    }

    /// Seconds that a run takes, from those that there were.
    pub(super) fn seconds(&self) -> f64 {
        let known: Vec<f64> = if self.runs.is_empty() {
            vec![self.good.seconds, self.bad.seconds]
        } else {
            self.runs.iter().map(|run| run.seconds).collect()
        };
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// Reads a search.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading the search in {}", path.display())),
        };
        let state: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("reading the search in {}", path.display()))
            .help("is it of another version of rocbed? --state names another file")?;
        let in_range = |set: &Upgraded| set.iter().all(|group| *group < state.steps());
        let is_sound = state.version == VERSION
            && state.search.groups == state.steps()
            && state.search.answers.keys().all(in_range)
            && state.runs.iter().all(|run| in_range(&run.upgraded));
        if !is_sound {
            bail!(Advice::new(
                format!("{} is not a search of this version of rocbed", path.display()),
                "begin a new one, with --state naming another file"
            ));
        }
        Ok(Some(state))
    }

    /// Writes the search; the old content stays if that fails.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing down the search")?;
        // The directory of a bare name is this one.
        let path = std::path::absolute(path).context("finding the directory of the search")?;
        durable::replace(&path, &text, durable::Readers::Everyone)
            .with_context(|| format!("keeping the search in {}", path.display()))
    }

    /// Whether it has come to its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.search.next(), Step::Done(_))
    }
}

/// Holds a search, so that no other process goes on with it at the same time.
pub(super) struct Hold(#[allow(dead_code)] File);

/// Holds the search in a file.
pub(super) fn hold(path: &Path) -> Result<Hold> {
    // Not `.lock`, which is what locks of recipes are called; and never truncated, whatever has the name.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".busy");
    let lock = path.with_file_name(name);
    let file = File::options().create(true).write(true).truncate(false).open(&lock);
    let file = file.with_context(|| format!("making {}", lock.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Hold(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(Advice::new(
            format!("another rocbed works at the search in {}", path.display()),
            "wait for its end, or name another file with --state"
        )),
        Err(error) => Err(error).with_context(|| format!("locking {}", lock.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_held_once_and_leaves_locks_of_recipes_alone() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (state, lock) = (directory.path().join("good.json"), directory.path().join("good.lock"));
        fs::write(&lock, "version = 1")?;
        let held = hold(&state)?;
        let error = hold(&state).err().context("it is held")?;
        assert!(error.to_string().contains("another rocbed works at the search"), "{error}");
        drop(held);
        drop(hold(&state)?);
        assert_eq!(fs::read_to_string(&lock)?, "version = 1");
        Ok(())
    }
}
