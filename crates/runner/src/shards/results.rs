//! Joins the results of a job's parts.

use std::collections::BTreeSet;

use protocol::{
    Cases, InstalledLists, Job, JobResult, PartResult, Run, RunAs, TestOutcome, TestResult, Verdict, part_name,
};
use sha256::Digest;

use super::cases::{self, JoinedReport, Split, listed};
use super::reports::PartReports;

/// Most warnings, and lines of the kernel's log, that are taken from parts.
const MOST_LINES: usize = 200;

/// The result of a part.
#[derive(Debug)]
pub struct Part {
    /// Id of the part's job.
    pub id: String,
    /// Its result.
    pub result: JobResult,
    /// SHA-256 of its bundle.
    pub bundle: Digest,
    /// Its reports; `None` if it has no `junit.xml` that can be read.
    pub reports: Option<PartReports>,
}

/// The joined result of a job.
#[derive(Debug)]
pub struct Joined {
    /// The result.
    pub result: JobResult,
    /// Which part has the worst verdict, the first if there are several: an index.
    pub worst: usize,
    /// Why the result does not stand for the package, for people: its parts were not of the same thing, or have passed
    /// without being the whole.
    pub not_counted: Option<String>,
    /// The reports of all parts.
    pub reports: Vec<JoinedReport>,
}

/// Joins the results of all parts of a job, in the order of their indices. `None` if there is none.
pub fn join(job: &Job, parts: &[Part]) -> Option<Joined> {
    let verdict = Verdict::worst(parts.iter().map(|part| part.result.verdict));
    let worst = parts.iter().position(|part| part.result.verdict == verdict)?;
    let first = parts.get(worst)?;
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let reports: Vec<Option<&PartReports>> = parts.iter().map(|part| part.reports.as_ref()).collect();
    let cases = cases::join(&reports);
    let runs: Vec<Run> = job.run_as.iter().filter_map(|run_as| run(*run_as, parts, &cases.reports)).collect();
    let mut warnings = cases.notes;
    warnings.extend(without_reports(&runs, &cases.reports, of));
    let is_good = matches!(verdict, Verdict::Pass | Verdict::Neutral);
    let incomplete = Some(cases.gaps.join("; ")).filter(|gaps| !gaps.is_empty());
    let not_counted = differences(parts).or_else(|| {
        incomplete.clone().filter(|_| is_good).map(|gaps| format!("its parts are not known to be all: {gaps}"))
    });
    match &not_counted {
        Some(why) => warnings.push(format!("is not counted, as {why}")),
        None => warnings.extend(incomplete.map(|gaps| format!("the parts are not complete: {gaps}"))),
    }
    warnings.extend(lines(parts, |result| result.warnings.iter()));
    let result = JobResult {
        version: protocol::VERSION,
        job: job.clone(),
        verdict,
        simulated: parts.iter().any(|part| part.result.simulated),
        started: parts.iter().map(|part| part.result.started).min()?,
        finished: parts.iter().map(|part| part.result.finished).max()?,
        runs,
        gpus: first.result.gpus.clone(),
        processors: first.result.processors.clone(),
        // Known only if it is of each part.
        gpu_energy: parts.iter().map(|part| part.result.gpu_energy).sum(),
        machine: first.result.machine.clone(),
        warnings,
        problem: problem(parts, verdict),
        kernel_log: lines(parts, |result| result.kernel_log.iter()),
        installed: InstalledLists::default(),
        parts: (0..)
            .zip(parts)
            .map(|(index, part)| PartResult {
                job: part.id.clone(),
                index,
                verdict: part.result.verdict,
                machine: part.result.machine.name.clone(),
                gpus: part.result.gpus.clone(),
                seconds: part.result.seconds(),
                bundle: part.bundle,
            })
            .collect(),
    };
    Some(Joined { result, worst, not_counted, reports: cases.reports })
}

