//! Confirms a result: its failing tests are run again.

use protocol::api::{Confirmed, JobState, Problem, ProblemCode};
use protocol::{GpuNeed, Job, JobResult, TestOutcome, Verdict};
use rusqlite::{OptionalExtension, params};

use crate::core::{Failure, Offer, Tx};
use crate::problem::without_result;
use crate::store;
use crate::store::columns::Json;

/// Most attempts at one question.
const MOST_ATTEMPTS: i64 = 20;

/// Where a confirmation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// On any machine.
    Anywhere,
    /// Not on the worker that delivered the result, if another one could take it.
    IfPossible,
}

impl Tx<'_> {
    /// Adds a job that runs the failing tests of a result again, on the same kind of GPU. If such a job has not ended
    /// yet, returns that one.
    pub(crate) fn confirm(&mut self, id: &str, elsewhere: Elsewhere) -> Result<Confirmed, Failure> {
        let found: Option<(i64, Json<Job>, Json<JobResult>, String)> = self
            .db
            .prepare_cached(
                "SELECT j.number, j.job, r.result, r.worker FROM jobs j JOIN results r ON r.job = j.number WHERE j.id = ?1",
            )?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((number, Json(job), Json(result), worker)) = found else {
            let found = store::job(self.db, id)?.map(|(_, _, job)| job);
            return Err(without_result(id, found.as_ref()).into());
        };
        if matches!(result.verdict, Verdict::Pass | Verdict::Neutral) {
            let detail = format!("job `{id}` has not failed: there is nothing to confirm");
            return Err(Problem::new(ProblemCode::Invalid, detail).into());
        }
        if let Some(part) = crate::store::shards::find(self.db, number)? {
            let detail = format!("job `{id}` is {}: confirm that job", part.words());
            return Err(Problem::new(ProblemCode::Invalid, detail).into());
        }
        // A confirmation of a confirmation asks the first question again.
        let of: i64 = self
            .db
            .prepare_cached("SELECT of FROM confirmations WHERE job = ?1")?
            .query_row([number], |row| row.get(0))
            .optional()?
            .unwrap_or(number);
        // Of a run that failed before any test, all that it was to run.
        let tests = Some(failing(&result)).filter(|tests| !tests.is_empty()).unwrap_or_else(|| job.tests.clone());
        let waiting: Option<String> = self
            .db
            .prepare_cached(
                "SELECT j.id FROM confirmations c JOIN jobs j ON j.number = c.job
                 WHERE c.of = ?1 AND j.state IN (?2, ?3) ORDER BY j.number LIMIT 1",
            )?
            .query_row(params![of, JobState::Queued.name(), JobState::Running.name()], |row| row.get(0))
            .optional()?;
        if let Some(waiting) = waiting {
            return Ok(Confirmed { jobs: vec![waiting], tests });
        }
        let attempts: i64 =
            self.db.query_row("SELECT count(*) FROM confirmations WHERE of = ?1", [of], |row| row.get(0))?;
        if attempts >= MOST_ATTEMPTS {
            let detail = format!("job `{id}` was confirmed {attempts} times already");
            return Err(Problem::new(ProblemCode::Invalid, detail).into());
        }
        job.check().map_err(|error| Problem::new(ProblemCode::Invalid, error.to_string()))?;
        self.check_package_files([&job])?;
        let again = Job { gpu: same_gpu(&job, &result), tests: tests.clone(), ..job };
        let not_on = match elsewhere {
            Elsewhere::IfPossible if self.could_run_elsewhere(&again, &worker) => vec![worker],
            _ => Vec::new(),
        };
        let added = self.insert_confirmation(again, id, of, &not_on)?;
        Ok(Confirmed { jobs: vec![added], tests })
    }

    fn could_run_elsewhere(&self, job: &Job, worker: &str) -> bool {
        let online = self.now.saturating_sub(crate::clock::millis(self.config.offline_after));
        let need = crate::core::Need::of(job);
        self.state.workers.iter().any(|(id, other)| {
            id != worker && other.paused.is_none() && other.seen_since(online) && need.fits(&Offer::all(&other.machine))
        })
    }
}

/// The tests that did not pass, each once. Empty if the run failed before any test: then all are run.
fn failing(result: &JobResult) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, test) in result.tests() {
        let failed = matches!(test.outcome, TestOutcome::Fail | TestOutcome::Unfinished);
        if failed && test.name == "*" {
            return Vec::new();
        }
        if failed && !names.contains(&test.name) {
            names.push(test.name.clone());
        }
    }
    names
}

/// The target that the result is of: a job for any GPU could otherwise be confirmed on another kind.
fn same_gpu(job: &Job, result: &JobResult) -> GpuNeed {
    let used: Vec<gpu::Target> = result.targets().iter().filter_map(|target| target.parse().ok()).collect();
    match &job.gpu {
        GpuNeed::None | GpuNeed::IfThere => job.gpu.clone(),
        _ if used.is_empty() => job.gpu.clone(),
        _ => GpuNeed::Targets(used),
    }
}
