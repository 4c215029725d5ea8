//! The command that ends a job with a result. Each job gets at most one.

use protocol::api::{AttemptState, Completed, JobState, Problem, ProblemCode};
use protocol::{Job, JobResult, Source};
use rusqlite::params;

use crate::core::leases::{LeaseRow, find};
use crate::core::machine::compare;
use crate::core::{Event, Failure, Tx};
use crate::store::columns::{Json, Named};
use crate::store::coverage::{self, Covering, is_simulated, targets};

/// A bundle that has passed the check.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// SHA-256 of the bundle.
    pub(crate) bundle: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// The parsed `result.json`.
    pub(crate) result: JobResult,
    /// The worker's summary of it.
    pub(crate) summary: String,
    /// Whether the worker sent its time. If not, the times in the result are used to estimate its clock.
    pub(crate) clock: WorkerClock,
}

/// Information about the worker's clock in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerClock {
    /// The request had the time, and it was compared.
    Told,
    /// The request did not have the time.
    Untold,
}

/// Whether a lease may be completed.
#[derive(Debug)]
pub(crate) enum Completion {
    /// Yes.
    Open(Completable),
    /// Already completed with the same bundle: this was the answer.
    Done(Completed),
}

/// A job that may be completed.
#[derive(Debug)]
pub(crate) struct Completable {
    /// Number of the job.
    pub(crate) number: i64,
    /// Id of the job.
    pub(crate) id: String,
    /// Source that the job tests.
    pub(crate) source: Source,
}

