//! Joins the reports of a job's parts, and checks that each case ran once.
//!
//! GoogleTest gives the cases of a program to the parts in turn: with `T` cases and `N` parts, part `i` has those whose
//! number is `i` modulo `N`, and its report lists only these. So in a whole result
//!
//! - each report is there in each part, if only with no case in it;
//! - no case is in two parts;
//! - the numbers of cases are those of some `T`. Disabled cases are in any one of the parts and are not counted there,
//!   and a report does not tell them from skipped ones, so that only bounds are known.
//!
//! A program that does not look at the variables lists the same cases in each part.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::{Cases, part_name};

use super::reports::{PartReport, PartReports, Place};
use crate::cases::{Case, CaseOutcome};

/// Most names in one note.
const NAMES: usize = 5;
/// Most notes about reports.
const NOTES: usize = 20;

/// A report of all parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedReport {
    /// The run's user.
    pub run: String,
    /// Path in the run's output directory.
    pub path: String,
    /// The test that left it, if known.
    pub test: Option<String>,
    /// The cases, each once.
    pub cases: Vec<Case>,
    /// Number of cases, with those that are not listed.
    pub totals: Cases,
    /// How the parts share it.
    pub split: Split,
}

/// How the parts of a job share a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Each part has cases of its own.
    Shared,
    /// Each part has all cases: the program does not look at the variables.
    Whole,
    /// Some cases are in several parts, others are not.
    Overlapping,
}

/// The reports of a job.
#[derive(Debug, Default)]
pub(super) struct JoinedReports {
    pub(super) reports: Vec<JoinedReport>,
    /// What is worth knowing, for people.
    pub(super) notes: Vec<String>,
    /// Why the parts are not known to be the whole, for people. Empty if they are, as far as their reports tell.
    pub(super) gaps: Vec<String>,
}

/// Joins the reports of parts, in the order of their indices. A part without `junit.xml` has none.
pub(super) fn join(parts: &[Option<&PartReports>]) -> JoinedReports {
    let mut joined = JoinedReports::default();
    let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    for (index, part) in (0..).zip(parts) {
        if part.is_none() {
            joined.gaps.push(format!("{} has no list of its cases", part_name(index, of)));
        }
    }
    let places: BTreeSet<&Place> = parts.iter().flatten().flat_map(|part| part.reports.keys()).collect();
    let mut whole: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for place in places {
        let here: Vec<(u32, Option<&PartReport>)> =
            (0..).zip(parts).filter_map(|(index, part)| Some((index, part.as_ref()?.reports.get(place)))).collect();
        let report = report(place, &here);
        if report.split == Split::Whole {
            let name = report.test.clone().unwrap_or_else(|| "a test".to_owned());
            whole.entry((place.run.clone(), name)).or_default().push(&place.path);
        }
        joined.gaps.extend(gaps(&report, &here, of));
        joined.reports.push(report);
    }
    for ((run, test), paths) in whole {
        joined.notes.push(format!(
            "{test} as {run} ran in full in each of the {of} parts, and counts once: its programs do not use GoogleTest, or do \
             not look at its variables for sharding ({})",
            listed(paths.into_iter().map(str::to_owned))
        ));
    }
    let more = joined.gaps.len().saturating_sub(NOTES);
    joined.gaps.truncate(NOTES);
    if more > 0 {
        joined.gaps.push(format!("there are {more} more reports like these"));
    }
    joined
}

/// The name of a case, which tells it from the others of its report.
fn name(case: &Case) -> (&str, &str) {
    (&case.class, &case.name)
}

fn report(place: &Place, parts: &[(u32, Option<&PartReport>)]) -> JoinedReport {
    let there: Vec<&PartReport> = parts.iter().filter_map(|(_, report)| *report).collect();
    let split = split(&there);
    let mut cases: Vec<Case> = Vec::new();
    let totals = if split == Split::Shared {
        cases.extend(there.iter().flat_map(|report| report.cases.iter().cloned()));
        Cases { total: there.iter().map(|report| report.total).fold(0, u64::saturating_add), ..counted(&cases) }
    } else {
        let mut known: HashMap<(&str, &str), usize> = HashMap::new();
        for case in there.iter().flat_map(|report| &report.cases) {
            match known.get(&name(case)).and_then(|place| cases.get_mut(*place)) {
                Some(kept) if badness(case) > badness(kept) => *kept = case.clone(),
                Some(_) => {}
                None => {
                    known.insert(name(case), cases.len());
                    cases.push(case.clone());
                }
            }
        }
        let largest = there.iter().map(|report| report.total).max().unwrap_or_default();
        Cases { total: largest.max(cases.len() as u64), ..counted(&cases) }
    };
    let test = there.iter().find_map(|report| report.test.clone());
    JoinedReport { run: place.run.clone(), path: place.path.clone(), test, cases, totals, split }
}

