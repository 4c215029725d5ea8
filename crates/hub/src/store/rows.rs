//! What is read from the database for answers and pages.

use protocol::api::{Attempt, JobInfo, JobState, ResultInfo};
use protocol::{Job, Verdict};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use crate::clock::timestamp;

const JOB: &str = "SELECT j.number, j.id, j.job, j.state, j.why, j.worker, j.added, j.ended, j.retry_of,
    r.package, r.version, r.targets, r.verdict, r.simulated, r.summary, r.worker, r.started, r.finished, r.bundle,
    r.size, j.attempts
    FROM jobs j LEFT JOIN results r ON r.job = j.number";

/// First column of the result within a row of [`JOB`].
const RESULT: usize = 9;

/// Which jobs are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFilter {
    pub(crate) state: Option<JobState>,
    pub(crate) package: Option<String>,
    /// Only jobs with lower numbers than this.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// Which results are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultFilter {
    pub(crate) package: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// A cell of the page package x target.
#[derive(Debug, Clone)]
pub(crate) struct MatrixCell {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) simulated: bool,
    pub(crate) job: String,
    pub(crate) verdict: Verdict,
    pub(crate) finished: i64,
}

/// Conditions of a query, those that are wanted. An index is used only where the others are not even mentioned.
#[derive(Default)]
struct Conditions {
    texts: Vec<&'static str>,
    values: Vec<(&'static str, Box<dyn ToSql>)>,
}

impl Conditions {
    fn add(&mut self, condition: &'static str, name: &'static str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.texts.push(condition);
            self.values.push((name, Box::new(value)));
        }
    }

    /// The rows that fulfil them.
    fn query<T>(
        mut self,
        db: &Connection,
        (select, order): (&str, &str),
        limit: usize,
        read: impl FnMut(&Row) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let condition =
            if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) };
        self.values.push((":limit", Box::new(i64::try_from(limit).unwrap_or(i64::MAX))));
        let mut statement = db.prepare_cached(&format!("{select}{condition} ORDER BY {order} LIMIT :limit"))?;
        let values: Vec<(&str, &dyn ToSql)> = self.values.iter().map(|(name, value)| (*name, &**value)).collect();
        statement.query_map(&*values, read)?.collect()
    }
}

/// Jobs with their numbers, the newest first.
pub(crate) fn jobs(db: &Connection, filter: &JobFilter) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    let mut wanted = Conditions::default();
    wanted.add("j.state = :state", ":state", filter.state.map(JobState::name));
    wanted.add("j.package = :package", ":package", filter.package.clone());
    wanted.add("j.number < :before", ":before", filter.before);
    wanted.query(db, (JOB, "j.number DESC"), filter.limit, |row| Ok((row.get(0)?, job_info(row)?)))
}

/// A job with its number and how often it was given out.
pub(crate) fn job(db: &Connection, id: &str) -> rusqlite::Result<Option<(i64, u32, JobInfo)>> {
    let mut statement = db.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    statement.query_row([id], |row| Ok((row.get(0)?, row.get(20)?, job_info(row)?))).optional()
}

fn job_info(row: &Row) -> rusqlite::Result<JobInfo> {
    let id: String = row.get(1)?;
    let job: String = row.get(2)?;
    let job: Job = serde_json::from_str(&job).map_err(|error| broken(2, error))?;
    let state: JobState = row.get::<_, String>(3)?.parse().map_err(|error| broken_text(3, error))?;
    let result = match row.get::<_, Option<String>>(RESULT)? {
        Some(_) => Some(result_info(row, RESULT, id.clone())?),
        None => None,
    };
    Ok(JobInfo {
        id,
        job,
        state,
        why: row.get(4)?,
        worker: row.get(5)?,
        phase: None,
        added: timestamp(row.get(6)?),
        ended: row.get::<_, Option<i64>>(7)?.map(timestamp),
        retry_of: row.get(8)?,
        attempts: Vec::new(),
        result,
    })
}

