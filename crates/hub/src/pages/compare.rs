//! The page that compares two results.

use askama::Template;
use axum::extract::{Query, State};
use protocol::api::{Compared, ComparedTest, Comparison, ResultInfo};
use protocol::{RunAs, Verdict};
use serde::Deserialize;

use crate::format::Time;
use crate::http::Reader;
use crate::http::history::compare_results;
use crate::http::jobs::find;
use crate::hub::Shared;
use crate::pages::change::Change;
use crate::pages::{Page, PageError, now, render};
use crate::party::Party;
use crate::problem::without_result;

/// Changed packages and other things that are listed.
const CHANGES: usize = 200;

/// Query for a comparison.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pair {
    before: Option<String>,
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    here: &'static str,
    before: String,
    after: String,
    compared: Option<View>,
}

struct View {
    sides: [Side; 2],
    /// How many tests there are of each kind.
    counts: Vec<(&'static str, String, usize)>,
    tests: Vec<TestLine>,
    changed: Vec<Change>,
    more_changed: usize,
    cases: Vec<CaseLine>,
    more_cases: u64,
    cases_problem: Option<String>,
}

/// One of the two results.
struct Side {
    title: &'static str,
    job: String,
    verdict: Verdict,
    simulated: bool,
    version: String,
    targets: String,
    worker: String,
    received: Option<Time>,
}

struct TestLine {
    compared: Compared,
    /// Whether root ran it, and not the user that runs tests unless a job says otherwise.
    is_root: bool,
    words: String,
    package: String,
    test: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
}

struct CaseLine {
    compared: Compared,
    words: String,
    suite: String,
    case: String,
}

impl TestLine {
    fn new(test: ComparedTest) -> Self {
        Self {
            compared: test.compared,
            is_root: test.run_as == Some(RunAs::Root),
            words: words(test.compared),
            package: test.package,
            test: test.test,
            target: test.target,
            before: test.before.map(|run| run.outcome),
            after: test.after.map(|run| run.outcome),
        }
    }
}

/// A kind of change in words: `still failing`.
fn words(compared: Compared) -> String {
    compared.name().replace('-', " ")
}

impl View {
    fn new(comparison: Comparison, sides: [Side; 2]) -> Self {
        let Comparison { tests, changed, cases, more_cases, cases_problem } = comparison;
        let count = |how: Compared| (how.name(), words(how), tests.iter().filter(|test| test.compared == how).count());
        Self {
            sides,
            counts: Compared::ALL.into_iter().map(count).filter(|(_, _, count)| *count > 0).collect(),
            more_changed: changed.len().saturating_sub(CHANGES),
            changed: changed.iter().take(CHANGES).map(Change::new).collect(),
            cases: cases
                .into_iter()
                .map(|case| CaseLine {
                    compared: case.compared,
                    words: words(case.compared),
                    suite: case.suite,
                    case: case.case,
                })
                .collect(),
            more_cases,
            cases_problem,
            tests: tests.into_iter().map(TestLine::new).collect(),
        }
    }
}

async fn side(shared: &Shared, title: &'static str, job: &str) -> Result<Side, PageError> {
    let mut found = find(shared, job).await?.2;
    let result = found.result.take().ok_or_else(|| without_result(job, Some(&found)))?;
    let ResultInfo { version, targets, verdict, simulated, worker, worker_name, received, .. } = result;
    Ok(Side {
        title,
        job: job.to_owned(),
        verdict,
        simulated,
        version: version.unwrap_or_default(),
        targets: if targets.is_empty() { "no GPU".to_owned() } else { targets.join(", ") },
        worker: worker_name.unwrap_or(worker),
        received: received.map(|received| Time::new(received, now(shared))),
    })
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader, party: Party, Query(pair): Query<Pair>) -> Page {
    let given = |text: Option<String>| text.unwrap_or_default().trim().to_owned();
    let (before, after) = (given(pair.before), given(pair.after));
    let compared = if before.is_empty() || after.is_empty() {
        None
    } else {
        let sides = [side(&shared, "Before", &before).await?, side(&shared, "After", &after).await?];
        Some(View::new(compare_results(&shared, &party, before.clone(), after.clone()).await?, sides))
    };
    render(&ComparePage { here: "jobs", before, after, compared })
}