/// The problem of the first part with this verdict that has one.
fn problem(parts: &[Part], verdict: Verdict) -> Option<String> {
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let mut with = (0..).zip(parts).filter(|(_, part)| part.result.verdict == verdict);
    with.find_map(|(index, part)| Some(format!("{}: {}", part_name(index, of), part.result.problem.as_ref()?)))
}

/// Lines of all parts, each once, with the part if only one has it.
fn lines<'a, L: Iterator<Item = &'a String>>(parts: &'a [Part], of_part: impl Fn(&'a JobResult) -> L) -> Vec<String> {
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let sets: Vec<BTreeSet<&String>> = parts.iter().map(|part| of_part(&part.result).collect()).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (index, part) in (0..).zip(parts) {
        for line in of_part(&part.result).filter(|line| seen.insert(*line)) {
            let is_shared = sets.iter().filter(|set| set.contains(line)).count() > 1;
            found.push(if is_shared { line.clone() } else { format!("{}: {line}", part_name(index, of)) });
        }
    }
    let more = found.len().saturating_sub(MOST_LINES);
    found.truncate(MOST_LINES);
    if more > 0 {
        found.push(format!("{more} more are in the results of the parts"));
    }
    found
}

/// Why the results of parts are not of one thing.
fn differences(parts: &[Part]) -> Option<String> {
    let each = |of: &dyn Fn(&JobResult) -> String| -> BTreeSet<String> {
        parts.iter().map(|part| of(&part.result)).filter(|text| !text.is_empty()).collect()
    };
    let versions = each(&|result| result.tested_version().unwrap_or_default().to_owned());
    let targets = each(&|result| {
        let targets = result.targets();
        let simulated = if result.simulated || result.machine.gpus.simulated { " (simulated)" } else { "" };
        match targets.len() {
            0 => "no GPU".to_owned(),
            _ => format!("{}{simulated}", targets.join(" and ")),
        }
    });
    if targets.len() > 1 {
        return Some(format!("its parts ran on different GPUs: {}", listed(targets.into_iter())));
    }
    (versions.len() > 1).then(|| format!("its parts tested different versions: {}", listed(versions.into_iter())))
}

/// Joins the runs of one user; `None` if no part has one.
fn run(run_as: RunAs, parts: &[Part], reports: &[JoinedReport]) -> Option<Run> {
    let find = |part: &'_ Part| part.result.runs.iter().position(|run| run.run_as == run_as);
    let runs: Vec<Option<&Run>> =
        parts.iter().map(|part| find(part).and_then(|place| part.result.runs.get(place))).collect();
    let there = || runs.iter().flatten().copied();
    let verdict = Verdict::worst(there().map(|run| run.verdict));
    let worst = there().find(|run| run.verdict == verdict)?;
    let mut names: Vec<&str> = Vec::new();
    let mut known = BTreeSet::new();
    for test in there().flat_map(|run| &run.tests) {
        if known.insert(test.name.as_str()) {
            names.push(&test.name);
        }
    }
    let tests = names.into_iter().filter_map(|name| test(name, &runs, &run_as.to_string(), reports)).collect();
    Some(Run {
        run_as,
        verdict,
        exit_status: worst.exit_status,
        seconds: there().map(|run| run.seconds).sum(),
        directory: worst.directory.clone(),
        package: there().find_map(|run| run.package.clone()),
        tested: there().find_map(|run| run.tested.clone()),
        archives: there().find(|run| !run.archives.is_empty()).map(|run| run.archives.clone()).unwrap_or_default(),
        tests,
    })
}

