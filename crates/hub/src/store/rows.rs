//! Queries for answers and pages.

use protocol::Verdict;
use protocol::api::{Attempt, AttemptState, JobInfo, JobState, ResultInfo};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use crate::clock::timestamp;
use crate::store::columns::{Hex, Json, Named};
use crate::store::{NameFilter, debci, shards};

/// Columns of a result `r`, whose worker's name is `rn.name`.
macro_rules! result_columns {
    () => {
        "r.package AS package, r.version AS version, r.targets AS targets, r.verdict AS verdict,
         r.simulated AS simulated, r.summary AS summary, r.worker AS result_worker, rn.name AS result_worker_name,
         r.started AS started, r.finished AS finished, r.received AS received, r.bundle AS bundle, r.size AS size"
    };
}

const JOB: &str = concat!(
    "SELECT j.number AS number, j.id AS id, j.job AS job, j.state AS state, j.why AS why, j.worker AS worker,
     jn.name AS worker_name, j.added AS added, j.ended AS ended, j.retry_of AS retry_of, j.attempts AS attempts, ",
    debci::origin_columns!(),
    ", ",
    shards::part_columns!(),
    ", ",
    result_columns!(),
    " FROM jobs j LEFT JOIN names jn ON jn.worker = j.worker LEFT JOIN debci_jobs d ON d.job = j.number
     LEFT JOIN results r ON r.job = j.number LEFT JOIN names rn ON rn.worker = r.worker",
    shards::of_job!()
);

/// Most packages whose jobs are merged for a page.
const MOST_NAMES: usize = 100;

/// Filter for jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFilter {
    pub(crate) state: Option<JobState>,
    pub(crate) package: Option<NameFilter>,
    /// Id of the worker that has or last had the job.
    pub(crate) worker: Option<String>,
    /// On what its result is; `none` without a GPU. Jobs without a result are on nothing yet.
    pub(crate) target: Option<String>,
    /// Only jobs with numbers below this.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// Filter for results.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultFilter {
    pub(crate) package: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) verdict: Option<Verdict>,
    /// Id of the worker that delivered the result.
    pub(crate) worker: Option<String>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// A cell of the matrix of packages and targets. It has a result, a mark, or both.
#[derive(Debug, Clone)]
pub(crate) struct MatrixCell {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) simulated: bool,
    /// The latest result that says something about the package.
    pub(crate) result: Option<CellResult>,
    /// A later result that says nothing about it.
    pub(crate) mark: Option<CellResult>,
}

/// A result in a cell.
#[derive(Debug, Clone)]
pub(crate) struct CellResult {
    /// Id of the job.
    pub(crate) job: String,
    pub(crate) verdict: Verdict,
    /// Time at which the hub received it, in milliseconds since 1970.
    pub(crate) received: i64,
}

/// The conditions of a query. Unused ones are left out completely, as `SQLite` would not use an index otherwise.
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

    /// Queries the rows that meet the conditions.
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

/// Jobs with their numbers, newest first.
pub(crate) fn jobs(db: &Connection, filter: &JobFilter) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    if filter.target.is_some() {
        return on_target(db, filter);
    }
    if let Some(names) = worth_merging(db, filter)? {
        return merged(db, filter, names);
    }
    let wanted = conditions(filter);
    let read = |row: &Row| Ok((row.get("number")?, job_info(row)?));
    with_parts(db, wanted.query(db, (JOB, "j.number DESC"), filter.limit, read)?)
}

/// The conditions of a filter, except for its target.
fn conditions(filter: &JobFilter) -> Conditions {
    let mut wanted = Conditions::default();
    wanted.add("j.state = :state", ":state", filter.state.map(JobState::name));
    let condition = match &filter.package {
        Some(NameFilter::Pattern(_)) => "lower(j.package) GLOB :package",
        _ => "j.package = :package",
    };
    wanted.add(condition, ":package", filter.package.as_ref().map(|name| name.value().clone()));
    wanted.add("j.worker = :worker", ":worker", filter.worker.clone());
    wanted.add("j.number < :before", ":before", filter.before);
    wanted
}

/// The newest jobs with results on a target. `CROSS JOIN` has the index on targets lead, in the order of the page.
fn on_target(db: &Connection, filter: &JobFilter) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    const NUMBERS: &str = "SELECT t.job FROM result_targets t CROSS JOIN jobs j ON j.number = t.job";
    let mut wanted = conditions(filter);
    wanted.add("t.target = :target", ":target", filter.target.clone());
    let numbers = wanted.query(db, (NUMBERS, "t.job DESC"), filter.limit, |row| row.get::<_, i64>(0))?;
    by_numbers(db, &numbers)
}

