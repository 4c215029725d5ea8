//! The command that ends a job with a result. A job gets one at most.

use protocol::api::{AttemptState, Completed, JobState, Problem, ProblemCode, TestState};
use protocol::{Job, JobResult, Source};
use rusqlite::params;
use sha256::Digest;

use crate::core::leases::{LeaseRow, find};
use crate::core::machine::compare;
use crate::core::offers::OFFERED;
use crate::core::{Failure, HubEvent, Tx};
use crate::history::{self, Elsewhere, Noted};
use crate::store::columns::{Hex, Json, Named};
use crate::store::coverage::{self, Covering, is_simulated};
use crate::store::{self, shards};

/// A checked bundle, to complete a lease with.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The bundle's SHA-256.
    pub(crate) bundle: Digest,
    /// The bundle's length in bytes.
    pub(crate) size: u64,
    /// The parsed `result.json`.
    pub(crate) result: JobResult,
    /// The worker's summary.
    pub(crate) summary: String,
    /// Whether the worker sent its time. If not, the times in the result show whether its clock is wrong.
    pub(crate) clock: WorkerClock,
}

/// Whether a request has its worker's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerClock {
    /// It has, and that was compared with the hub's.
    Told,
    /// It has not.
    Untold,
}

/// Whether a lease may be completed.
#[derive(Debug)]
pub(crate) enum Completion {
    /// It may be completed.
    Open(Completable),
    /// It was completed with the same bundle; this was the answer.
    Done(Completed),
}

/// A job that may be completed.
#[derive(Debug)]
pub(crate) struct Completable {
    /// The job's number.
    pub(crate) number: i64,
    /// The job's id.
    pub(crate) id: String,
    /// The source of its tests.
    pub(crate) source: Source,
}

/// Where a result comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// Number of the job.
    pub(super) job: i64,
    /// Id of the lease.
    pub(super) lease: &'a str,
    /// Id of the worker.
    pub(super) worker: &'a str,
    /// When the lease was given, in milliseconds since 1970.
    pub(super) given: i64,
    /// Position of the lease in the order in which leases were given.
    pub(super) turn: i64,
}

