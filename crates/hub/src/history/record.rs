//! Records what a result says about each test, and computes the states anew.

use std::collections::{BTreeMap, BTreeSet};

use history::{Cell, Observation, Seen, evaluate, transitions, verdict_of};
use protocol::api::TestState;
use protocol::{AptSource, Job, JobResult, NO_GPU, Run, Source, TestOutcome, TestResult, Verdict};
use rusqlite::{Connection, OptionalExtension, params};
use sha256::Digest;

use crate::history::{environments, known};
use crate::store::columns::Named;
use crate::store::coverage::is_simulated;

/// Most tests of a run that are recorded.
const MOST_TESTS: usize = 500;
/// Longest name of a test that is recorded, in bytes.
const LONGEST_NAME: usize = 200;

/// Longest list of packages in the description of a variant, in bytes.
const LONGEST_LIST: usize = 200;

/// A result with the hub's data about it.
pub(crate) struct Noted<'a> {
    /// Number of the job.
    pub(crate) number: i64,
    /// The job as the hub has it; the worker's copy is not used.
    pub(crate) job: &'a Job,
    /// When the hub gave the job out, in milliseconds since 1970: the worker's clock may be wrong.
    pub(crate) at: i64,
    /// Id of the worker.
    pub(crate) worker: &'a str,
    pub(crate) result: &'a JobResult,
    /// Whether it counts: not if it may be of another machine than the worker has registered.
    pub(crate) counts: bool,
}

/// How states are computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recompute {
    /// A change of the state is recorded if there is one.
    Latest,
    /// All changes are made from the observations, for tables that are new.
    WithChanges,
}

/// Records a result. Returns the changes of state of tests that only the archive decides.
pub(crate) fn note(db: &Connection, noted: &Noted) -> rusqlite::Result<Vec<TestState>> {
    let mut states = Vec::new();
    for cell in insert(db, noted)? {
        states.extend(recompute(db, cell, Recompute::Latest)?);
    }
    Ok(states)
}

/// Where the tested packages come from besides the archive. Which tests run does not matter.
fn variant(job: &Job) -> String {
    let mut words = Vec::new();
    match &job.source {
        Source::Package(_) => {}
        Source::Path(path) => words.push(format!("path {path}")),
        Source::Url(url) => words.push(format!("url {url}")),
    }
    let mut pins = job.pin.clone();
    pins.sort_unstable();
    words.extend(pins.into_iter().map(|pin| format!("pin {pin}")));
    words.extend(summed("versions", job.versions.iter().map(|(name, version)| format!("{name}={version}"))));
    words.extend(summed("packages", job.packages.iter().map(ToString::to_string)));
    words.extend(summed("apt-sources", job.apt_sources.iter().map(AptSource::paragraph)));
    words.extend(job.archive.as_ref().map(|archive| format!("archive {archive}")));
    words.extend(job.env.iter().map(|(name, value)| format!("env {name}={value}")));
    words.join(", ")
}

/// A list that can be long as a few words: the list itself, or else its digest.
fn summed(name: &str, items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    let text = items.join(" ");
    match items.len() {
        0 => None,
        _ if text.len() <= LONGEST_LIST && !text.contains('\n') => Some(format!("{name} {text}")),
        count => Some(format!("{name} {count} with sha256 {}", Digest::of(&text).prefix(16))),
    }
}

/// Adds the observations of a result. Returns the tests whose states have to be computed anew.
pub(super) fn insert(db: &Connection, noted: &Noted) -> rusqlite::Result<BTreeSet<i64>> {
    let mut touched = BTreeSet::new();
    let added = db.prepare_cached("INSERT OR IGNORE INTO history_noted (job) VALUES (?1)")?.execute([noted.number])?;
    // The lists are kept in any case, as the stored result no longer has them.
    let lists = environments::store_lists(db, noted.result)?;
    if added == 0 || !noted.counts {
        return Ok(touched);
    }
    let confirms: Option<i64> = db
        .prepare_cached("SELECT of FROM confirmations WHERE job = ?1")?
        .query_row([noted.number], |row| row.get(0))
        .optional()?;
    let mut found = noted.result.targets();
    if found.is_empty() {
        found.push(NO_GPU.to_owned());
    }
    for run_as in &noted.job.run_as {
        let run = noted.result.runs.iter().find(|run| run.run_as == *run_as);
        let series = series(db, noted, &run_as.to_string())?;
        for target in &found {
            let about = About { noted, run, series, target, confirms, lists: &lists };
            touched.extend(about.insert(db)?);
        }
    }
    Ok(touched)
}