fn result_info(row: &Row, first: usize, job: String) -> rusqlite::Result<ResultInfo> {
    Ok(ResultInfo {
        job,
        package: row.get(first)?,
        version: row.get(first + 1)?,
        targets: row.get::<_, String>(first + 2)?.split_whitespace().map(str::to_owned).collect(),
        verdict: row.get::<_, String>(first + 3)?.parse().map_err(|error| broken_text(first + 3, error))?,
        simulated: row.get(first + 4)?,
        summary: row.get(first + 5)?,
        worker: row.get(first + 6)?,
        started: timestamp(row.get(first + 7)?),
        finished: timestamp(row.get(first + 8)?),
        bundle: row.get(first + 9)?,
        size: row.get::<_, i64>(first + 10)?.unsigned_abs(),
    })
}

/// Each time that a job was given out.
pub(crate) fn attempts(db: &Connection, number: i64) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = db.prepare_cached(
        "SELECT attempt, worker, state, reason, given, ended FROM leases WHERE job = ?1 ORDER BY attempt",
    )?;
    let rows = statement.query_map([number], |row| {
        Ok(Attempt {
            number: row.get(0)?,
            worker: row.get(1)?,
            state: row.get::<_, String>(2)?.parse().map_err(|error| broken_text(2, error))?,
            reason: row.get(3)?,
            given: timestamp(row.get(4)?),
            ended: row.get::<_, Option<i64>>(5)?.map(timestamp),
        })
    })?;
    rows.collect()
}

const RESULTS: &str = "SELECT r.job, j.id, r.package, r.version, r.targets, r.verdict, r.simulated, r.summary,
    r.worker, r.started, r.finished, r.bundle, r.size FROM results r JOIN jobs j ON j.number = r.job";

/// Results with their jobs' numbers, those of the newest jobs first.
pub(crate) fn results(db: &Connection, filter: &ResultFilter) -> rusqlite::Result<Vec<(i64, ResultInfo)>> {
    let mut wanted = Conditions::default();
    wanted.add("r.package = :package", ":package", filter.package.clone());
    wanted.add(
        "instr(' ' || r.targets || ' ', :target) > 0",
        ":target",
        filter.target.as_ref().map(|t| format!(" {t} ")),
    );
    wanted.add("r.verdict = :verdict", ":verdict", filter.verdict.map(Verdict::name));
    wanted.add("r.job < :before", ":before", filter.before);
    wanted.query(db, (RESULTS, "r.job DESC"), filter.limit, |row| Ok((row.get(0)?, result_info(row, 2, row.get(1)?)?)))
}

/// A result in short.
pub(crate) fn result(db: &Connection, job: &str) -> rusqlite::Result<Option<ResultInfo>> {
    let mut statement = db.prepare_cached(&format!("{RESULTS} WHERE j.id = ?1"))?;
    statement.query_row([job], |row| result_info(row, 2, row.get(1)?)).optional()
}

/// `result.json` of a job's result.
pub(crate) fn result_json(db: &Connection, job: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT r.result FROM results r JOIN jobs j ON j.number = r.job WHERE j.id = ?1";
    db.prepare_cached(sql)?.query_row([job], |row| row.get(0)).optional()
}

/// The latest result for each package and target, real and simulated ones apart.
pub(crate) fn matrix(db: &Connection) -> rusqlite::Result<Vec<MatrixCell>> {
    let mut statement = db.prepare_cached(
        "SELECT c.package, c.target, c.simulated, j.id, c.verdict, c.finished
         FROM coverage c JOIN jobs j ON j.number = c.job ORDER BY c.package, c.target",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(MatrixCell {
            package: row.get(0)?,
            target: row.get(1)?,
            simulated: row.get(2)?,
            job: row.get(3)?,
            verdict: row.get::<_, String>(4)?.parse().map_err(|error| broken_text(4, error))?,
            finished: row.get(5)?,
        })
    })?;
    rows.collect()
}

fn broken(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn broken_text(column: usize, error: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