fn split(there: &[&PartReport]) -> Split {
    let sets: Vec<HashSet<(&str, &str)>> = there.iter().map(|report| report.cases.iter().map(name).collect()).collect();
    let all: HashSet<(&str, &str)> = sets.iter().flatten().copied().collect();
    let count: usize = sets.iter().map(HashSet::len).sum();
    if count == all.len() {
        Split::Shared
    } else if sets.iter().all(|set| set.len() == all.len()) {
        Split::Whole
    } else {
        Split::Overlapping
    }
}

fn badness(case: &Case) -> u8 {
    match case.outcome {
        CaseOutcome::Failed => 2,
        CaseOutcome::Passed => 1,
        CaseOutcome::Skipped => 0,
    }
}

fn counted(cases: &[Case]) -> Cases {
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count() as u64;
    Cases { total: cases.len() as u64, failed: count(CaseOutcome::Failed), skipped: count(CaseOutcome::Skipped) }
}

/// Why a report is not known to be whole.
fn gaps(report: &JoinedReport, parts: &[(u32, Option<&PartReport>)], of: u32) -> Vec<String> {
    let what = &report.path;
    let missing = parts.iter().filter(|(_, report)| report.is_none());
    let missing: Vec<String> = missing.map(|(index, _)| part_name(*index, of)).collect();
    let mut gaps = Vec::new();
    if !missing.is_empty() {
        gaps.push(format!("the report {what} is missing from {}", listed(missing.into_iter())));
    }
    match report.split {
        Split::Overlapping => {
            let mut seen: HashMap<(&str, &str), u32> = HashMap::new();
            for (_, part) in parts {
                let names: HashSet<(&str, &str)> = part.iter().flat_map(|part| part.cases.iter().map(name)).collect();
                for name in names {
                    *seen.entry(name).or_default() += 1;
                }
            }
            let repeated = seen.into_iter().filter(|(_, count)| *count > 1);
            let mut names: Vec<String> = repeated.map(|((class, name), _)| format!("{class}.{name}")).collect();
            names.sort_unstable();
            let (verb, count) = (if names.len() == 1 { "case" } else { "cases" }, names.len());
            gaps.push(format!("{count} {verb} of {what} ran in more than one part: {}", listed(names.into_iter())));
        }
        Split::Shared if gaps.is_empty() => {
            let all: Option<Vec<(u64, u64)>> = parts.iter().map(|(_, part)| part.map(bounds)).collect();
            // Of a part without any list nothing is known, which is told already.
            if let Some(bounds) = all.filter(|bounds| bounds.len() == of as usize && !is_a_split(bounds)) {
                let numbers: Vec<String> = bounds.iter().map(|(_, most)| most.to_string()).collect();
                gaps.push(format!(
                    "the parts of {what} have {} cases, and GoogleTest splits them evenly: some did not run",
                    numbers.join(", ")
                ));
            }
        }
        Split::Whole | Split::Shared => {}
    }
    gaps
}

/// The least and the most cases of a part that GoogleTest has counted when it split them.
fn bounds(report: &PartReport) -> (u64, u64) {
    (counted(&report.cases).total.saturating_sub(counted(&report.cases).skipped), report.total)
}

/// Whether there is a number of cases which, dealt out in turn, gives each part a number within its bounds.
fn is_a_split(bounds: &[(u64, u64)]) -> bool {
    let parts = bounds.len() as u64;
    // Part i has at least n of T cases if T > (n - 1) * parts + i, and at most n if T <= n * parts + i.
    let least = (0..).zip(bounds).map(|(index, (least, _))| match least.checked_sub(1) {
        Some(before) => before.saturating_mul(parts).saturating_add(index).saturating_add(1),
        None => 0,
    });
    let most = (0..).zip(bounds).map(|(index, (_, most))| most.saturating_mul(parts).saturating_add(index));
    least.max().unwrap_or_default() <= most.min().unwrap_or_default()
}

/// The first few of some names.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES);
    let text = names.take(NAMES).collect::<Vec<_>>().join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}
