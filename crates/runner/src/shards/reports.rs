//! The reports of one part, read from its `junit.xml`.

use std::collections::BTreeMap;

use protocol::JobResult;

use crate::cases::{self, Case, Item};

/// Bytes of memory for the cases of all parts of a job; beyond that they are only counted.
pub const ROOM: usize = 128 << 20;
/// Bytes that a case or a report takes besides its texts.
const OVERHEAD: usize = 128;

/// Which report: the same in each part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The run's user: `user`, `root`.
    pub(super) run: String,
    /// Path in the run's output directory.
    pub(super) path: String,
}

/// The cases of a report in one part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartReport {
    /// The test that left it, if known.
    pub(super) test: Option<String>,
    /// The cases that are listed.
    pub(super) cases: Vec<Case>,
    /// Number of cases, with those that are not listed.
    pub(super) total: u64,
}

/// The reports that the tests of one part have left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartReports {
    pub(super) reports: BTreeMap<Place, PartReport>,
}

impl PartReports {
    /// Reads the `junit.xml` of a part with this result. Whatever is not of a report of a test is passed over. What is kept
    /// takes at most `room` bytes, which is reduced by it; other cases are only counted.
    pub fn read(junit: &[u8], result: &JobResult, room: &mut usize) -> Self {
        let mut found = Self::default();
        let mut current: Option<Place> = None;
        cases::walk(junit, &mut |item| match item {
            Item::Suite { name, tests } => {
                current = None;
                let Some((place, test)) = place_of(&name, result) else { return };
                if !found.reports.contains_key(&place) && !takes(room, &[&place.path]) {
                    return;
                }
                let report = found.reports.entry(place.clone()).or_default();
                report.test = test;
                report.total = report.total.saturating_add(tests.unwrap_or_default());
                current = Some(place);
            }
            Item::Case(case) => {
                let Some(report) = current.as_ref().and_then(|place| found.reports.get_mut(place)) else { return };
                if takes(room, &[&case.class, &case.name, &case.message, &case.time]) {
                    report.cases.push(case);
                } else {
                    report.total = report.total.max((report.cases.len() as u64).saturating_add(1));
                }
            }
        });
        for report in found.reports.values_mut() {
            report.total = report.total.max(report.cases.len() as u64);
        }
        found
    }
}

/// Takes the room for these texts. Returns whether there was enough.
fn takes(room: &mut usize, texts: &[&str]) -> bool {
    let needed = texts.iter().map(|text| text.len()).fold(OVERHEAD, usize::saturating_add);
    match room.checked_sub(needed) {
        Some(left) => *room = left,
        None => return false,
    }
    true
}

/// Which report a suite of `junit.xml` is, and the test that left it: `user.upstream: artifacts/sum.xml`. `None` for a suite
/// that is not of a report.
fn place_of(suite: &str, result: &JobResult) -> Option<(Place, Option<String>)> {
    let (left_by, path) = suite.split_once(": ")?;
    result.runs.iter().find_map(|run| {
        let name = run.run_as.to_string();
        let rest = left_by.strip_prefix(&name)?;
        let test = match rest.strip_prefix('.') {
            Some(test) => Some(run.tests.iter().find(|known| known.name == test)?.name.clone()),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some((Place { run: name, path: path.to_owned() }, test))
    })
}
