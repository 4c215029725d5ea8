//! Why a test fails: what changed since it last passed, what passing runs clear, and where else it fails.

use std::collections::BTreeSet;

use history::{clear, differences};
use protocol::api::{ChangeKind, Difference, Explanation, TestState};
use rusqlite::{Connection, params};

use crate::history::environments::Environments;
use crate::history::queries::{HistoryFilter, TestRow, rows};
use crate::history::record::Code;
use crate::store::NameFilter;

/// Most different environments of passing runs that are looked at.
const MOST_PASSES: i64 = 100;
/// Most other tests that are looked at.
const MOST_OTHERS: usize = 40;
/// Tests that broke within this time of each other may have broken together, in milliseconds: two days.
const TOGETHER: i64 = 2 * 24 * 3600 * 1000;

/// Explains all tests of the filter that do not pass.
pub(crate) fn explain(db: &Connection, filter: &HistoryFilter, now: i64) -> rusqlite::Result<Vec<Explanation>> {
    let found = rows(db, filter, now)?;
    let mut environments = Environments::new(db);
    let failing = found.into_iter().filter(|row| is_wrong(row.history.state));
    failing.map(|row| one(db, row, now, &mut environments)).collect()
}

fn is_wrong(state: TestState) -> bool {
    state.is_failing() || matches!(state, TestState::Flaky | TestState::Known | TestState::Stopped)
}

fn one(db: &Connection, row: TestRow, now: i64, environments: &mut Environments) -> rusqlite::Result<Explanation> {
    let (mut changed, mut packages_known) = (Vec::new(), false);
    if let (Some(good), Some(bad)) = (row.last_good, row.first_bad)
        && let (Some(good), Some(bad)) = (environments.of(row.cell, good)?, environments.of(row.cell, bad)?)
    {
        changed = differences(&good, &bad);
        packages_known = good.packages.is_some() && bad.packages.is_some();
        clear_by_passes(db, row.cell, &mut changed, environments)?;
    }
    let others = others(db, &row, now)?;
    for other in others.iter().filter(|other| matches!(other.history.state, TestState::Ok | TestState::Fixed)) {
        let Some(last) = other.last else { continue };
        if let Some(passed) = environments.of(other.cell, last)? {
            let label = label(&row, other);
            clear(&mut changed, &passed, "", Some(&label));
        }
    }
    let same_test = |other: &&TestRow| is_same_test(&row, other);
    let began = row.history.first_bad.as_ref().map(|run| run.at.as_millisecond());
    let near = |other: &&TestRow| {
        let other = other.history.first_bad.as_ref().map(|run| run.at.as_millisecond());
        began.zip(other).is_some_and(|(one, other)| one.abs_diff(other) <= TOGETHER.unsigned_abs())
    };
    let targets = |wanted: fn(TestState) -> bool| {
        let found = others.iter().filter(same_test).filter(|other| wanted(other.history.state));
        found.map(|other| other.history.target.clone()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let with_it = others.iter().filter(|other| !same_test(other) && other.history.state.is_failing()).filter(near);
    let with_it: BTreeSet<String> = with_it.map(|other| label(&row, other)).collect();
    let mut explanation = Explanation {
        also_failing: targets(TestState::is_failing),
        passes_on: targets(|state| matches!(state, TestState::Ok | TestState::Fixed)),
        broke_with_it: with_it.into_iter().collect(),
        next: String::new(),
        packages_known,
        changed,
        test: row.history,
    };
    let is_cross_checked = match row.first_bad {
        Some(bad) => is_cross_checked(db, row.cell, bad)?,
        None => false,
    };
    explanation.next = next(&explanation, is_cross_checked);
    Ok(explanation)
}

/// Whether the test has failed on another machine since a run, or in a confirmation, which goes to another machine where that
/// is possible: then the machine needs no cross-check.
fn is_cross_checked(db: &Connection, cell: i64, bad: i64) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM history_outcomes o JOIN history_runs r ON r.id = o.run
         WHERE o.cell = ?1 AND o.run > ?2 AND o.seen = ?3
             AND (r.of IS NOT NULL OR r.worker <> (SELECT worker FROM history_runs WHERE id = ?2))",
    )?;
    statement.exists(params![cell, bad, Code::of(history::Seen::Fail)])
}

