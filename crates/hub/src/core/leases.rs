//! Commands about existing leases: heartbeats, loss, giving back.

use protocol::Job;
use protocol::api::{AttemptState, GiveBack, Given, HeartbeatAnswer, JobState, Problem, ProblemCode};
use rusqlite::{Connection, OptionalExtension, params};

use crate::core::need::Need;
use crate::core::queue::Queued;
use crate::core::state::Live;
use crate::core::{Failure, HubEvent, Tx};
use crate::store::columns::{Json, Named};

/// Most attempts of one job, for whatever reason it comes back.
const MOST_ATTEMPTS: u32 = 20;

/// After this many losses on one worker the job is not given to it again.
const LOSSES_ON_ONE_MACHINE: i64 = 2;

/// A lease and its job, as the database has them.
#[derive(Debug)]
pub(crate) struct LeaseRow {
    pub(crate) id: String,
    pub(crate) job: i64,
    pub(crate) job_id: String,
    pub(crate) worker: String,
    pub(crate) attempt: u32,
    pub(crate) state: AttemptState,
    pub(crate) reason: String,
    pub(crate) job_state: JobState,
    /// Time at which it was given out, in milliseconds since 1970.
    pub(crate) given: i64,
    /// Its position in the order in which leases were given.
    pub(crate) turn: i64,
    /// Whether it was completed after it had expired.
    pub(crate) late: bool,
    /// Whether no later lease of the job exists.
    pub(crate) is_latest: bool,
}

/// Finds a lease of this worker. Another worker's lease gets the same error as one that never existed.
pub(crate) fn find(db: &Connection, lease: &str, worker: &str) -> Result<LeaseRow, Failure> {
    let found = db
        .prepare_cached(
            "SELECT l.id, l.job, j.id, l.worker, l.attempt, l.state, l.reason, j.state, j.lease IS l.id, l.given,
                 l.turn, l.late
             FROM leases l JOIN jobs j ON j.number = l.job WHERE l.id = ?1 AND l.worker = ?2",
        )?
        .query_row([lease, worker], |row| {
            let (Named(state), Named(job_state)) = (row.get(5)?, row.get(7)?);
            Ok(LeaseRow {
                id: row.get(0)?,
                job: row.get(1)?,
                job_id: row.get(2)?,
                worker: row.get(3)?,
                attempt: row.get(4)?,
                state,
                reason: row.get(6)?,
                job_state,
                is_latest: row.get(8)?,
                given: row.get(9)?,
                turn: row.get(10)?,
                late: row.get(11)?,
            })
        })
        .optional()?;
    let unknown = || Problem::new(ProblemCode::LeaseUnknown, format!("worker `{worker}` has no lease `{lease}`"));
    found.ok_or_else(|| unknown().into())
}

/// Workers that do not get a job: those that gave it back as unsuitable, and those on which it was lost twice.
pub(crate) fn excluded(db: &Connection, job: i64) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(
        "SELECT worker FROM leases WHERE job = ?1 GROUP BY worker
         HAVING max(excludes) = 1 OR sum(state = ?3 AND confirmed) >= ?2
         UNION SELECT not_on FROM confirmations
             WHERE job IN (?1, (SELECT parent FROM shards WHERE job = ?1)) AND not_on IS NOT NULL ORDER BY 1",
    )?
    .query_map(params![job, LOSSES_ON_ONE_MACHINE, AttemptState::Lost.name()], |row| row.get(0))?
    .collect()
}

