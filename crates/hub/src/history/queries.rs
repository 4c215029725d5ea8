//! Queries for histories of tests.

use protocol::RunAs;
use protocol::api::{StateChange, TestHistory, TestRun, TestState};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::timestamp;
use crate::history::environments::Stored;
use crate::history::{known, record::Code};
use crate::store::NameFilter;
use crate::store::columns::{Json, Named};

/// Most tests in an answer.
const MOST_TESTS: usize = 2000;
/// Most runs of a test in an answer.
const MOST_RUNS: usize = 2000;

/// Filter for histories. What is not set does not matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryFilter {
    /// Names of the source packages.
    pub(crate) package: Option<NameFilter>,
    pub(crate) target: Option<String>,
    pub(crate) run_as: Option<RunAs>,
    pub(crate) test: Option<String>,
    /// Only tests in one of these states, before age is taken into account.
    pub(crate) states: Vec<TestState>,
    /// Also tests with packages from elsewhere than the archive.
    pub(crate) variants: bool,
    /// Also changes of state, at most this many each.
    pub(crate) changes: usize,
    /// Also runs, at most this many each.
    pub(crate) runs: usize,
}

impl HistoryFilter {
    /// Whether it is for one package, whose tests are few.
    pub(crate) fn is_for_one_package(&self) -> bool {
        matches!(self.package, Some(NameFilter::Exact(_)))
    }
}

/// A test with its number, and the numbers of runs.
#[derive(Debug, Clone)]
pub(crate) struct TestRow {
    pub(crate) cell: i64,
    pub(crate) history: TestHistory,
    pub(crate) first_bad: Option<i64>,
    pub(crate) last_good: Option<i64>,
    pub(crate) last: Option<i64>,
}

/// Histories by package, target and test. `now` (milliseconds since 1970) decides what is stale.
pub(crate) fn tests(db: &Connection, filter: &HistoryFilter, now: i64) -> rusqlite::Result<Vec<TestHistory>> {
    Ok(rows(db, filter, now)?.into_iter().map(|row| row.history).collect())
}

/// Columns of [`read`].
pub(super) const ROWS: &str =
    "SELECT c.id, s.package, c.test, c.target, s.run_as, s.variant, c.simulated, c.state, c.since,
         c.last_good, c.first_bad, c.last, c.last_at, c.streak, c.failed, c.ran, c.flips, c.infrastructure
     FROM history_cells c JOIN history_series s ON s.id = c.series";

pub(super) fn rows(db: &Connection, filter: &HistoryFilter, now: i64) -> rusqlite::Result<Vec<TestRow>> {
    let states: Vec<String> = filter.states.iter().map(|state| format!("'{}'", state.name())).collect();
    let mut sql = format!("{ROWS} WHERE 1");
    let run_as = filter.run_as.map(|user| user.to_string());
    let mut values: Vec<&dyn rusqlite::ToSql> = Vec::new();
    let package = filter.package.as_ref().map(|name| (name.operator(), name.value()));
    let equal = |value: Option<_>| value.map(|value| ("=", value));
    for (column, condition) in [
        ("s.package", package),
        ("c.target", equal(filter.target.as_ref())),
        ("c.test", equal(filter.test.as_ref())),
        ("s.run_as", equal(run_as.as_ref())),
    ] {
        if let Some((operator, value)) = condition {
            values.push(value);
            sql.push_str(&format!(" AND {column} {operator} ?{}", values.len()));
        }
    }
    if !states.is_empty() {
        sql.push_str(&format!(" AND c.state IN ({})", states.join(", ")));
    }
    if !filter.variants {
        sql.push_str(" AND s.variant = ''");
    }
    sql.push_str(&format!(" ORDER BY s.package, c.target, s.run_as DESC, s.variant, c.test LIMIT {MOST_TESTS}"));
    let mut statement = db.prepare_cached(&sql)?;
    let found = statement.query_map(&values[..], |row| read(db, row, filter, now))?;
    found.collect()
}

