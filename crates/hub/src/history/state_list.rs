//! Lists of tests in some states, for pages: filtered, sorted and cut in the database, so that a page costs what it shows.

use history::{Seen, differences};
use protocol::RunAs;
use protocol::api::{Difference, TestState};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::history::environments::Environments;
use crate::history::queries::{HistoryFilter, ROWS, TestRow, read};
use crate::history::record::Code;
use crate::store::NameFilter;

/// Which tests are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateQuery {
    /// In these states; they are listed in this order, and the latest change first within each.
    pub(crate) states: Vec<TestState>,
    pub(crate) package: Option<NameFilter>,
    pub(crate) target: Option<String>,
    pub(crate) run_as: Option<RunAs>,
    /// How many are left out at the beginning.
    pub(crate) from: usize,
    /// How many are listed at most.
    pub(crate) limit: usize,
    /// How many of the last outcomes come with each.
    pub(crate) outcomes: usize,
    /// Whether to compare the last good with the first bad run of each.
    pub(crate) changes: bool,
}

/// A listed test.
#[derive(Debug, Clone)]
pub(crate) struct StateLine {
    pub(crate) row: TestRow,
    /// What differs between the last good and the first bad run; `None` if that is not known.
    pub(crate) changed: Option<Vec<Difference>>,
    /// The last outcomes, the newest first.
    pub(crate) outcomes: Vec<PastOutcome>,
}

/// What a run said of a test.
#[derive(Debug, Clone)]
pub(crate) struct PastOutcome {
    pub(crate) seen: Seen,
    /// Id of the job.
    pub(crate) job: String,
    /// When the hub gave the job out, in milliseconds since 1970.
    pub(crate) at: i64,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateList {
    pub(crate) lines: Vec<StateLine>,
    /// How many tests there are, on all pages.
    pub(crate) total: usize,
}

/// Tests with the archive's packages in some states. The whole run is left out where its tests are listed, as they say
/// more.
pub(crate) fn in_states(db: &Connection, query: &StateQuery, now: i64) -> rusqlite::Result<StateList> {
    let states = query.states.iter().map(|state| format!("'{}'", state.name())).collect::<Vec<_>>().join(", ");
    let mut condition = format!(
        "c.state IN ({states}) AND s.variant = '' AND (c.test <> '' OR NOT EXISTS (
             SELECT 1 FROM history_cells o WHERE o.series = c.series AND o.target = c.target
                 AND o.simulated = c.simulated AND o.test <> '' AND o.state IN ({states})))"
    );
    let run_as = query.run_as.map(|user| user.to_string());
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let mut add = |column: &str, operator: &str, value: Option<&'_ String>| {
        if value.is_some() {
            condition.push_str(&format!(" AND {column} {operator} ?"));
        }
    };
    let package = query.package.as_ref();
    add("s.package", package.map_or("=", NameFilter::operator), package.map(NameFilter::value));
    add("c.target", "=", query.target.as_ref());
    add("s.run_as", "=", run_as.as_ref());
    for value in [package.map(NameFilter::value), query.target.as_ref(), run_as.as_ref()].into_iter().flatten() {
        values.push(value);
    }
    let count =
        format!("SELECT count(*) FROM history_cells c JOIN history_series s ON s.id = c.series WHERE {condition}");
    let total: i64 = db.prepare_cached(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
    let rank: String =
        query.states.iter().zip(0..).map(|(state, rank)| format!(" WHEN '{}' THEN {rank}", state.name())).collect();
    let page = format!(
        "{ROWS} LEFT JOIN history_runs since ON since.id = c.since WHERE {condition}
         ORDER BY CASE c.state{rank} ELSE 99 END, since.at DESC, c.id LIMIT ? OFFSET ?"
    );
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let (limit, from) = (number(query.limit), number(query.from));
    values.push(&limit);
    values.push(&from);
    let mut statement = db.prepare_cached(&page)?;
    let nothing_more = HistoryFilter::default();
    let rows = statement.query_map(params_from_iter(&values), |row| read(db, row, &nothing_more, now))?;
    let mut environments = Environments::new(db);
    let mut list = StateList { lines: Vec::new(), total: usize::try_from(total).unwrap_or_default() };
    for row in rows {
        let row = row?;
        let changed = if query.changes { changed(&row, &mut environments)? } else { None };
        let outcomes = if query.outcomes > 0 { last(db, row.cell, number(query.outcomes))? } else { Vec::new() };
        list.lines.push(StateLine { row, changed, outcomes });
    }
    Ok(list)
}

/// What differs between the last good and the first bad run.
fn changed(row: &TestRow, environments: &mut Environments) -> rusqlite::Result<Option<Vec<Difference>>> {
    let (Some(good), Some(bad)) = (row.last_good, row.first_bad) else { return Ok(None) };
    let found = (environments.of(row.cell, good)?, environments.of(row.cell, bad)?);
    let (Some(good), Some(bad)) = found else { return Ok(None) };
    Ok(Some(differences(&good, &bad)))
}

/// The last outcomes of a test, in the order in which the results came.
fn last(db: &Connection, cell: i64, limit: i64) -> rusqlite::Result<Vec<PastOutcome>> {
    let mut statement = db.prepare_cached(
        "SELECT o.seen, j.id, r.at FROM history_outcomes o JOIN history_runs r ON r.id = o.run
         JOIN jobs j ON j.number = r.job WHERE o.cell = ?1 ORDER BY o.run DESC LIMIT ?2",
    )?;
    let rows = statement.query_map([cell, limit], |row| {
        Ok(PastOutcome { seen: Code::seen(row.get(0)?), job: row.get(1)?, at: row.get(2)? })
    })?;
    rows.collect()
}

/// The targets that tests were run on, for filters.
pub(crate) fn known_targets(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT DISTINCT target FROM coverage ORDER BY target")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
