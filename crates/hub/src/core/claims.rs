//! Commands that match jobs with workers.

use protocol::Job;
use protocol::api::{AttemptState, Claim, Claimed, JobState, Problem, ProblemCode, RetryGpus};
use rusqlite::{OptionalExtension, params};
use tokio::sync::oneshot;

use crate::clock::millis;
use crate::core::need::Offer;
use crate::core::queue::Queued;
use crate::core::reservations::Since;
use crate::core::state::{Live, State};
use crate::core::waiters::Waiter;
use crate::core::{Failure, HubEvent, Notice, Tx};
use crate::store::columns::{Json, Named};
use crate::token::random_hex;

/// Answer to a claim.
#[derive(Debug)]
pub(crate) enum ClaimAnswer {
    /// A job.
    Given(Box<Claimed>),
    /// No job yet: a place in the queue.
    Waiting(Waiting),
}

/// A claim's place in the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Number that identifies it.
    pub(crate) number: u64,
    /// Receives the job when there is one.
    pub(crate) answer: oneshot::Receiver<Result<Claimed, Problem>>,
}

/// Message for a paused worker, with the reason.
fn paused(worker: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("worker `{worker}` is to get no jobs{reason}")
}

impl Tx<'_> {
    /// Gives a worker the best job for it, or a place in the queue.
    pub(crate) fn claim(&mut self, worker: &str, claim: &Claim) -> Result<ClaimAnswer, Failure> {
        if let Some(claimed) = self.claimed_before(worker, &claim.request)? {
            return Ok(ClaimAnswer::Given(Box::new(claimed)));
        }
        let unknown = || Problem::new(ProblemCode::Forbidden, format!("no worker `{worker}` has registered"));
        let known = self.state.workers.get(worker).ok_or_else(unknown)?;
        if let Some(reason) = &known.paused {
            return Err(Problem::new(ProblemCode::WorkerPaused, paused(&known.name, reason)).into());
        }
        if let Some(gpus) = &known.retry {
            let which = if gpus.is_empty() { "all GPUs that it has left out".to_owned() } else { gpus.join(", ") };
            let mut problem =
                Problem::new(ProblemCode::RetryGpus, format!("worker `{worker}` is to try again {which}"));
            problem.retry = Some(Box::new(RetryGpus { gpus: gpus.clone() }));
            return Err(problem.into());
        }
        let offer = Offer::of(&known.machine, claim);
        self.reserve(worker, &offer);
        let State { queue, reservations, .. } = &self.state;
        if let Some(number) = queue.best(&offer, worker, |job| !reservations.bars(worker, job, queue)) {
            return Ok(ClaimAnswer::Given(Box::new(self.grant(number, worker, &claim.request)?)));
        }
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter { worker: worker.to_owned(), request: claim.request.clone(), answer: sender };
        let number = self.state.waiters.insert(offer, waiter);
        Ok(ClaimAnswer::Waiting(Waiting { number, answer }))
    }

    /// Keeps this worker's machine for a job that has waited long, if there is one.
    fn reserve(&mut self, worker: &str, offer: &Offer) {
        let ago = |time| self.now.saturating_sub(millis(time));
        let since = Since { patience: ago(self.config.reserve_after), online: ago(self.config.offline_after) };
        let State { queue, workers, reservations, .. } = &mut *self.state;
        reservations.claimed(worker, offer, queue, workers, since);
    }

    /// The lease that the same claim got earlier, if it was sent twice.
    fn claimed_before(&self, worker: &str, request: &str) -> Result<Option<Claimed>, Failure> {
        type Row = (String, u32, Named<AttemptState>, Json<Job>, i64);
        let found: Option<Row> = self
            .db
            .prepare_cached(
                "SELECT l.id, l.attempt, l.state, j.job, j.number FROM leases l JOIN jobs j ON j.number = l.job
                 WHERE l.worker = ?1 AND l.request = ?2",
            )?
            .query_row([worker, request], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .optional()?;
        let Some((lease, attempt, Named(state), Json(job), number)) = found else { return Ok(None) };
        if state != AttemptState::Active {
            let detail = format!("claim `{request}` got a lease that is over: choose another request");
            return Err(Problem::new(ProblemCode::LeaseOver, detail).into());
        }
        let job = self.with_kept_versions(number, job)?;
        let lease_seconds = self.config.lease.as_secs();
        let (usual_seconds, testbed) = (self.usual_seconds(number)?, self.testbed(number)?);
        Ok(Some(Claimed { lease, lease_seconds, attempt, job, usual_seconds, testbed }))
    }

    /// How long the tests of a job's package usually take: the median of the latest results in which they ran to
    /// their end. Parts are compared with parts of as many.
    fn usual_seconds(&self, number: i64) -> Result<Option<u64>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT finished - started FROM results
             WHERE package = (SELECT package FROM jobs WHERE number = ?1) AND verdict IN ('pass', 'fail')
                 AND (SELECT count FROM shards s WHERE s.job = results.job)
                     IS (SELECT count FROM shards s WHERE s.job = ?1)
                 AND NOT EXISTS (SELECT 1 FROM shards s WHERE s.parent = results.job AND s.replaced IS NULL)
             ORDER BY job DESC LIMIT 5",
        )?;
        let mut times = statement.query_map([number], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        times.sort_unstable();
        Ok(times.get(times.len() / 2).and_then(|time| u64::try_from(time / 1000).ok()))
    }

    /// Gives a queued job to a worker.
    pub(super) fn grant(&mut self, number: i64, worker: &str, request: &str) -> Result<Claimed, Failure> {
        let lease = random_hex::<16>()?;
        let (id, Json(job), attempt): (String, Json<Job>, u32) = self
            .db
            .prepare_cached(
                "UPDATE jobs SET state = ?4, worker = ?2, lease = ?3, attempts = attempts + 1, why = NULL
                 WHERE number = ?1 RETURNING id, job, attempts",
            )?
            .query_row(params![number, worker, lease, JobState::Running.name()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        self.db
            .prepare_cached(
                "INSERT INTO leases (id, job, worker, request, attempt, state, given, turn)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?7, ?6, (SELECT ifnull(max(turn), 0) + 1 FROM leases))",
            )?
            .execute(params![lease, number, worker, request, attempt, self.now, AttemptState::Active.name()])?;
        self.state.queue.remove(number);
        let machine = self.state.workers.get(worker).map(|known| known.machine.clone());
        let live = Live {
            job: number,
            job_id: id,
            attempt,
            worker: worker.to_owned(),
            machine,
            deadline: self.deadline(),
            confirmed: false,
            phase: String::new(),
        };
        self.state.leases.insert(lease.clone(), live);
        self.event(HubEvent::Job(number));
        self.part_began(number)?;
        let job = self.with_kept_versions(number, job)?;
        let (usual_seconds, testbed) = (self.usual_seconds(number)?, self.testbed(number)?);
        Ok(Claimed { lease, lease_seconds: self.config.lease.as_secs(), attempt, job, usual_seconds, testbed })
    }

    /// Queues a job, or gives it to a claim that is waiting for one like it.
    pub(crate) fn enqueue(&mut self, job: Queued) -> Result<(), Failure> {
        let State { waiters, reservations, queue, .. } = &mut *self.state;
        let waiter = waiters.take(&job.need, |worker| {
            !job.excluded.iter().any(|name| name == worker) && !reservations.bars(worker, &job, queue)
        });
        let number = job.number;
        self.state.queue.insert(job);
        if let Some(waiter) = waiter {
            let claimed = self.grant(number, &waiter.worker, &waiter.request)?;
            self.after.push(Notice::Grant(waiter.answer, Box::new(claimed)));
        }
        Ok(())
    }

    /// Matches jobs and claims that a failed transaction left unmatched.
    pub(crate) fn dispatch(&mut self) -> Result<(), Failure> {
        for number in self.state.queue.first_of_each_line() {
            if let Some(job) = self.state.queue.remove(number) {
                self.enqueue(job)?;
            }
        }
        Ok(())
    }

    /// Removes a claim from the queue. False if it has got a job meanwhile.
    pub(crate) fn stop_waiting(&mut self, number: u64) -> bool {
        self.state.waiters.remove(number).is_some()
    }
}