pub(super) fn read(db: &Connection, row: &Row, filter: &HistoryFilter, now: i64) -> rusqlite::Result<TestRow> {
    let cell: i64 = row.get(0)?;
    let run = |column: usize| -> rusqlite::Result<Option<TestRun>> {
        row.get::<_, Option<i64>>(column)?.map(|run| one(db, cell, run)).transpose().map(Option::flatten)
    };
    let Named(stored): Named<TestState> = row.get(7)?;
    let last_at: Option<i64> = row.get(12)?;
    let state = history::Cell { state: stored, last_at, ..history::Cell::default() }.shown(now);
    let mut history = TestHistory {
        package: row.get(1)?,
        test: row.get(2)?,
        target: row.get(3)?,
        run_as: run_as(&row.get::<_, String>(4)?),
        variant: row.get(5)?,
        simulated: row.get(6)?,
        state,
        since: run(8)?,
        last_good: run(9)?,
        first_bad: run(10)?,
        last: run(11)?,
        streak: row.get(13)?,
        failed: row.get(14)?,
        ran: row.get(15)?,
        flips: row.get(16)?,
        infrastructure: row.get(17)?,
        known: None,
        changes: Vec::new(),
        runs: Vec::new(),
    };
    if matches!(stored, TestState::Known | TestState::UnexpectedPass) {
        history.known = known::covering(db, cell)?;
    }
    if filter.changes > 0 {
        history.changes = changes(db, cell, filter.changes.min(MOST_RUNS))?;
    }
    if filter.runs > 0 {
        history.runs = runs_of(db, cell, filter.runs.min(MOST_RUNS))?;
    }
    Ok(TestRow { cell, history, last_good: row.get(9)?, first_bad: row.get(10)?, last: row.get(11)? })
}

const RUN: &str = "SELECT j.id, r.at, o.seen, r.version, ifnull(n.name, r.worker), e.description, oj.id
     FROM history_outcomes o JOIN history_runs r ON r.id = o.run JOIN jobs j ON j.number = r.job
     JOIN history_environments e ON e.id = r.environment LEFT JOIN names n ON n.worker = r.worker
     LEFT JOIN history_runs orig ON orig.id = r.of LEFT JOIN jobs oj ON oj.number = orig.job";

fn read_run(row: &Row) -> rusqlite::Result<TestRun> {
    let Json(environment): Json<Stored> = row.get(5)?;
    Ok(TestRun {
        job: row.get(0)?,
        at: timestamp(row.get(1)?),
        outcome: Code::seen(row.get(2)?).name().to_owned(),
        version: row.get(3)?,
        worker: row.get(4)?,
        kernel: environment.kernel,
        confirms: row.get(6)?,
    })
}

/// A run of a test.
pub(super) fn one(db: &Connection, cell: i64, run: i64) -> rusqlite::Result<Option<TestRun>> {
    db.prepare_cached(&format!("{RUN} WHERE o.cell = ?1 AND o.run = ?2"))?.query_row([cell, run], read_run).optional()
}

/// The newest runs of a test.
pub(crate) fn runs_of(db: &Connection, cell: i64, limit: usize) -> rusqlite::Result<Vec<TestRun>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        db.prepare_cached(&format!("{RUN} WHERE o.cell = ?1 ORDER BY r.at DESC, r.id DESC LIMIT ?2"))?;
    statement.query_map([cell, limit], read_run)?.collect()
}

/// The newest changes of the state of a test.
fn changes(db: &Connection, cell: i64, limit: usize) -> rusqlite::Result<Vec<StateChange>> {
    let mut statement = db.prepare_cached(
        "SELECT run, before, after FROM history_changes WHERE cell = ?1 ORDER BY at DESC, id DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([cell, limit], |row| {
        let (Named(from), Named(to)) = (row.get(1)?, row.get(2)?);
        Ok((row.get::<_, i64>(0)?, from, to))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (run, from, to) = row?;
        found.extend(one(db, cell, run)?.map(|run| StateChange { run, from, to }));
    }
    Ok(found)
}

