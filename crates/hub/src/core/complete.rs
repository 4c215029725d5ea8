//! The command that ends a job with a result. A job gets one at most.

use protocol::api::{Completed, Problem, ProblemCode};
use protocol::{Job, JobResult, Source, Verdict};
use rusqlite::params;

use crate::core::leases::{LeaseRow, find};
use crate::core::machine::compare;
use crate::core::{Event, Failure, Tx};

/// Target that stands for a result without a GPU.
const NO_GPU: &str = "none";

/// A bundle that was found good.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Its SHA-256.
    pub(crate) bundle: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its `result.json`, read.
    pub(crate) result: JobResult,
    /// What the worker says of it.
    pub(crate) summary: String,
}

impl Tx<'_> {
    /// The answer if the lease was completed with this bundle before; none if it may be completed now.
    pub(crate) fn completed_before(
        &self,
        lease: &str,
        worker: &str,
        bundle: &str,
    ) -> Result<(LeaseRow, Option<Completed>), Failure> {
        let row = find(self.db, lease, worker)?;
        let refuse = |code, detail: String| Err(Failure::Refused(Problem::new(code, detail)));
        if row.job_state == "finished" {
            let (by, kept, verdict): (String, String, String) = self
                .db
                .prepare_cached("SELECT lease, bundle, verdict FROM results WHERE job = ?1")?
                .query_row([row.job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if by == lease && kept == bundle {
                let verdict = verdict.parse().unwrap_or(Verdict::TestbedFailed);
                let completed = Completed { job: row.job_id.clone(), verdict, late: row.reason == "late" };
                return Ok((row, Some(completed)));
            }
            let by = if by == lease { "this lease, with another bundle" } else { "another attempt" };
            return refuse(
                ProblemCode::AlreadyCompleted,
                format!("job `{}` was completed by {by} (bundle {kept})", row.job_id),
            );
        }
        if row.job_state == "cancelled" {
            return refuse(ProblemCode::JobCancelled, format!("job `{}` was cancelled", row.job_id));
        }
        if row.state == "given-back" {
            return refuse(ProblemCode::LeaseOver, format!("job `{}` was given back", row.job_id));
        }
        Ok((row, None))
    }

    /// Ends a job with a result. The same again gets the same answer; a lease that has run out will do if nobody else
    /// has completed the job.
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
        // A lease that has run out: then what is registered now counts.
        let registered = live.or_else(|| self.state.workers.get(worker).map(|known| known.machine.clone()));
        if let Some(registered) = registered {
            delivered.result.warnings.extend(compare(&delivered.result, &registered)?);
        }
        let late = row.state != "active";
        let others = "another attempt has delivered the result";
        self.db
            .prepare_cached(
                "UPDATE leases SET state = 'cancelled', reason = ?2, ended = ?3
                 WHERE job = ?1 AND state = 'active' AND id <> ?4",
            )?
            .execute(params![row.job, others, self.now, lease])?;
        self.db
            .prepare_cached("UPDATE leases SET state = 'completed', reason = ?2, ended = ?3 WHERE id = ?1")?
            .execute(params![lease, if late { "late" } else { "" }, self.now])?;
        self.db
            .prepare_cached(
                "UPDATE jobs SET state = 'finished', why = NULL, worker = ?2, lease = ?3, ended = ?4
                 WHERE number = ?1",
            )?
            .execute(params![row.job, worker, lease, self.now])?;
        self.insert_result(&row, &delivered)?;
        self.state.leases.retain(|_, live| live.job != row.job);
        self.state.queue.remove(row.job);
        self.event(Event::Job(row.job));
        Ok(Completed { job: row.job_id, verdict: delivered.result.verdict, late })
    }

    fn insert_result(&self, row: &LeaseRow, delivered: &Delivered) -> Result<(), Failure> {
        let result = &delivered.result;
        let package = result.job.source.name();
        let version = result.runs.iter().find_map(|run| run.package.as_ref()).map(|package| &package.version);
        let targets = targets(result);
        let simulated = result.simulated || result.machine.gpus.simulated;
        // A worker's clock that is ahead must not keep later results from being the latest.
        let finished = result.finished.as_millisecond().min(self.now);
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
                simulated,
                targets.join(" "),
                delivered.summary,
                result.started.as_millisecond(),
                finished,
                self.now,
                delivered.bundle,
                i64::try_from(delivered.size).unwrap_or(i64::MAX),
                serde_json::to_string(result)?,
            ])?;
        let none = [NO_GPU.to_owned()];
        for target in if targets.is_empty() { &none[..] } else { &targets[..] } {
            // The latest counts, also where an older one is delivered late.
            self.db
                .prepare_cached(
                    "INSERT INTO coverage (package, target, simulated, job, verdict, finished)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
                     SET job = ?4, verdict = ?5, finished = ?6 WHERE ?6 >= finished",
                )?
                .execute(params![package, target, simulated, row.job, result.verdict.name(), finished])?;
        }
        Ok(())
    }
}

/// Targets of the GPUs that were in the testbed, without feature settings, each once.
fn targets(result: &JobResult) -> Vec<String> {
    let used = result.machine.gpus.gpus.iter().filter(|gpu| result.gpus.contains(&gpu.id));
    let mut targets: Vec<String> = used.map(|gpu| gpu.target.without_features().to_string()).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// A job that may be completed.
#[derive(Debug)]
pub(crate) struct Completable {
    /// Its number.
    pub(crate) number: i64,
    /// Its id.
    pub(crate) id: String,
}

impl Tx<'_> {
    /// Looks, before a bundle is read, whether it is worth reading: the job and what it tests, or the answer that was
    /// given before.
    pub(crate) fn may_complete(
        &mut self,
        lease: &str,
        worker: &str,
        bundle: &str,
    ) -> Result<Result<(Completable, Source), Completed>, Failure> {
        let (row, before) = self.completed_before(lease, worker, bundle)?;
        if let Some(before) = before {
            return Ok(Err(before));
        }
        let job: String =
            self.db.prepare_cached("SELECT job FROM jobs WHERE number = ?1")?.query_row([row.job], |row| row.get(0))?;
        let job: Job = serde_json::from_str(&job)?;
        Ok(Ok((Completable { number: row.job, id: row.job_id }, job.source)))
    }

    /// Number and attempt of the job that a lease is or was for.
    pub(crate) fn job_of(&mut self, lease: &str, worker: &str) -> Result<(i64, u32), Failure> {
        find(self.db, lease, worker).map(|row| (row.job, row.attempt))
    }
}
