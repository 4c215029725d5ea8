//! Makes jobs of what waits, as far as workers have room.

use std::collections::HashMap;

use gpu::Target;
use protocol::api::{Health, JobState, job_id};
use protocol::{GpuNeed, Job, NO_GPU};
use rusqlite::params;

use crate::clock::millis;
use crate::core::{Failure, Tx};
use crate::watch::plan::{Capacity, Waiting, assign, choose};
use crate::watch::tables::waiting;

/// The time in which a worker has its budget, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

impl Tx<'_> {
    /// Makes the jobs that there is room for now. Returns their ids.
    pub(super) fn make_watch_jobs(&mut self, budget: u32, priority: i32) -> Result<Vec<String>, Failure> {
        self.reconcile_watch()?;
        let mut workers = self.capacities()?;
        let mut made = Vec::new();
        for one in choose(waiting(self.db)?, &mut workers, budget) {
            made.extend(self.make_watch_job(one, priority)?);
        }
        Ok(made)
    }

    fn make_watch_job(&mut self, one: Waiting, priority: i32) -> Result<Option<String>, Failure> {
        let key = (one.package, one.target);
        let why: String = self
            .db
            .prepare_cached("SELECT why FROM watch_waiting WHERE package = ?1 AND target = ?2")?
            .query_row([&key.0, &key.1], |row| row.get(0))?;
        let (package, target) = (&key.0, &key.1);
        let mut job = Job { priority, ..Job::of_package(package) };
        if target == NO_GPU {
            job.gpu = GpuNeed::None;
        } else if let Ok(known) = target.parse::<Target>() {
            job.gpu = GpuNeed::Targets(vec![known]);
            job.id = job_id(&format!("{package}@{target}"), 1);
        } else {
            // Written by a later version, which knows it.
            return Ok(None);
        }
        let (number, job) = self.record(job, None)?;
        self.db
            .prepare_cached("INSERT INTO watch_jobs (job, target, why, made) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![number, target, why, self.now])?;
        self.note_tested(&key, number)?;
        self.forget_waiting(&key)?;
        self.offer(number, &job)?;
        tracing::info!(job = job.id, why, "a job was made for a change of the archive");
        Ok(Some(job.id))
    }

    /// The workers that take jobs, with what they have had in a day, and what is queued for them.
    fn capacities(&self) -> Result<Vec<Capacity>, Failure> {
        let had = self.had_in_a_day()?;
        let online = self.now.saturating_sub(millis(self.config.offline_after));
        let takes_jobs = |worker: &crate::core::worker::Worker| {
            worker.paused.is_none() && worker.health == Health::Ready && worker.seen_since(online)
        };
        let mut workers: Vec<(&String, Capacity)> = self
            .state
            .workers
            .iter()
            .filter(|(_, worker)| takes_jobs(worker))
            .map(|(id, worker)| {
                let gpus = worker.machine.gpus.gpus.iter();
                let targets = gpus.map(|gpu| gpu.target.without_features().to_string()).collect();
                (id, Capacity { targets, had: had.get(id).copied().unwrap_or(0), queued: 0 })
            })
            .collect();
        workers.sort_unstable_by_key(|(id, _)| *id);
        let mut workers: Vec<Capacity> = workers.into_iter().map(|(_, capacity)| capacity).collect();
        let mut statement = self.db.prepare_cached(
            "SELECT w.target FROM jobs j JOIN watch_jobs w ON w.job = j.number WHERE j.state = ?1 ORDER BY j.number",
        )?;
        let mut queued = statement.query([JobState::Queued.name()])?;
        while let Some(row) = queued.next()? {
            assign(&mut workers, &row.get::<_, String>(0)?, None);
        }
        Ok(workers)
    }

    /// How many jobs for changes each worker got in the last 24 hours.
    fn had_in_a_day(&self) -> Result<HashMap<String, u32>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT j.worker, count(*) FROM watch_jobs w JOIN jobs j ON j.number = w.job
             WHERE w.made > ?1 AND j.state <> ?2 AND j.worker IS NOT NULL GROUP BY j.worker",
        )?;
        let rows = statement.query_map(params![self.now.saturating_sub(DAY), JobState::Queued.name()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
