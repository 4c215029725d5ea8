//! The two ends of a search: a result in which the test passed, and one in which it failed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, bail};
use client::Client;
use history::bisect::Answer;
use history::{Environment, Judged, judge};
use protocol::{GpuNeed, Job, JobResult, PackageList, RunAs};

use super::state::{End, Observed, Question};
use crate::hubs::HubAccess;

/// A result with the packages of its tests.
pub(super) struct Loaded {
    name: String,
    /// What people call the machine.
    machine: String,
    result: JobResult,
    lists: BTreeMap<sha256::Digest, PackageList>,
}

/// Whether a word names a file, and not a job of the hub.
pub(super) fn is_file(word: &str) -> bool {
    word.contains('/') || word.ends_with(".json") || word.ends_with(bundle::SUFFIX)
}

/// Reads a result from a file: a bundle, or its `result.json`.
pub(super) fn of_file(word: &str) -> Result<Loaded> {
    let path = Path::new(word);
    let read = || -> Result<JobResult> {
        if word.ends_with(bundle::SUFFIX) {
            return Ok(bundle::read(File::open(path)?)?.result);
        }
        Ok(JobResult::parse(&fs::read(path)?)?)
    };
    let result = read().at_path("reading the result", path)?;
    let lists = result.installed.resolve().with_context(|| format!("reading the packages of {word}"))?;
    Ok(Loaded { name: word.to_owned(), machine: result.machine.name.clone(), result, lists })
}

/// Fetches a result from a hub.
pub(super) fn of_hub(place: &HubAccess, client: &Client, job: &str) -> Result<Loaded> {
    let detail = client.result(job).map_err(|error| place.explain(error))?;
    let packages = client.packages(job).map_err(|error| place.explain(error))?;
    let mut lists = BTreeMap::new();
    for test in packages.tests.iter().filter(|test| !test.packages.is_empty()) {
        let text: String = test.packages.iter().map(|line| format!("{line}\n")).collect();
        let list = PackageList::parse(&text).with_context(|| format!("reading the packages of {job}"))?;
        lists.insert(test.sha256, list);
    }
    // The job as its owner added it.
    let result = JobResult { job: client.job(job).map_err(|error| place.explain(error))?.job, ..detail.result };
    Ok(Loaded { name: job.to_owned(), machine: detail.info.worker_name().to_owned(), result, lists })
}

impl Loaded {
    /// The list of packages with which a test ran.
    fn list(&self, test: &str, run_as: RunAs) -> Result<&PackageList> {
        let runs = || self.result.tests().filter(|(run, found)| run.run_as == run_as && found.name == test);
        let digest = runs().find_map(|(_, found)| found.installed.as_ref());
        let list = digest.and_then(|digest| self.lists.get(digest));
        Ok(list.ok_or_else(|| {
            Advice::new(
                format!("it is not known which packages were installed when {test} ran in {}", self.name),
                "take results of this version of rocbed, which records them",
            )
        })?)
    }

    fn end(&self, test: &str, run_as: RunAs) -> Result<End> {
        let environment = Environment::of(&self.result, &self.machine);
        let mut end = End::new(self.name.clone(), self.result.started, self.result.seconds(), environment)
            .with_packages(self.list(test, run_as)?);
        let run = self.result.runs.iter().find(|run| run.run_as == run_as);
        end.archives = run.map(|run| run.archives.clone()).unwrap_or_default();
        Ok(end)
    }

    /// The targets of the GPUs that were in the testbed.
    fn targets(&self) -> Vec<gpu::Target> {
        let mut targets: Vec<gpu::Target> = self.result.used_gpus().map(|gpu| gpu.target.without_features()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }
}

/// The tests that passed in one result and failed in the other, with the user that ran them.
fn broken(good: &Loaded, bad: &Loaded) -> Vec<(String, RunAs)> {
    let mut found = Vec::new();
    for (run, test) in bad.result.tests() {
        let one = |loaded: &Loaded| {
            let runs = loaded.result.runs.iter().filter(|other| other.run_as == run.run_as).cloned().collect();
            judge(&JobResult { runs, ..loaded.result.clone() }, &test.name)
        };
        if one(bad) == Judged::Answer(Answer::Bad) && one(good) == Judged::Answer(Answer::Good) {
            found.push((test.name.clone(), run.run_as));
        }
    }
    found
}

/// What is asked about two results. Returns the names of other tests that broke as well.
pub(super) fn question(good: &Loaded, bad: &Loaded, wanted: Option<&str>) -> Result<(Question, Vec<String>)> {
    if good.result.job.source != bad.result.job.source {
        bail!(
            "{} tested {}, and {} tested {}: a search needs two results of one package",
            good.name,
            good.result.job.source,
            bad.name,
            bad.result.job.source
        );
    }
    let mut found = broken(good, bad);
    if let Some(wanted) = wanted {
        found.retain(|(test, _)| test == wanted);
    }
    if found.is_empty() {
        let what = wanted.map_or_else(|| "no test".to_owned(), |test| format!("the test {test} has not"));
        let what = if wanted.is_some() { what } else { format!("{what} has") };
        bail!(Advice::new(
            format!("{what} passed in {} and failed in {}", good.name, bad.name),
            "the result in which it passed comes first; `rocbed results compare GOOD BAD` shows both"
        ));
    }
    let (test, run_as) = found.remove(0);
    let targets = bad.targets();
    let base = &bad.result.job;
    let gpu = match &base.gpu {
        GpuNeed::None | GpuNeed::IfThere => base.gpu.clone(),
        _ if targets.is_empty() => base.gpu.clone(),
        _ => GpuNeed::Targets(targets.clone()),
    };
    let job = Job { run_as: vec![run_as], tests: vec![test.clone()], gpu, ..base.clone() };
    let others = found.into_iter().map(|(name, _)| name).filter(|name| *name != test).collect();
    let question = Question {
        good: good.end(&test, run_as)?,
        bad: bad.end(&test, run_as)?,
        target: targets.first().map(ToString::to_string),
        job,
        observed: Observed { failed: 1, passed: 0 },
        test,
    };
    Ok((question, others))
}