impl Tx<'_> {
    /// Returns the answer if the lease was completed with this bundle before, and `None` if it may be completed now.
    fn completed_before(
        &self,
        lease: &str,
        worker: &str,
        bundle: &Digest,
    ) -> Result<(LeaseRow, Option<Completed>), Failure> {
        let row = find(self.db, lease, worker)?;
        let refuse = |code, detail: String| Err(Failure::Refused(Problem::new(code, detail)));
        if row.job_state == JobState::Finished {
            let (by, Hex(kept), Named(verdict)): (String, _, _) = self
                .db
                .prepare_cached("SELECT lease, bundle, verdict FROM results WHERE job = ?1")?
                .query_row([row.job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if by == lease && kept == *bundle {
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

    /// Checks whether a lease may be completed, before its bundle is read.
    pub(crate) fn may_complete(&mut self, lease: &str, worker: &str, bundle: &Digest) -> Result<Completion, Failure> {
        let (row, before) = self.completed_before(lease, worker, bundle)?;
        if let Some(before) = before {
            return Ok(Completion::Done(before));
        }
        let job = self.job(row.job)?;
        Ok(Completion::Open(Completable { number: row.job, id: row.job_id, source: job.source }))
    }

    /// Ends a job with a result. A repeated request gets the same answer. An expired lease is accepted if the job was not
    /// completed by another one.
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
        // Only the hub joins results.
        delivered.result.parts.clear();
        let counts = self.check_machine(lease, worker, &mut delivered.result)?;
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
        let is_part = shards::find(self.db, row.job)?.is_some();
        let origin = Origin { job: row.job, lease: &row.id, worker: &row.worker, given: row.given, turn: row.turn };
        // The result of a part says nothing about the package by itself.
        let broke = self.insert_result(&origin, &mut delivered, counts && !is_part)?;
        if delivered.clock == WorkerClock::Untold {
            self.clock_of_result(&row, &delivered.result);
        }
        self.state.leases.retain(|_, live| live.job != row.job);
        self.state.queue.remove(row.job);
        self.event(HubEvent::Job(row.job));
        if is_part {
            self.note_part(row.job, counts)?;
            self.part_ended(row.job)?;
        }
        if broke && self.config.confirm {
            match self.confirm(&row.job_id, Elsewhere::IfPossible) {
                // The result counts whether or not it can be confirmed.
                Err(Failure::Refused(problem)) => tracing::warn!(job = row.job_id, %problem, "cannot be confirmed"),
                other => drop(other?),
            }
        }
        Ok(Completed { job: row.job_id, verdict: delivered.result.verdict, late })
    }

    /// Compares a result with the machine that got the job, and adds what differs to its warnings. Refuses one of another
    /// machine, as long as it is known which machine that was.
    ///
    /// Of a lease that had run out, or that was given before the hub's last start, only what is registered now is known,
    /// and a GPU that broke is not registered any more: then such a result is kept, but does not count for a target.
    /// Returns whether it counts.
    fn check_machine(&self, lease: &str, worker: &str, result: &mut JobResult) -> Result<bool, Failure> {
        if worker == OFFERED {
            return self.check_offered(lease, result);
        }
        if let Some(machine) = self.state.lease_of(lease, worker).and_then(|live| live.machine.as_ref()) {
            let warnings = compare(result, machine)?;
            result.warnings.extend(warnings);
            return Ok(true);
        }
        let Some(known) = self.state.workers.get(worker) else { return Ok(true) };
        match compare(result, &known.machine) {
            Ok(warnings) => {
                result.warnings.extend(warnings);
                Ok(true)
            }
            Err(problem) => {
                let warning =
                    format!("is not counted, as the machine has changed since it got the job: {}", problem.detail);
                result.warnings.push(warning);
                Ok(false)
            }
        }
    }

    /// Inserts the row of a result. Returns whether a test failed for the first time after it had passed.
    pub(super) fn insert_result(
        &self,
        origin: &Origin,
        delivered: &mut Delivered,
        counts: bool,
    ) -> Result<bool, Failure> {
        let job = self.job(origin.job)?;
        // With a debci server's own sources it is not the archive's package that was tested.
        let counts = counts && !self.has_other_sources(origin.job)?;
        let Origin { job: number, given: at, worker, .. } = *origin;
        let noted = Noted { number, job: &job, at, worker, result: &delivered.result, counts };
        let before = self.latest_change()?;
        let states = history::note(self.db, &noted)?;
        self.queue_changes(before)?;
        // They are kept once for all results.
        delivered.result.installed.lists.clear();
        let result = &delivered.result;
        let package = result.job.source.name();
        let version = result.tested_version();
        self.db
            .prepare_cached(
                "INSERT INTO results (job, lease, worker, package, version, verdict, simulated, targets, summary,
                     started, finished, received, bundle, size, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                number,
                origin.lease,
                worker,
                package,
                version,
                result.verdict.name(),
                is_simulated(result),
                result.targets().join(" "),
                delivered.summary,
                result.started.as_millisecond(),
                result.finished.as_millisecond(),
                self.now,
                Hex(delivered.bundle),
                i64::try_from(delivered.size).unwrap_or(i64::MAX),
                serde_json::to_string(result)?,
            ])?;
        store::targets::note(self.db, number, result)?;
        let broke = states.contains(&TestState::NewFailure);
        if !counts {
            return Ok(broke);
        }
        let covering = Covering { number, job: &job, turn: origin.turn, result, received: self.now };
        coverage::note(self.db, &covering)?;
        Ok(broke)
    }

    /// Checks the worker's clock by the times in a result: no job ends before it was given out, or in the future. As a
    /// result may be delivered long after the end, nothing more can be concluded.
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
            self.event(HubEvent::Worker(row.worker.clone()));
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