/// Jobs by their numbers.
fn by_numbers(db: &Connection, numbers: &[i64]) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    let mut statement = db.prepare_cached(&format!("{JOB} WHERE j.number = ?1"))?;
    let one = |number: &i64| statement.query_row([number], |row| Ok((row.get("number")?, job_info(row)?)));
    with_parts(db, numbers.iter().map(one).collect::<rusqlite::Result<_>>()?)
}

/// Jobs with their numbers, and with the parts of those that have some.
fn with_parts(db: &Connection, mut jobs: Vec<(i64, JobInfo)>) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    for (number, job) in jobs.iter_mut().filter(|(_, job)| job.job.shards > 1) {
        job.parts = shards::parts(db, *number)?;
    }
    Ok(jobs)
}

/// Names of packages that a pattern matches, if the newest jobs of each are to be merged. No index leads to the jobs of a
/// pattern: where few match, a year of jobs would be looked at for one page. A worker, or a state that few jobs have, is
/// an index that is good enough, and a pattern that matches many packages soon finds a page among all jobs.
fn worth_merging(db: &Connection, filter: &JobFilter) -> rusqlite::Result<Option<Vec<String>>> {
    let Some(NameFilter::Pattern(pattern)) = &filter.package else { return Ok(None) };
    if filter.worker.is_some() || !matches!(filter.state, None | Some(JobState::Finished)) {
        return Ok(None);
    }
    // One step in the index for each name.
    let mut statement = db.prepare_cached(
        "WITH RECURSIVE names (name) AS (
             SELECT min(package) FROM jobs
             UNION ALL SELECT (SELECT min(package) FROM jobs WHERE package > name) FROM names WHERE name IS NOT NULL
         ) SELECT name FROM names WHERE lower(name) GLOB ?1 LIMIT ?2",
    )?;
    let names = statement
        .query_map(rusqlite::params![pattern, i64::try_from(MOST_NAMES + 1).unwrap_or(i64::MAX)], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    Ok(Some(names).filter(|names| names.len() <= MOST_NAMES))
}

/// The newest jobs of these packages.
fn merged(db: &Connection, filter: &JobFilter, names: Vec<String>) -> rusqlite::Result<Vec<(i64, JobInfo)>> {
    let mut numbers: Vec<i64> = Vec::new();
    for name in names {
        let mut wanted = Conditions::default();
        wanted.add("j.package = :package", ":package", Some(name));
        wanted.add("j.state = :state", ":state", filter.state.map(JobState::name));
        wanted.add("j.number < :before", ":before", filter.before);
        let newest = wanted
            .query(db, ("SELECT j.number FROM jobs j", "j.number DESC"), filter.limit, |row| row.get::<_, i64>(0))?;
        numbers.extend(newest);
    }
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.truncate(filter.limit);
    by_numbers(db, &numbers)
}

/// Whether there is a job of the package with this name.
pub(crate) fn has_jobs_of(db: &Connection, package: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM jobs WHERE package = ?1")?.exists([package])
}

/// A job with its number and its count of attempts.
pub(crate) fn job(db: &Connection, id: &str) -> rusqlite::Result<Option<(i64, u32, JobInfo)>> {
    let mut statement = db.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    let read = |row: &Row| Ok((row.get("number")?, row.get("attempts")?, job_info(row)?));
    let Some((number, attempts, mut job)) = statement.query_row([id], read).optional()? else { return Ok(None) };
    if job.job.shards > 1 {
        job.parts = shards::parts(db, number)?;
    }
    Ok(Some((number, attempts, job)))
}

fn job_info(row: &Row) -> rusqlite::Result<JobInfo> {
    let id: String = row.get("id")?;
    let Json(job) = row.get("job")?;
    let Named(state) = row.get("state")?;
    let result = match row.get::<_, Option<String>>("package")? {
        Some(_) => Some(result_info(row)?),
        None => None,
    };
    Ok(JobInfo {
        id,
        job,
        state,
        why: row.get("why")?,
        worker: row.get("worker")?,
        worker_name: row.get("worker_name")?,
        phase: None,
        added: timestamp(row.get("added")?),
        ended: row.get::<_, Option<i64>>("ended")?.map(timestamp),
        retry_of: row.get("retry_of")?,
        debci: debci::origin(row)?,
        attempts: Vec::new(),
        result,
        part_of: shards::part_of(row)?,
        parts: Vec::new(),
    })
}

