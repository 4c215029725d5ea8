//! Compares two jobs, or two days.

use std::collections::{BTreeMap, BTreeSet};

use history::differences;
use protocol::JobResult;
use protocol::api::{ComparedTest, Comparison, TestRun};
use rusqlite::{Connection, OptionalExtension, params};

use crate::history::environments::Environments;
use crate::history::queries::{one, run_as};
use crate::history::record::Code;
use crate::store::columns::Json;

/// Most tests in a comparison of days.
const MOST_TESTS: usize = 20_000;

/// A test in a run.
struct Ran {
    cell: i64,
    run: i64,
    target: String,
    outcome: history::Seen,
}

/// Package, user and test.
type Key = (String, String, String);

/// What came of comparing two jobs.
pub(crate) enum JobComparison {
    /// Both have results. The numbers of the jobs come with the comparison of their tests.
    Compared(Comparison, [i64; 2]),
    /// The job with this id has no result.
    NoResult(String),
}

/// Compares the results of two jobs, which may be of different targets or with different packages.
pub(crate) fn compare_jobs(db: &Connection, before: &str, after: &str) -> rusqlite::Result<JobComparison> {
    let (first, second) = (of_job(db, before)?, of_job(db, after)?);
    for (job, tests) in [(before, &first), (after, &second)] {
        if tests.is_empty() {
            return Ok(JobComparison::NoResult(job.to_owned()));
        }
    }
    let mut comparison = Comparison::default();
    let mut environments = Environments::new(db);
    let keys: BTreeSet<&Key> = first.keys().chain(second.keys()).collect();
    for key in keys {
        let (old, new) = (first.get(key), second.get(key));
        comparison.tests.extend(compared(db, key, old, new)?);
        if comparison.changed.is_empty()
            && let (Some(old), Some(new)) = (old, new)
            && let (Some(old), Some(new)) = (environments.of(old.cell, old.run)?, environments.of(new.cell, new.run)?)
        {
            comparison.changed = differences(&old, &new);
        }
    }
    leave_out_unknown(db, &mut comparison, [before, after])?;
    comparison.tests.sort_by_key(|test| test.compared);
    let number = |job| db.prepare_cached("SELECT number FROM jobs WHERE id = ?1")?.query_row([job], |row| row.get(0));
    Ok(JobComparison::Compared(comparison, [number(before)?, number(after)?]))
}

/// Leaves out tests that are in one of two jobs, if the other one does not say that there is no such test: one that is marked as
/// flaky and failed has no outcome, and others were not reached.
fn leave_out_unknown(db: &Connection, comparison: &mut Comparison, jobs: [&str; 2]) -> rusqlite::Result<()> {
    if comparison.tests.iter().all(|test| test.before.is_some() && test.after.is_some()) {
        return Ok(());
    }
    let result = |job: &str| -> rusqlite::Result<JobResult> {
        let Json(result) = db
            .prepare_cached("SELECT r.result FROM results r JOIN jobs j ON j.number = r.job WHERE j.id = ?1")?
            .query_row([job], |row| row.get(0))?;
        Ok(result)
    };
    let [before, after] = [result(jobs[0])?, result(jobs[1])?];
    comparison.tests.retain(|test| {
        let is_known = |ran: &Option<TestRun>, result: &JobResult| {
            ran.is_some() || test.run_as.is_some_and(|run_as| history::is_without(result, run_as, &test.test))
        };
        is_known(&test.before, &before) && is_known(&test.after, &after)
    });
    Ok(())
}

/// The job of the last run before that of a job which passed the same tests on the same target, if there was one.
pub(crate) fn good_before(db: &Connection, job: &str) -> rusqlite::Result<Option<String>> {
    let run: Option<(i64, i64)> = db
        .prepare_cached(
            "SELECT c.id, r.id FROM jobs j JOIN history_runs r ON r.job = j.number
             JOIN history_series s ON s.id = r.series
             JOIN history_cells c ON c.series = r.series AND c.target = r.target AND c.simulated = r.simulated
                 AND c.test = ''
             WHERE j.id = ?1 ORDER BY s.run_as DESC, r.target LIMIT 1",
        )?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((cell, run)) = run else { return Ok(None) };
    // What confirms a failure runs only the tests that failed.
    db.prepare_cached(
        "SELECT j.id FROM history_outcomes o JOIN history_runs r ON r.id = o.run JOIN jobs j ON j.number = r.job
         WHERE o.cell = ?1 AND o.run < ?2 AND o.seen = ?3 AND r.of IS NULL ORDER BY o.run DESC LIMIT 1",
    )?
    .query_row(params![cell, run, Code::of(history::Seen::Pass)], |row| row.get(0))
    .optional()
}