/// A passing run of the same test on the same target clears what it had.
fn clear_by_passes(
    db: &Connection,
    cell: i64,
    changed: &mut [Difference],
    environments: &mut Environments,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT m.run, j.id FROM (
             SELECT max(o.run) AS run FROM history_outcomes o JOIN history_runs r ON r.id = o.run
             WHERE o.cell = ?1 AND o.seen = ?2 GROUP BY r.environment, r.worker, o.packages ORDER BY 1 DESC LIMIT ?3
         ) m JOIN history_runs h ON h.id = m.run JOIN jobs j ON j.number = h.job ORDER BY m.run DESC",
    )?;
    let passes = statement.query_map(params![cell, Code::of(history::Seen::Pass), MOST_PASSES], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    for pass in passes {
        let (run, job) = pass?;
        if let Some(passed) = environments.of(cell, run)? {
            clear(changed, &passed, &job, None);
        }
    }
    Ok(())
}

fn is_same_test(row: &TestRow, other: &TestRow) -> bool {
    (&row.history.package, &row.history.test) == (&other.history.package, &other.history.test)
}

/// The same test on other targets, and tests of other packages on this target.
fn others(db: &Connection, row: &TestRow, now: i64) -> rusqlite::Result<Vec<TestRow>> {
    let here = &row.history;
    let of = HistoryFilter { test: Some(here.test.clone()), ..HistoryFilter::default() };
    let elsewhere = HistoryFilter { package: Some(NameFilter::Exact(here.package.clone())), ..of.clone() };
    let beside = HistoryFilter { test: Some(String::new()), target: Some(here.target.clone()), ..of };
    let mut found = rows(db, &elsewhere, now)?;
    found.retain(|other| other.history.target != here.target);
    found.truncate(MOST_OTHERS);
    let mut near = rows(db, &beside, now)?;
    near.retain(|other| other.history.package != here.package);
    near.truncate(MOST_OTHERS);
    found.extend(near);
    found.retain(|other| other.history.run_as == here.run_as && other.history.simulated == here.simulated);
    Ok(found)
}

/// Name of another test for a hint.
fn label(row: &TestRow, other: &TestRow) -> String {
    if other.history.target == row.history.target {
        other.history.package.clone()
    } else {
        other.history.target.clone()
    }
}

/// The next step. Where the machine and packages are others, a job on a second machine tells which it is, unless there was one.
fn next(explanation: &Explanation, is_cross_checked: bool) -> String {
    let test = &explanation.test;
    let job = test.first_bad.as_ref().or(test.last.as_ref()).map_or("", |run| run.job.as_str());
    match test.state {
        TestState::NewFailure => format!("rocbed jobs confirm {job}"),
        TestState::Regression | TestState::Known => {
            let open = || explanation.changed.iter().filter(|change| change.cleared_by.is_none());
            let packages = open().filter(|change| change.kind == ChangeKind::Package).count();
            let has_machine = open().any(|change| change.kind == ChangeKind::Machine);
            match open().count() {
                _ if has_machine && packages > 0 && !is_cross_checked => {
                    format!("rocbed jobs confirm {job} --elsewhere")
                }
                1 => format!("rocbed results bug {job}"),
                _ if packages > 0 && !test.test.is_empty() => {
                    format!("rocbed bisect {} --target {}", test.package, test.target)
                }
                _ => format!("rocbed results compare {} {job}", test.last_good.as_ref().map_or("", |run| &run.job)),
            }
        }
        TestState::Flaky => format!("rocbed results history {} --target {} --all", test.package, test.target),
        _ => format!("rocbed results show {job}"),
    }
}