impl Tx<'_> {
    /// Handles a heartbeat that needs the database: the first one of a lease, or one on an expired lease.
    pub(crate) fn heartbeat(&mut self, lease: &str, worker: &str, phase: &str) -> Result<HeartbeatAnswer, Failure> {
        let row = find(self.db, lease, worker)?;
        let go_on = HeartbeatAnswer { lease_seconds: self.config.lease.as_secs(), cancel: None };
        let stop = |why: &str| Ok(HeartbeatAnswer { cancel: Some(why.to_owned()), ..go_on.clone() });
        match (row.state, row.job_state) {
            (AttemptState::Active, _) => {
                self.db.prepare_cached("UPDATE leases SET confirmed = 1 WHERE id = ?1")?.execute([lease])?;
            }
            // Expired, but the job was not given out again yet: the worker keeps it.
            (AttemptState::Lost, JobState::Queued) if row.is_latest => {
                self.db
                    .prepare_cached(
                        "UPDATE leases SET state = ?2, confirmed = 1, ended = NULL, reason = '' WHERE id = ?1",
                    )?
                    .execute([lease, AttemptState::Active.name()])?;
                self.db
                    .prepare_cached("UPDATE jobs SET state = ?2, why = NULL WHERE number = ?1")?
                    .execute(params![row.job, JobState::Running.name()])?;
                self.state.queue.remove(row.job);
            }
            (AttemptState::Lost, JobState::Finished) => return stop("another attempt has delivered the result"),
            (AttemptState::Lost, JobState::Cancelled) => return stop("the job was cancelled"),
            (AttemptState::Lost, JobState::GivenUp) => {
                return stop("the lease ran out too often, and the job was given up");
            }
            (AttemptState::Lost, _) => return stop("the lease ran out, and another worker has the job"),
            (AttemptState::Cancelled, _) => return stop(&row.reason),
            _ => return Err(over(&row).into()),
        }
        self.event(HubEvent::Job(row.job));
        let machine = self.state.leases.get(lease).and_then(|live| live.machine.clone());
        let live = Live {
            job: row.job,
            job_id: row.job_id,
            attempt: row.attempt,
            worker: row.worker,
            machine,
            deadline: self.deadline(),
            confirmed: true,
            phase: phase.to_owned(),
        };
        self.state.leases.insert(row.id, live);
        Ok(go_on)
    }

    /// Takes a job back from its worker.
    pub(crate) fn give_back(&mut self, lease: &str, worker: &str, request: &GiveBack) -> Result<Given, Failure> {
        let row = find(self.db, lease, worker)?;
        let given = Given { job: row.job_id.clone() };
        match row.state {
            AttemptState::Active | AttemptState::Lost => {}
            AttemptState::GivenBack | AttemptState::Cancelled => return Ok(given),
            AttemptState::Completed => return Err(over(&row).into()),
        }
        let message = request.message.trim();
        let reason = if message.is_empty() {
            request.reason.name().to_owned()
        } else {
            format!("{}: {message}", request.reason.name())
        };
        self.db
            .prepare_cached(
                "UPDATE leases SET state = ?5, reason = ?2, excludes = ?3, ended = ifnull(ended, ?4) WHERE id = ?1",
            )?
            .execute(params![
                lease,
                reason,
                request.reason.excludes_machine(),
                self.now,
                AttemptState::GivenBack.name()
            ])?;
        self.state.leases.remove(lease);
        if row.is_latest && !row.job_state.is_over() {
            self.put_back(row.job, &reason)?;
        }
        Ok(given)
    }

    /// Ends a lease of a worker that was not heard from or was restarted.
    pub(crate) fn lose(&mut self, lease: &str, reason: &str) -> Result<(), Failure> {
        let Some(live) = self.state.leases.remove(lease) else { return Ok(()) };
        self.db
            .prepare_cached("UPDATE leases SET state = ?4, reason = ?2, ended = ?3 WHERE id = ?1")?
            .execute(params![lease, reason, self.now, AttemptState::Lost.name()])?;
        self.put_back(live.job, reason)
    }

    /// Ends all leases of a worker except these.
    pub(crate) fn lose_all_but(&mut self, worker: &str, holding: &[String], reason: &str) -> Result<(), Failure> {
        let mine = self.state.leases.iter().filter(|(lease, live)| live.worker == worker && !holding.contains(lease));
        let lost: Vec<String> = mine.map(|(lease, _)| lease.clone()).collect();
        for lease in lost {
            self.lose(&lease, reason)?;
        }
        Ok(())
    }

    /// Queues a job again, or gives it up if it came back too often.
    fn put_back(&mut self, number: i64, reason: &str) -> Result<(), Failure> {
        let (Json(job), attempts, added): (Json<Job>, u32, i64) = self
            .db
            .prepare_cached("SELECT job, attempts, added FROM jobs WHERE number = ?1")?
            .query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        // A lease without any heartbeat was perhaps never received, so it does not count against the job.
        let losses: u32 = self
            .db
            .prepare_cached("SELECT count(*) FROM leases WHERE job = ?1 AND state = ?2 AND confirmed")?
            .query_row(params![number, AttemptState::Lost.name()], |row| row.get(0))?;
        self.event(HubEvent::Job(number));
        if losses > self.config.retries || attempts >= MOST_ATTEMPTS {
            let why = format!("lost in {losses} of {attempts} attempts; in the last one: {reason}");
            self.db
                .prepare_cached("UPDATE jobs SET state = ?4, why = ?2, ended = ?3 WHERE number = ?1")?
                .execute(params![number, why, self.now, JobState::GivenUp.name()])?;
            self.state.queue.remove(number);
            return self.part_ended(number);
        }
        self.db
            .prepare_cached("UPDATE jobs SET state = ?2 WHERE number = ?1")?
            .execute(params![number, JobState::Queued.name()])?;
        let excluded = excluded(self.db, number)?;
        self.enqueue(Queued { number, need: Need::of(&job), priority: job.priority, excluded, added })
    }
}

fn over(row: &LeaseRow) -> Problem {
    Problem::new(ProblemCode::LeaseOver, format!("the lease of job `{}` is over: {}", row.job_id, row.state.name()))
}