/// A test whose state has changed.
#[derive(Debug, Clone)]
pub(crate) struct ChangedTest {
    pub(crate) package: String,
    /// Empty for the whole run.
    pub(crate) test: String,
    pub(crate) target: String,
    pub(crate) run_as: RunAs,
    pub(crate) simulated: bool,
}

/// The changes that people are told of.
macro_rules! shown_changes {
    () => {
        "SELECT h.cell, h.run, h.before, h.after, s.package, c.test, c.target, s.run_as, c.simulated
         FROM history_changes h JOIN history_cells c ON c.id = h.cell JOIN history_series s ON s.id = c.series
         WHERE s.variant = '' AND h.after NOT IN ('infrastructure', 'untested')
             AND NOT (h.before IN ('untested', 'infrastructure') AND h.after = 'ok')"
    };
}

/// The newest changes of all tests on real and simulated GPUs, for the feed. They come from the index on their times, which
/// ends as soon as there are enough.
pub(crate) fn recent_changes(db: &Connection, limit: usize) -> rusqlite::Result<Vec<(ChangedTest, StateChange)>> {
    let sql = concat!(shown_changes!(), " ORDER BY h.at DESC, h.id DESC LIMIT ?1");
    read_changes(db, sql, i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The changes with numbers above this one that the feed has too, in the order of their times.
pub(crate) fn changes_since(db: &Connection, after: i64) -> rusqlite::Result<Vec<(ChangedTest, StateChange)>> {
    read_changes(db, concat!(shown_changes!(), " AND h.id > ?1 ORDER BY h.at, h.id"), after)
}

fn read_changes(db: &Connection, sql: &str, value: i64) -> rusqlite::Result<Vec<(ChangedTest, StateChange)>> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([value], |row| {
        let (Named(from), Named(to)) = (row.get(2)?, row.get(3)?);
        let test = ChangedTest {
            package: row.get(4)?,
            test: row.get(5)?,
            target: row.get(6)?,
            run_as: run_as(&row.get::<_, String>(7)?),
            simulated: row.get(8)?,
        };
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, from, to, test))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (cell, run, from, to, test) = row?;
        found.extend(one(db, cell, run)?.map(|run| (test, StateChange { run, from, to })));
    }
    Ok(found)
}

/// The user of a series.
pub(super) fn run_as(name: &str) -> RunAs {
    if name == "root" { RunAs::Root } else { RunAs::User }
}

/// State, age and flakiness of the whole run of each package on each target, for the matrix.
#[derive(Debug, Clone)]
pub(crate) struct WholeRun {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) simulated: bool,
    pub(crate) state: TestState,
    pub(crate) failed: u32,
    pub(crate) ran: u32,
}

/// The states of all packages' whole runs as the user, with the archive's packages.
pub(crate) fn states(db: &Connection, now: i64) -> rusqlite::Result<Vec<WholeRun>> {
    let mut statement = db.prepare_cached(
        "SELECT s.package, c.target, c.simulated, c.state, c.failed, c.ran, c.last_at
         FROM history_cells c JOIN history_series s ON s.id = c.series
         WHERE s.variant = '' AND s.run_as = 'user' AND c.test = ''",
    )?;
    let rows = statement.query_map(params![], |row| {
        let Named(state) = row.get(3)?;
        let cell = history::Cell { state, last_at: row.get(6)?, ..history::Cell::default() };
        Ok(WholeRun {
            package: row.get(0)?,
            target: row.get(1)?,
            simulated: row.get(2)?,
            state: cell.shown(now),
            failed: row.get(4)?,
            ran: row.get(5)?,
        })
    })?;
    rows.collect()
}