fn series(db: &Connection, noted: &Noted, run_as: &str) -> rusqlite::Result<i64> {
    let key = params![noted.job.source.name(), run_as, variant(noted.job)];
    db.prepare_cached("INSERT OR IGNORE INTO history_series (package, run_as, variant) VALUES (?1, ?2, ?3)")?
        .execute(key)?;
    db.prepare_cached("SELECT id FROM history_series WHERE package = ?1 AND run_as = ?2 AND variant = ?3")?
        .query_row(key, |row| row.get(0))
}

/// A run of a result on a target.
struct About<'a> {
    noted: &'a Noted<'a>,
    /// Missing if the job ended before it.
    run: Option<&'a Run>,
    series: i64,
    target: &'a str,
    /// The job that it confirms.
    confirms: Option<i64>,
    lists: &'a BTreeMap<Digest, i64>,
}

impl About<'_> {
    fn insert(&self, db: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
        let run = self.insert_run(db)?;
        let outcomes = self.outcomes();
        let mut touched = BTreeSet::new();
        for (test, (seen, packages)) in &outcomes {
            let cell = self.cell(db, test)?;
            db.prepare_cached("INSERT INTO history_outcomes (cell, run, seen, packages) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![cell, run, Code::of(*seen), packages])?;
            touched.insert(cell);
        }
        if self.has_all_tests() {
            let mut statement = db.prepare_cached(
                "SELECT id, test FROM history_cells WHERE series = ?1 AND target = ?2 AND simulated = ?3",
            )?;
            let simulated = is_simulated(self.noted.result);
            let cells = statement.query_map(params![self.series, self.target, simulated], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })?;
            for cell in cells {
                let (cell, test) = cell?;
                let is_there = |run: &Run| run.tests.iter().any(|other| other.name == test);
                if !outcomes.contains_key(test.as_str()) && !self.run.is_some_and(is_there) {
                    // It no longer exists.
                    db.prepare_cached("INSERT INTO history_outcomes (cell, run, seen) VALUES (?1, ?2, ?3)")?
                        .execute(params![cell, run, Code::of(Seen::Skip)])?;
                    touched.insert(cell);
                }
            }
        }
        Ok(touched)
    }

    fn insert_run(&self, db: &Connection) -> rusqlite::Result<i64> {
        let Noted { number, result, worker, at, .. } = self.noted;
        let gpu: Vec<&str> = result.used_gpus().map(|gpu| gpu.unique_id.as_deref().unwrap_or(&gpu.id)).collect();
        let archives = self.run.map(|run| &run.archives[..]).unwrap_or_default();
        let environment = environments::store(db, result, archives)?;
        let package = || Some(&self.run?.package.as_ref()?.version);
        let version = self.run.and_then(|run| run.tested.as_ref()).or_else(package);
        let of: Option<i64> = match self.confirms {
            Some(of) => db
                .prepare_cached("SELECT id FROM history_runs WHERE job = ?1 AND series = ?2 AND target = ?3")?
                .query_row(params![of, self.series, self.target], |row| row.get(0))
                .optional()?,
            None => None,
        };
        db.prepare_cached(
            "INSERT INTO history_runs (job, series, target, simulated, worker, gpu, environment, version, at, of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            number,
            self.series,
            self.target,
            is_simulated(result),
            worker,
            gpu.join(" "),
            environment,
            version,
            at,
            of
        ])?;
        Ok(db.last_insert_rowid())
    }

    /// What the run says about the whole run and about each test, with the list of packages.
    fn outcomes(&self) -> BTreeMap<&str, (Seen, Option<i64>)> {
        let verdict = verdict_of(self.noted.result, self.run);
        let tests = self.run.map(|run| &run.tests[..]).unwrap_or_default();
        let list = |test: &TestResult| test.installed.as_ref().and_then(|digest| self.lists.get(digest)).copied();
        let mut outcomes = BTreeMap::new();
        // A run of some tests only says nothing about the others, unless it confirms a run.
        if self.noted.job.tests.is_empty() || self.confirms.is_some() {
            outcomes.insert("", (Seen::from(verdict), tests.iter().rev().find_map(list)));
        }
        // One that is marked as flaky, and failed, says nothing.
        let named = tests.iter().filter(|test| is_recorded(test) && test.outcome != TestOutcome::Flaky);
        for test in named.take(MOST_TESTS) {
            outcomes.insert(&test.name, (Seen::of_test(test, verdict), list(test)));
        }
        outcomes
    }

    /// Whether a test that is not in the run no longer exists.
    fn has_all_tests(&self) -> bool {
        let ran = self.run.filter(|run| matches!(run.verdict, Verdict::Pass | Verdict::Fail | Verdict::Neutral));
        let Some(run) = ran else { return false };
        // A package whose tests cannot be read or installed has one entry for all of them.
        let all_named = run.tests.iter().all(is_recorded);
        self.noted.job.tests.is_empty()
            && self.noted.result.verdict.is_of_package()
            && !run.tests.is_empty()
            && run.tests.len() <= MOST_TESTS
            && all_named
    }

    fn cell(&self, db: &Connection, test: &str) -> rusqlite::Result<i64> {
        let key = params![self.series, self.target, is_simulated(self.noted.result), test];
        let find = "SELECT id FROM history_cells WHERE series = ?1 AND target = ?2 AND simulated = ?3 AND test = ?4";
        let found = db.prepare_cached(find)?.query_row(key, |row| row.get(0)).optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        db.prepare_cached(
            "INSERT INTO history_cells (series, target, simulated, test, state, streak, failed, ran, flips,
                 infrastructure) VALUES (?1, ?2, ?3, ?4, 'untested', 0, 0, 0, 0, 0)",
        )?
        .execute(key)?;
        Ok(db.last_insert_rowid())
    }
}