/// Joins a test. One that has no outcome in some part is unfinished, unless it failed in another.
fn test(name: &str, runs: &[Option<&Run>], run_as: &str, reports: &[JoinedReport]) -> Option<TestResult> {
    let of = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    let found: Vec<(u32, Option<&TestResult>)> = (0..)
        .zip(runs)
        .map(|(index, run)| (index, run.and_then(|run| run.tests.iter().find(|test| test.name == name))))
        .collect();
    let (_, worst) = *found
        .iter()
        .filter(|(_, test)| test.is_some())
        .max_by_key(|(index, test)| (test.map(|test| badness(test.outcome)), std::cmp::Reverse(*index)))?;
    let worst = worst?;
    let mut outcome = worst.outcome;
    let told = found.iter().filter_map(|(index, test)| Some((*index, (*test)?)));
    let told = told.filter(|(_, test)| test.outcome == outcome && !test.reason.is_empty());
    let mut reasons: Vec<String> =
        told.map(|(index, test)| format!("{}: {}", part_name(index, of), test.reason)).collect();
    let missing: Vec<String> =
        found.iter().filter(|(_, test)| test.is_none()).map(|(index, _)| part_name(*index, of)).collect();
    // What autopkgtest says about all tests is not a test.
    if name != "*" && !missing.is_empty() && badness(outcome) < badness(TestOutcome::Unfinished) {
        outcome = TestOutcome::Unfinished;
        reasons = vec![format!("it has no outcome in {}", listed(missing.into_iter()))];
    }
    let seconds: Vec<f64> = found.iter().filter_map(|(_, test)| test.and_then(|test| test.seconds)).collect();
    Some(TestResult {
        name: name.to_owned(),
        outcome,
        reason: if reasons.is_empty() { String::new() } else { listed(reasons.into_iter()) },
        seconds: (!seconds.is_empty()).then(|| seconds.iter().sum()),
        cases: cases_of(name, run_as, &found, reports),
        installed: worst.installed,
    })
}

/// From good to bad.
pub(crate) fn badness(outcome: TestOutcome) -> u8 {
    match outcome {
        TestOutcome::Skip => 0,
        TestOutcome::Pass => 1,
        TestOutcome::Flaky => 2,
        TestOutcome::Unfinished => 3,
        TestOutcome::Fail => 4,
    }
}

/// The number of cases of a test: those of its reports, each case once.
fn cases_of(name: &str, run_as: &str, found: &[(u32, Option<&TestResult>)], reports: &[JoinedReport]) -> Option<Cases> {
    let mine: Vec<&JoinedReport> =
        reports.iter().filter(|report| report.run == run_as && report.test.as_deref() == Some(name)).collect();
    let sum = |all: &mut dyn Iterator<Item = Cases>| {
        all.fold(Cases::default(), |sum, cases| Cases {
            total: sum.total.saturating_add(cases.total),
            failed: sum.failed.saturating_add(cases.failed),
            skipped: sum.skipped.saturating_add(cases.skipped),
        })
    };
    if mine.is_empty() {
        // Without a list nothing tells whether the parts have the same cases.
        return None;
    }
    if mine.iter().all(|report| report.split == Split::Shared) {
        // With those that `junit.xml` leaves out.
        return Some(sum(&mut found.iter().filter_map(|(_, test)| test.and_then(|test| test.cases))));
    }
    Some(sum(&mut mine.iter().map(|report| report.totals)))
}

/// A note about tests of which nothing tells whether they ran in parts.
fn without_reports(runs: &[Run], reports: &[JoinedReport], of: u32) -> Option<String> {
    let mut names = Vec::new();
    for run in runs {
        let run_as = run.run_as.to_string();
        let is_mute = |test: &&TestResult| {
            let has = reports.iter().any(|report| report.run == run_as && report.test.as_ref() == Some(&test.name));
            test.name != "*" && test.outcome != TestOutcome::Skip && !has
        };
        names.extend(run.tests.iter().filter(is_mute).map(|test| format!("{} as {run_as}", test.name)));
    }
    (!names.is_empty()).then(|| {
        format!(
            "not known: whether these ran once in parts or in full in each of the {of} parts, as they leave no report of their \
             cases: {}",
            listed(names.into_iter())
        )
    })
}
