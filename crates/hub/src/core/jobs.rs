//! Commands of users: adding, cancelling and retrying jobs.

use protocol::api::{AddJobs, AddedJobs, AttemptState, JobState, Problem, ProblemCode, job_id};
use protocol::{Job, Source};
use rusqlite::{OptionalExtension, params};

use crate::core::need::Need;
use crate::core::queue::Queued;
use crate::core::{Failure, HubEvent, Tx};
use crate::store::columns::{Json, Named};
use crate::store::shards;

/// Most jobs in one request: no other command runs while they are added.
const MOST_JOBS: usize = 20_000;

impl Tx<'_> {
    /// Adds jobs. The same request again adds nothing and gets the same answer.
    pub(crate) fn add(&mut self, request: AddJobs) -> Result<AddedJobs, Failure> {
        let before: Option<String> = self
            .db
            .prepare_cached("SELECT jobs FROM additions WHERE request = ?1")?
            .query_row([&request.request], |row| row.get(0))
            .optional()?;
        let name = request.request.clone();
        let jobs = request.jobs();
        if let Some(ids) = before {
            let ids: Vec<String> = serde_json::from_str(&ids)?;
            if !self.are_these(&ids, &jobs)? {
                let detail = format!("request `{name}` has added other jobs: {}", first_of(&ids));
                return Err(Problem::new(ProblemCode::RequestReused, detail).into());
            }
            return Ok(AddedJobs { jobs: ids });
        }
        check(&jobs)?;
        self.check_package_files(&jobs)?;
        let ids = jobs.into_iter().map(|job| self.insert(job, None)).collect::<Result<Vec<_>, _>>()?;
        self.db
            .prepare_cached("INSERT INTO additions (request, jobs, added) VALUES (?1, ?2, ?3)")?
            .execute(params![name, serde_json::to_string(&ids)?, self.now])?;
        Ok(AddedJobs { jobs: ids })
    }

    /// Whether these are the jobs that were added under these ids.
    fn are_these(&self, ids: &[String], jobs: &[Job]) -> Result<bool, Failure> {
        let mut find = self.db.prepare_cached("SELECT job FROM jobs WHERE id = ?1")?;
        for (id, job) in ids.iter().zip(jobs) {
            let Json(added): Json<Job> = find.query_row([id], |row| row.get(0))?;
            if added != (Job { id: added.id.clone(), ..job.clone() }) {
                return Ok(false);
            }
        }
        Ok(ids.len() == jobs.len())
    }

    /// Adds one job under an unused id, which is returned.
    fn insert(&mut self, job: Job, retry_of: Option<&str>) -> Result<String, Failure> {
        let (number, job) = self.record(job, retry_of)?;
        if job.shards > 1 {
            self.insert_parts(number, &job, &[])?;
        } else {
            self.offer(number, &job)?;
        }
        Ok(job.id)
    }

    /// Adds a job that runs tests of another job again, to confirm its result, but not on some workers.
    pub(crate) fn insert_confirmation(
        &mut self,
        job: Job,
        id: &str,
        of: i64,
        not_on: &[String],
    ) -> Result<String, Failure> {
        let (number, job) = self.record(job, Some(id))?;
        self.db.prepare_cached("INSERT INTO confirmations (job, of, not_on) VALUES (?1, ?2, ?3)")?.execute(params![
            number,
            of,
            not_on.first()
        ])?;
        if job.shards > 1 {
            self.insert_parts(number, &job, not_on)?;
            return Ok(job.id);
        }
        let (need, priority) = (Need::of(&job), job.priority);
        self.enqueue(Queued { number, need, priority, excluded: not_on.to_vec(), added: self.now })?;
        Ok(job.id)
    }

    /// Stores a job under an unused id; nobody gets it before it is [offered](Self::offer). Returns its number, and the job
    /// with that id.
    pub(crate) fn record(&mut self, mut job: Job, retry_of: Option<&str>) -> Result<(i64, Job), Failure> {
        job.id = self.free_id(&job.id)?;
        self.db
            .prepare_cached(
                "INSERT INTO jobs (id, package, job, state, added, retry_of) VALUES (?1, ?2, ?3, ?6, ?4, ?5)",
            )?
            .execute(params![
                job.id,
                job.source.name(),
                serde_json::to_string(&job)?,
                self.now,
                retry_of,
                JobState::Queued.name()
            ])?;
        let number = self.db.last_insert_rowid();
        self.keep_package_files(number, &job)?;
        self.note_kept_versions(number, &job)?;
        self.event(HubEvent::Job(number));
        Ok((number, job))
    }

    /// Gives a job that was recorded to a worker that waits for one like it, or queues it.
    pub(crate) fn offer(&mut self, number: i64, job: &Job) -> Result<(), Failure> {
        let need = Need::of(job);
        self.enqueue(Queued { number, need, priority: job.priority, excluded: Vec::new(), added: self.now })
    }

    fn free_id(&self, id: &str) -> Result<String, Failure> {
        let mut taken = self.db.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
        if !taken.exists([id])? {
            return Ok(id.to_owned());
        }
        // The number of jobs whose ids are numbered like this, or more: the next number is most likely free.
        let numbered: u64 = self
            .db
            .prepare_cached("SELECT count(*) FROM jobs WHERE id > ?1 || '-' AND id < ?1 || '.'")?
            .query_row([id], |row| row.get::<_, u32>(0))
            .map(u64::from)?;
        for number in numbered.saturating_add(2).. {
            let candidate = job_id(id, number);
            if !taken.exists([&candidate])? {
                return Ok(candidate);
            }
        }
        Ok(id.to_owned())
    }

    /// Cancels a job with its parts. A job that has ended stays as it is, and cancelling twice is not an error.
    pub(crate) fn cancel(&mut self, id: &str) -> Result<(), Failure> {
        let (number, state) = self.job_state(id)?;
        match state {
            JobState::Cancelled => return Ok(()),
            JobState::Queued | JobState::Running => {}
            other @ (JobState::Finished | JobState::GivenUp) => {
                return Err(Problem::new(ProblemCode::JobOver, format!("job `{id}` is {other} already")).into());
            }
        }
        for part in self.open_parts(number)? {
            self.end_cancelled(part)?;
        }
        self.end_cancelled(number)?;
        self.part_ended(number)
    }

    /// Ends a job that is not over, as cancelled.
    fn end_cancelled(&mut self, number: i64) -> Result<(), Failure> {
        let why = "the job was cancelled";
        self.db
            .prepare_cached("UPDATE jobs SET state = ?3, why = 'by request', ended = ?2 WHERE number = ?1")?
            .execute(params![number, self.now, JobState::Cancelled.name()])?;
        self.db
            .prepare_cached("UPDATE leases SET state = ?4, reason = ?2, ended = ?3 WHERE job = ?1 AND state = ?5")?
            .execute(params![number, why, self.now, AttemptState::Cancelled.name(), AttemptState::Active.name()])?;
        self.state.queue.remove(number);
        self.state.leases.retain(|_, live| live.job != number);
        self.event(HubEvent::Job(number));
        Ok(())
    }

    /// Adds a copy of a job that has ended. If an earlier copy has not ended yet, returns that one. The copy of a part takes its
    /// place.
    pub(crate) fn retry(&mut self, id: &str) -> Result<String, Failure> {
        let (number, state) = self.job_state(id)?;
        if !state.is_over() {
            return Ok(id.to_owned());
        }
        let waiting: Option<String> = self
            .db
            .prepare_cached("SELECT id FROM jobs WHERE retry_of = ?1 AND state IN (?2, ?3) ORDER BY number LIMIT 1")?
            .query_row([id, JobState::Queued.name(), JobState::Running.name()], |row| row.get(0))
            .optional()?;
        if let Some(waiting) = waiting {
            return Ok(waiting);
        }
        if let Some(part) = shards::find(self.db, number)? {
            return self.retry_part(id, number, &part);
        }
        let job = self.job(number)?;
        // The job may have been added before this rule existed.
        job.check().map_err(|error| Problem::new(ProblemCode::Invalid, error.to_string()))?;
        self.check_package_files([&job])?;
        self.insert(job, Some(id))
    }

    fn job_state(&self, id: &str) -> Result<(i64, JobState), Failure> {
        let found = self
            .db
            .prepare_cached("SELECT number, state FROM jobs WHERE id = ?1")?
            .query_row([id], |row| {
                let Named(state) = row.get(1)?;
                Ok((row.get(0)?, state))
            })
            .optional()?;
        found.ok_or_else(|| Problem::new(ProblemCode::NotFound, format!("there is no job `{id}`")).into())
    }
}

/// The first few ids, for messages.
fn first_of(ids: &[String]) -> String {
    let first = ids.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if ids.len() > 3 { format!("{first} and others") } else { first }
}

fn check(jobs: &[Job]) -> Result<(), Problem> {
    let invalid = |detail: String| Err(Problem::new(ProblemCode::Invalid, detail));
    if jobs.is_empty() {
        return invalid("list.job: there is no job in the list".into());
    }
    let count: usize = jobs.iter().map(|job| job.shards as usize).sum();
    if count > MOST_JOBS {
        return invalid(format!("list.job: {count} jobs, with each part; {MOST_JOBS} are the most in one list"));
    }
    for (index, job) in jobs.iter().enumerate() {
        if let Err(error) = job.check() {
            return invalid(format!("list.job[{index}].{error}"));
        }
    }
    let is_local = |job: &Job| matches!(job.source, Source::Path(_)) && job.own_source().is_none();
    let local = jobs.iter().enumerate().find(|(_, job)| is_local(job));
    match local {
        Some((index, job)) => invalid(format!(
            "list.job[{index}].path: `{}` is a path on your machine, which workers cannot see: put the source tree at \
             an address, and write url",
            job.source
        )),
        None => Ok(()),
    }
}