fn is_recorded(test: &TestResult) -> bool {
    !test.name.is_empty() && test.name != "*" && test.name.len() <= LONGEST_NAME
}

/// Outcomes as numbers, of which there are millions.
pub(super) struct Code;

impl Code {
    const ORDER: [Seen; 5] = [Seen::Pass, Seen::Fail, Seen::Skip, Seen::TimedOut, Seen::Nothing];

    pub(super) fn of(seen: Seen) -> i64 {
        (0..).zip(Self::ORDER).find(|(_, other)| *other == seen).map_or(4, |(code, _)| code)
    }

    pub(super) fn seen(code: i64) -> Seen {
        usize::try_from(code).ok().and_then(|at| Self::ORDER.get(at)).copied().unwrap_or(Seen::Nothing)
    }
}

/// All observations of a test.
pub(super) fn observations(db: &Connection, cell: i64) -> rusqlite::Result<Vec<Observation>> {
    let mut statement = db.prepare_cached(
        "SELECT o.run, r.at, r.of, o.seen, r.environment, o.packages
         FROM history_outcomes o JOIN history_runs r ON r.id = o.run WHERE o.cell = ?1",
    )?;
    let rows = statement.query_map([cell], |row| {
        let (environment, packages): (i64, Option<i64>) = (row.get(4)?, row.get(5)?);
        Ok(Observation {
            run: row.get(0)?,
            at: row.get(1)?,
            of: row.get(2)?,
            seen: Code::seen(row.get(3)?),
            // Without the packages it is not known whether two environments are the same.
            environment: packages.map(|packages| environment.wrapping_shl(32) ^ packages),
        })
    })?;
    rows.collect()
}

/// Computes the state of a test anew. Returns the new state if it has changed.
pub(super) fn recompute(db: &Connection, cell: i64, how: Recompute) -> rusqlite::Result<Option<TestState>> {
    let observations = observations(db, cell)?;
    let is_known = known::covers(db, cell)?;
    let computed = evaluate(&observations, is_known);
    let Named(before): Named<TestState> =
        db.prepare_cached("SELECT state FROM history_cells WHERE id = ?1")?.query_row([cell], |row| row.get(0))?;
    store(db, cell, &computed)?;
    let insert = |run: i64, at: i64, before: TestState, after: TestState| {
        db.prepare_cached("INSERT INTO history_changes (cell, run, at, before, after) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![cell, run, at, before.name(), after.name()])
    };
    if how == Recompute::WithChanges {
        db.prepare_cached("DELETE FROM history_changes WHERE cell = ?1")?.execute([cell])?;
        for change in transitions(&observations, is_known) {
            insert(change.run, change.at, change.from, change.to)?;
        }
        return Ok(None);
    }
    if computed.state == before {
        return Ok(None);
    }
    let newest = observations.iter().max_by_key(|seen| (seen.at, seen.run));
    if let Some(newest) = newest {
        insert(newest.run, newest.at, before, computed.state)?;
    }
    Ok(Some(computed.state))
}

fn store(db: &Connection, cell: i64, computed: &Cell) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE history_cells SET state = ?2, since = ?3, last_good = ?4, first_bad = ?5, last = ?6, last_at = ?7,
             streak = ?8, failed = ?9, ran = ?10, flips = ?11, infrastructure = ?12 WHERE id = ?1",
    )?
    .execute(params![
        cell,
        computed.state.name(),
        computed.since,
        computed.last_good,
        computed.first_bad,
        computed.last,
        computed.last_at,
        computed.streak,
        computed.failed,
        computed.ran,
        computed.flips,
        computed.infrastructure,
    ])
    .map(drop)
}