/// Reads a row with the job's `id` and the columns of [`result_columns`].
fn result_info(row: &Row) -> rusqlite::Result<ResultInfo> {
    let Named(verdict) = row.get("verdict")?;
    Ok(ResultInfo {
        job: row.get("id")?,
        package: row.get("package")?,
        version: row.get("version")?,
        targets: row.get::<_, String>("targets")?.split_whitespace().map(str::to_owned).collect(),
        verdict,
        simulated: row.get("simulated")?,
        summary: row.get("summary")?,
        worker: row.get("result_worker")?,
        worker_name: row.get("result_worker_name")?,
        started: timestamp(row.get("started")?),
        finished: timestamp(row.get("finished")?),
        received: Some(timestamp(row.get("received")?)),
        bundle: row.get::<_, Hex>("bundle")?.0,
        size: row.get::<_, i64>("size")?.unsigned_abs(),
    })
}

/// All attempts of a job.
pub(crate) fn attempts(db: &Connection, number: i64) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = db.prepare_cached(
        "SELECT l.attempt, l.worker, n.name, l.state, l.reason, l.given, l.ended, l.late
         FROM leases l LEFT JOIN names n ON n.worker = l.worker WHERE l.job = ?1 ORDER BY l.attempt",
    )?;
    let rows = statement.query_map([number], |row| {
        let Named(state): Named<AttemptState> = row.get(3)?;
        Ok(Attempt {
            number: row.get(0)?,
            worker: row.get(1)?,
            worker_name: row.get(2)?,
            state,
            reason: row.get(4)?,
            given: timestamp(row.get(5)?),
            ended: row.get::<_, Option<i64>>(6)?.map(timestamp),
            late: row.get(7)?,
        })
    })?;
    rows.collect()
}

const RESULTS: &str = concat!(
    "SELECT r.job AS number, j.id AS id, ",
    result_columns!(),
    " FROM results r JOIN jobs j ON j.number = r.job LEFT JOIN names rn ON rn.worker = r.worker"
);

/// Results with their jobs' numbers, newest jobs first. Those of parts are in their jobs' results.
pub(crate) fn results(db: &Connection, filter: &ResultFilter) -> rusqlite::Result<Vec<(i64, ResultInfo)>> {
    let mut wanted = Conditions::default();
    wanted.add("r.package = :package", ":package", filter.package.clone());
    wanted.add(
        "instr(' ' || r.targets || ' ', :target) > 0",
        ":target",
        filter.target.as_ref().map(|t| format!(" {t} ")),
    );
    wanted.add("r.verdict = :verdict", ":verdict", filter.verdict.map(Verdict::name));
    wanted.add("r.worker = :worker", ":worker", filter.worker.clone());
    wanted.add("r.job < :before", ":before", filter.before);
    wanted.texts.push(shards::is_whole!());
    wanted.query(db, (RESULTS, "r.job DESC"), filter.limit, |row| Ok((row.get("number")?, result_info(row)?)))
}

/// Overview of a job's result.
pub(crate) fn result(db: &Connection, job: &str) -> rusqlite::Result<Option<ResultInfo>> {
    let mut statement = db.prepare_cached(&format!("{RESULTS} WHERE j.id = ?1"))?;
    statement.query_row([job], result_info).optional()
}

/// `result.json` of a job's result.
pub(crate) fn result_json(db: &Connection, job: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT r.result FROM results r JOIN jobs j ON j.number = r.job WHERE j.id = ?1";
    db.prepare_cached(sql)?.query_row([job], |row| row.get(0)).optional()
}

/// The cells of the matrix, of all packages or some; real and simulated ones are separate.
pub(crate) fn matrix(db: &Connection, package: Option<&NameFilter>) -> rusqlite::Result<Vec<MatrixCell>> {
    let condition = package.map(|name| format!("WHERE c.package {} ?", name.operator())).unwrap_or_default();
    let mut statement = db.prepare_cached(&format!(
        "SELECT c.package, c.target, c.simulated, j.id, c.verdict, c.received, m.id, c.mark, c.mark_received
         FROM coverage c LEFT JOIN jobs j ON j.number = c.job LEFT JOIN jobs m ON m.number = c.mark_job
         {condition} ORDER BY c.package, c.target"
    ))?;
    let result = |row: &Row, first: usize| -> rusqlite::Result<Option<CellResult>> {
        let Some(job) = row.get(first)? else { return Ok(None) };
        let Named(verdict) = row.get(first + 1)?;
        Ok(Some(CellResult { job, verdict, received: row.get(first + 2)? }))
    };
    let rows = statement.query_map(rusqlite::params_from_iter(package.map(NameFilter::value)), |row| {
        Ok(MatrixCell {
            package: row.get(0)?,
            target: row.get(1)?,
            simulated: row.get(2)?,
            result: result(row, 3)?,
            mark: result(row, 6)?,
        })
    })?;
    rows.collect()
}