fn of_job(db: &Connection, job: &str) -> rusqlite::Result<BTreeMap<Key, Ran>> {
    let mut statement = db.prepare_cached(
        "SELECT s.package, s.run_as, c.test, c.id, o.run, c.target, o.seen
         FROM jobs j JOIN history_runs r ON r.job = j.number JOIN history_series s ON s.id = r.series
         JOIN history_cells c ON c.series = r.series AND c.target = r.target AND c.simulated = r.simulated
         JOIN history_outcomes o ON o.cell = c.id AND o.run = r.id WHERE j.id = ?1",
    )?;
    let rows = statement.query_map([job], |row| {
        let ran = Ran { cell: row.get(3)?, run: row.get(4)?, target: row.get(5)?, outcome: Code::seen(row.get(6)?) };
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), ran))
    })?;
    rows.collect()
}

fn compared(
    db: &Connection,
    key: &Key,
    old: Option<&Ran>,
    new: Option<&Ran>,
) -> rusqlite::Result<Option<ComparedTest>> {
    let Some(how) = history::compared(old.map(|ran| ran.outcome), new.map(|ran| ran.outcome)) else { return Ok(None) };
    let run = |ran: Option<&Ran>| -> rusqlite::Result<Option<TestRun>> {
        ran.map(|ran| one(db, ran.cell, ran.run)).transpose().map(Option::flatten)
    };
    Ok(Some(ComparedTest {
        package: key.0.clone(),
        test: key.2.clone(),
        run_as: Some(run_as(&key.1)),
        target: new.or(old).map(|ran| ran.target.clone()).unwrap_or_default(),
        compared: how,
        before: run(old)?,
        after: run(new)?,
    }))
}

/// Compares the last outcomes until two times, in milliseconds since 1970, of all tests with the archive's packages.
pub(crate) fn compare_days(
    db: &Connection,
    before: i64,
    after: i64,
    package: Option<&str>,
) -> rusqlite::Result<Comparison> {
    let mut statement = db.prepare_cached(
        "SELECT s.package, s.run_as, c.test, c.id, c.target
         FROM history_cells c JOIN history_series s ON s.id = c.series
         WHERE s.variant = '' AND (?1 IS NULL OR s.package = ?1) LIMIT ?2",
    )?;
    let limit = i64::try_from(MOST_TESTS).unwrap_or(i64::MAX);
    let cells = statement.query_map(params![package, limit], |row| {
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get::<_, i64>(3)?, row.get::<_, String>(4)?))
    })?;
    let mut comparison = Comparison::default();
    let (last_before, last_after) = (last_run(db, before)?, last_run(db, after)?);
    for cell in cells {
        let (key, cell, target) = cell?;
        let old = until(db, cell, &target, (before, last_before))?;
        let new = until(db, cell, &target, (after, last_after))?;
        if old.as_ref().map(|ran| ran.run) == new.as_ref().map(|ran| ran.run) {
            // It was not tested between them.
            continue;
        }
        comparison.tests.extend(compared(db, &key, old.as_ref(), new.as_ref())?);
    }
    comparison.tests.sort_by_key(|test| test.compared);
    Ok(comparison)
}

/// The highest number of a run until a time. Runs are numbered nearly in the order of their times, so that those with
/// higher numbers need not be looked at one by one.
fn last_run(db: &Connection, time: i64) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT ifnull((SELECT id FROM history_runs WHERE at <= ?1 ORDER BY id DESC LIMIT 1), 0)")?
        .query_row([time], |row| row.get(0))
}

/// The last outcome of a test until a time, where the last run of all until then is known.
fn until(db: &Connection, cell: i64, target: &str, (time, last): (i64, i64)) -> rusqlite::Result<Option<Ran>> {
    db.prepare_cached(
        "SELECT o.run, o.seen FROM history_outcomes o JOIN history_runs r ON r.id = o.run
         WHERE o.cell = ?1 AND o.run <= ?4 AND r.at <= ?2 AND o.seen <> ?3 ORDER BY o.run DESC LIMIT 1",
    )?
    .query_row(params![cell, time, Code::of(history::Seen::Nothing), last], |row| {
        Ok(Ran { cell, run: row.get(0)?, target: target.to_owned(), outcome: Code::seen(row.get(1)?) })
    })
    .optional()
}
