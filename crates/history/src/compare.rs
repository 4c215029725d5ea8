//! [`compare`]: what differs between two results of one package's tests; [`compared`]: the rule for one test.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::{Compared, ComparedTest, Comparison, TestRun};
use protocol::{InstalledError, JobResult, NO_GPU, PackageList, Run, RunAs, TestResult, Verdict};
use sha256::Digest;

use crate::environment::{Environment, differences};
use crate::question::{Seen, verdict_of};

/// How two outcomes differ; `None` if they say nothing.
pub fn compared(old: Option<Seen>, new: Option<Seen>) -> Option<Compared> {
    use Seen::{Fail, Pass, Skip, TimedOut};
    let is_bad = |seen| matches!(seen, Some(Fail | TimedOut));
    let runs = |seen| matches!(seen, Some(Pass | Fail | TimedOut));
    Some(match (old, new) {
        (Some(Pass), new) if is_bad(new) => Compared::Regressed,
        (old, Some(Pass)) if is_bad(old) => Compared::Fixed,
        (old, new) if is_bad(old) && is_bad(new) => Compared::StillFailing,
        (Some(Pass), Some(Pass)) => Compared::StillPassing,
        (old, None | Some(Skip)) if runs(old) => Compared::Stopped,
        (None | Some(Skip), new) if runs(new) => Compared::Added,
        _ => return None,
    })
}

/// Compares two results without a hub, as the hub compares those of two jobs. Test cases are not part of a result.
///
/// # Errors
/// If the packages of a result cannot be read.
pub fn compare(before: &JobResult, after: &JobResult) -> Result<Comparison, InstalledError> {
    let (old, new) = (tests(before), tests(after));
    let (old_lists, new_lists) = (before.installed.resolve()?, after.installed.resolve()?);
    let mut comparison = Comparison::default();
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (one, other) = (old.get(key), new.get(key));
        let is_known =
            (one.is_some() || is_without(before, key.0, key.1)) && (other.is_some() || is_without(after, key.0, key.1));
        if let Some(compared) = compared(one.map(|ran| ran.seen), other.map(|ran| ran.seen)).filter(|_| is_known) {
            comparison.tests.push(ComparedTest {
                package: after.job.source.name().to_owned(),
                test: key.1.to_owned(),
                run_as: Some(key.0),
                target: target(if other.is_some() { after } else { before }),
                compared,
                before: one.map(|ran| ran.described(before)),
                after: other.map(|ran| ran.described(after)),
            });
        }
        if let (true, Some(one), Some(other)) = (comparison.changed.is_empty(), one, other) {
            comparison.changed =
                differences(&one.environment(before, &old_lists), &other.environment(after, &new_lists));
        }
    }
    comparison.tests.sort_by_key(|test| test.compared);
    Ok(comparison)
}

/// Whether a result says that there is no such test: all were run, and it is none of them. Where the testbed or the GPU failed,
/// or the time was over, it may be one that was not reached.
pub fn is_without(result: &JobResult, run_as: RunAs, test: &str) -> bool {
    let ran_all = matches!(result.verdict, Verdict::Pass | Verdict::Fail | Verdict::Neutral);
    ran_all && !result.tests().any(|(run, found)| run.run_as == run_as && found.name == test)
}

/// A test in a result, or the whole run.
struct Ran<'a> {
    seen: Seen,
    run: Option<&'a Run>,
    installed: Option<Digest>,
}

/// All tests of a result by user and name; the name of the whole run is empty.
fn tests(result: &JobResult) -> BTreeMap<(RunAs, &str), Ran<'_>> {
    let mut found = BTreeMap::new();
    for run_as in &result.job.run_as {
        let run = result.runs.iter().find(|run| run.run_as == *run_as);
        let verdict = verdict_of(result, run);
        let tests: &[TestResult] = run.map(|run| &run.tests[..]).unwrap_or_default();
        let mut add = |name, seen, installed| found.insert((*run_as, name), Ran { seen, run, installed });
        add("", Seen::from(verdict), tests.iter().rev().find_map(|test| test.installed));
        // `*` is about all tests, and so is the whole run.
        for test in tests.iter().filter(|test| test.name != "*") {
            add(&test.name, Seen::of_test(test, verdict), test.installed);
        }
    }
    found
}

impl Ran<'_> {
    fn described(&self, result: &JobResult) -> TestRun {
        let tests = || Some(&self.run?.package.as_ref()?.version);
        let version = self.run.and_then(|run| run.tested.as_ref()).or_else(tests);
        TestRun {
            job: result.job.id.clone(),
            at: result.started,
            outcome: self.seen.name().to_owned(),
            version: version.cloned(),
            worker: result.machine.name.clone(),
            kernel: result.machine.kernel.clone(),
            confirms: None,
        }
    }

    fn environment(&self, result: &JobResult, lists: &BTreeMap<Digest, PackageList>) -> Environment {
        let list = self.installed.and_then(|digest| lists.get(&digest));
        let owned = |list: &PackageList| {
            list.sources().into_iter().map(|(source, version)| (source.to_owned(), version)).collect()
        };
        Environment { packages: list.map(owned), ..Environment::of(result, &result.machine.name) }
    }
}

/// The targets of a result in one text.
fn target(result: &JobResult) -> String {
    let targets = result.targets();
    if targets.is_empty() { NO_GPU.to_owned() } else { targets.join(", ") }
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
