//! The ends of a search from the history: the last run that passed, and the first that failed.

use advice::Advice;
use anyhow::{Result, bail};
use client::{Client, HistoryQuery};
use protocol::TestOutcome;
use protocol::api::{TestHistory, TestRun, TestState};

use super::state::Observed;
use crate::cmdline::Bisect;
use crate::hubs::HubAccess;

/// Most runs of a test that are looked at.
const RUNS: usize = 300;

/// The ends, as jobs of the hub.
pub(super) struct Since {
    pub(super) good: String,
    pub(super) bad: String,
    pub(super) test: String,
    /// How often the test failed and passed from the first failure on.
    pub(super) observed: Observed,
    /// How often it had failed before, although it passed mostly.
    pub(super) failed_before: u32,
}

/// What the history is asked for.
pub(super) struct Asked {
    package: String,
    target: Option<String>,
    /// The tests in question; all if empty.
    tests: Vec<String>,
}

/// What the options ask for: a package, or the failure of a job.
pub(super) fn asked(options: &Bisect, place: &HubAccess, client: &Client) -> Result<Asked> {
    let tests = options.test.iter().cloned().collect();
    let mut asked = Asked { package: String::new(), target: options.target.clone(), tests };
    let Some(job) = &options.job else {
        asked.package = options.what.first().cloned().unwrap_or_default();
        return Ok(asked);
    };
    let detail = client.result(job).map_err(|error| place.explain(error))?;
    detail.result.job.source.name().clone_into(&mut asked.package);
    asked.target = asked.target.or_else(|| detail.info.targets.first().cloned());
    if asked.tests.is_empty() {
        let failed =
            detail.result.tests().filter(|(_, test)| matches!(test.outcome, TestOutcome::Fail | TestOutcome::Flaky));
        asked.tests = failed.map(|(_, test)| test.name.clone()).collect();
        if asked.tests.is_empty() {
            bail!(Advice::new(
                format!("no test has failed in {job}, whose verdict is {}", detail.info.verdict),
                format!("`rocbed results history {}` shows which tests fail", asked.package)
            ));
        }
    }
    Ok(asked)
}

/// Finds the ends in the history.
pub(super) fn find(asked: &Asked, place: &HubAccess, client: &Client) -> Result<Since> {
    let query = HistoryQuery {
        package: Some(asked.package.clone()),
        target: asked.target.clone(),
        runs: RUNS,
        ..HistoryQuery::default()
    };
    let found = client.history(&query).map_err(|error| place.explain(error))?.tests;
    let is_asked =
        |test: &&TestHistory| !test.test.is_empty() && (asked.tests.is_empty() || asked.tests.contains(&test.test));
    let failing: Vec<&TestHistory> = found.iter().filter(is_asked).filter(|test| fails(test.state)).collect();
    if failing.is_empty() {
        let on = asked.target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
        bail!(Advice::new(
            format!("by the history, no such test of {} fails{on}", asked.package),
            format!(
                "`rocbed results history {} --all` lists all runs; `rocbed bisect GOOD BAD` takes any two of them",
                asked.package
            )
        ));
    }
    let mut targets: Vec<&str> = failing.iter().map(|test| test.target.as_str()).collect();
    targets.dedup();
    if let [_, _, ..] = targets[..] {
        bail!(Advice::new(
            format!("{} fails on {}", asked.package, targets.join(", ")),
            format!("choose one: --target {}", targets.first().unwrap_or(&""))
        ));
    }
    let Some(since) = failing.iter().find_map(|test| since(test)) else {
        let test = failing.first().map_or("", |test| test.test.as_str());
        bail!(Advice::new(
            format!("{test} of {} has never passed before it failed, as far as the history goes", asked.package),
            "name a result in which it passed: `rocbed bisect GOOD BAD`"
        ));
    };
    Ok(since)
}

fn fails(state: TestState) -> bool {
    state.is_failing() || matches!(state, TestState::Flaky | TestState::Known)
}

/// A run before and a run after a test began to fail.
fn since(test: &TestHistory) -> Option<Since> {
    // What says whether it passes, the oldest first.
    let runs: Vec<&TestRun> = test.runs.iter().rev().filter(|run| failed(run).is_some()).collect();
    let outcomes: Vec<bool> = runs.iter().map(|run| failed(run) == Some(true)).collect();
    let begin = history::change_point(&outcomes)?;
    let (before, after) = outcomes.split_at_checked(begin)?;
    let count = |runs: &[bool], wanted: bool| runs.iter().filter(|failed| **failed == wanted).count() as u32;
    let observed = Observed { failed: count(after, true), passed: count(after, false) };
    // A test that fails by chance may have passed a few times before its first failure: so many passes exclude that.
    let enough = super::plan::repeat(observed).unwrap_or(1) as usize;
    let passes: Vec<usize> = before.iter().enumerate().filter(|(_, failed)| !**failed).map(|(at, _)| at).collect();
    let good = passes.len().checked_sub(enough).and_then(|at| passes.get(at)).or(passes.first()).copied()?;
    Some(Since {
        good: runs.get(good)?.job.clone(),
        bad: runs.get(begin)?.job.clone(),
        test: test.test.clone(),
        observed,
        failed_before: count(before, true),
    })
}

/// Whether a run failed; `None` if it says nothing.
fn failed(run: &TestRun) -> Option<bool> {
    match run.outcome.as_str() {
        "pass" => Some(false),
        "fail" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history, the oldest first: `.` passed, `x` failed, `?` says nothing.
    fn history(runs: &str) -> TestHistory {
        let run = |(number, outcome): (usize, char)| {
            let outcome = match outcome {
                '.' => "pass",
                'x' => "fail",
                _ => "nothing",
            };
            serde_json::json!({ "job": number.to_string(), "at": "2026-10-30T10:00:00Z", "outcome": outcome,
                "worker": "w", "kernel": "7" })
        };
        let mut runs: Vec<_> = runs.chars().enumerate().map(run).collect();
        runs.reverse();
        serde_json::from_value(serde_json::json!({
            "package": "p", "test": "t", "target": "gfx1030", "as": "user", "simulated": false, "state": "regression",
            "streak": 1, "failed": 1, "ran": 1, "flips": 1, "runs": runs,
        }))
        .expect("a history")
    }

    fn ends(runs: &str) -> Option<(String, String, u32, u32)> {
        since(&history(runs)).map(|since| (since.good, since.bad, since.observed.failed, since.observed.passed))
    }

    #[test]
    fn a_regression_began_between_the_last_pass_and_the_first_failure() {
        assert_eq!(ends("....?xx?x"), Some(("3".into(), "5".into(), 3, 0)));
        assert_eq!(ends("xxx"), None);
        assert_eq!(ends("...."), None);
    }

    #[test]
    fn a_test_that_fails_by_chance_may_have_passed_for_a_while() {
        // It failed in 4 of 10 runs: ten passes in a row are no chance.
        assert_eq!(ends("....................x..x.x..x."), Some(("10".into(), "20".into(), 4, 6)));
        assert_eq!(ends("...x..x..x"), Some(("0".into(), "3".into(), 3, 4)));
    }
}