impl Tx<'_> {
    /// The answer if the lease was already completed with this bundle; `None` if it may be completed now.
    fn completed_before(
        &self,
        lease: &str,
        worker: &str,
        bundle: &str,
    ) -> Result<(LeaseRow, Option<Completed>), Failure> {
        let row = find(self.db, lease, worker)?;
        let refuse = |code, detail: String| Err(Failure::Refused(Problem::new(code, detail)));
        if row.job_state == JobState::Finished {
            let (by, kept, Named(verdict)): (String, String, _) = self
                .db
                .prepare_cached("SELECT lease, bundle, verdict FROM results WHERE job = ?1")?
                .query_row([row.job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if by == lease && kept == bundle {
                let completed = Completed { job: row.job_id.clone(), verdict, late: row.late };
                return Ok((row, Some(completed)));
            }
            let by = if by == lease { "this lease, with another bundle" } else { "another attempt" };
            return refuse(
                ProblemCode::AlreadyCompleted,
                format!("job `{}` was completed by {by} (bundle {kept})", row.job_id),
            );
        }
        if row.job_state == JobState::Cancelled {
            return refuse(ProblemCode::JobCancelled, format!("job `{}` was cancelled", row.job_id));
        }
        if row.state == AttemptState::GivenBack {
            return refuse(ProblemCode::LeaseOver, format!("job `{}` was given back", row.job_id));
        }
        Ok((row, None))
    }

    /// Checks, before a bundle is read, whether the lease may be completed.
    pub(crate) fn may_complete(&mut self, lease: &str, worker: &str, bundle: &str) -> Result<Completion, Failure> {
        let (row, before) = self.completed_before(lease, worker, bundle)?;
        if let Some(before) = before {
            return Ok(Completion::Done(before));
        }
        let job = self.job(row.job)?;
        Ok(Completion::Open(Completable { number: row.job, id: row.job_id, source: job.source }))
    }

    /// Ends a job with a result. The same request again gets the same answer. An expired lease is accepted unless
    /// another worker has completed the job.
    pub(crate) fn complete(
        &mut self,
        lease: &str,
        worker: &str,
        mut delivered: Delivered,
    ) -> Result<Completed, Failure> {
        let (row, before) = self.completed_before(lease, worker, &delivered.bundle)?;
        if let Some(before) = before {
            return Ok(before);
        }
        let live = self.state.lease_of(lease, worker).map(|live| live.machine.clone());
        // The lease has expired, so the current registration counts.
        let registered = live.or_else(|| self.state.workers.get(worker).map(|known| known.machine.clone()));
        if let Some(registered) = registered {
            delivered.result.warnings.extend(compare(&delivered.result, &registered)?);
        }
        let late = row.state != AttemptState::Active;
        let others = "another attempt has delivered the result";
        self.db
            .prepare_cached(
                "UPDATE leases SET state = ?5, reason = ?2, ended = ?3 WHERE job = ?1 AND state = ?6 AND id <> ?4",
            )?
            .execute(params![
                row.job,
                others,
                self.now,
                lease,
                AttemptState::Cancelled.name(),
                AttemptState::Active.name()
            ])?;
        self.db
            .prepare_cached("UPDATE leases SET state = ?4, reason = '', late = ?2, ended = ?3 WHERE id = ?1")?
            .execute(params![lease, late, self.now, AttemptState::Completed.name()])?;
        self.db
            .prepare_cached(
                "UPDATE jobs SET state = ?5, why = NULL, worker = ?2, lease = ?3, ended = ?4 WHERE number = ?1",
            )?
            .execute(params![row.job, worker, lease, self.now, JobState::Finished.name()])?;
        self.insert_result(&row, &delivered)?;
        if delivered.clock == WorkerClock::Untold {
            self.clock_of_result(&row, &delivered.result);
        }
        self.state.leases.retain(|_, live| live.job != row.job);
        self.state.queue.remove(row.job);
        self.event(Event::Job(row.job));
        Ok(Completed { job: row.job_id, verdict: delivered.result.verdict, late })
    }

    fn insert_result(&self, row: &LeaseRow, delivered: &Delivered) -> Result<(), Failure> {
        let result = &delivered.result;
        let package = result.job.source.name();
        let version = result.runs.iter().find_map(|run| run.package.as_ref()).map(|package| &package.version);
        self.db
            .prepare_cached(
                "INSERT INTO results (job, lease, worker, package, version, verdict, simulated, targets, summary,
                     started, finished, received, bundle, size, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                row.job,
                row.id,
                row.worker,
                package,
                version,
                result.verdict.name(),
                is_simulated(result),
                targets(result).join(" "),
                delivered.summary,
                result.started.as_millisecond(),
                result.finished.as_millisecond(),
                self.now,
                delivered.bundle,
                i64::try_from(delivered.size).unwrap_or(i64::MAX),
                serde_json::to_string(result)?,
            ])?;
        let job = self.job(row.job)?;
        let covering = Covering { number: row.job, job: &job, turn: row.turn, result, received: self.now };
        Ok(coverage::note(self.db, &covering)?)
    }

    /// Estimates the worker's clock from the times in a result: a job cannot end before it was given out, or in the
    /// future. Nothing more can be said, as a result may be delivered long after it ended.
    fn clock_of_result(&mut self, row: &LeaseRow, result: &JobResult) {
        let finished = result.finished.as_millisecond();
        let ahead = if finished > self.now {
            Some(finished.saturating_sub(self.now))
        } else if finished < row.given {
            Some(finished.saturating_sub(row.given))
        } else {
            None
        };
        if let Some(worker) = self.state.workers.get(&row.worker)
            && worker.clock.set(ahead)
        {
            self.event(Event::Worker(row.worker.clone()));
        }
    }

    /// A job as it was added.
    pub(super) fn job(&self, number: i64) -> Result<Job, Failure> {
        let Json(job) =
            self.db.prepare_cached("SELECT job FROM jobs WHERE number = ?1")?.query_row([number], |row| row.get(0))?;
        Ok(job)
    }

    /// Number and attempt of the job that a lease is or was for.
    pub(crate) fn job_of(&mut self, lease: &str, worker: &str) -> Result<(i64, u32), Failure> {
        find(self.db, lease, worker).map(|row| (row.job, row.attempt))
    }
}
