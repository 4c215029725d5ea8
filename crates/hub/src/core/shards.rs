//! Commands about jobs that run in parts. A part is a job of its own: it is queued, leased, retried after a loss and
//! completed as any other. The job that was split is never queued; it ends once, with the joined result of its parts.

use protocol::api::{JobState, Problem, ProblemCode};
use protocol::{Job, part_name};
use rusqlite::params;

use crate::core::complete::{Delivered, Origin};
use crate::core::need::Need;
use crate::core::queue::Queued;
use crate::core::{Failure, HubEvent, Notice, Tx};
use crate::history::Elsewhere;
use crate::store::columns::Named;
use crate::store::shards::{self, PartRow};

/// The joined result of a job.
#[derive(Debug)]
pub(crate) struct JoinedResult {
    /// Number of the job.
    pub(crate) parent: i64,
    /// Numbers of its parts, by place.
    pub(crate) parts: Vec<i64>,
    /// Number of the part whose machine the result names.
    pub(crate) worst: i64,
    /// Whether it stands for the package.
    pub(crate) counts: bool,
    pub(crate) delivered: Delivered,
}

impl Tx<'_> {
    /// Adds the parts of a job that was recorded, and offers them to workers, but not to some.
    pub(super) fn insert_parts(&mut self, parent: i64, job: &Job, not_on: &[String]) -> Result<(), Failure> {
        let mut parts = Vec::new();
        for place in 0..job.shards {
            let (number, part) = self.record(job.part(place), None)?;
            shards::add(self.db, number, parent, place, job.shards)?;
            parts.push((number, part));
        }
        for (number, part) in parts {
            let (need, priority, excluded) = (Need::of(&part), part.priority, not_on.to_vec());
            self.enqueue(Queued { number, need, priority, excluded, added: self.now })?;
        }
        Ok(())
    }

    /// Notes that a worker has got a job: if it is a part, the job that was split runs now.
    pub(super) fn part_began(&mut self, number: i64) -> Result<(), Failure> {
        let Some(part) = shards::find(self.db, number)? else { return Ok(()) };
        self.db.prepare_cached("UPDATE jobs SET state = ?2 WHERE number = ?1 AND state = ?3")?.execute(params![
            part.parent,
            JobState::Running.name(),
            JobState::Queued.name()
        ])?;
        self.event(HubEvent::Job(part.parent));
        Ok(())
    }

    /// Handles the end of a job: if it is the last part, the results are to be joined, or the job ends without a result, as
    /// one of its parts did.
    pub(super) fn part_ended(&mut self, number: i64) -> Result<(), Failure> {
        let Some(part) = shards::find(self.db, number)? else { return Ok(()) };
        self.event(HubEvent::Job(part.parent));
        // A part that was given up can still be delivered.
        let is_open = matches!(part.parent_state, JobState::Queued | JobState::Running | JobState::GivenUp);
        if part.replaced.is_some() || !is_open {
            return Ok(());
        }
        let parts = shards::states(self.db, part.parent)?;
        if parts.iter().any(|(_, state, _)| !state.is_over()) {
            return Ok(());
        }
        let given_up = parts.iter().position(|(_, state, _)| *state == JobState::GivenUp);
        let without = given_up.or_else(|| parts.iter().position(|(_, state, _)| *state != JobState::Finished));
        let Some((place, (_, state, why))) = without.and_then(|place| Some((place, parts.get(place)?))) else {
            self.db.prepare_cached("INSERT OR IGNORE INTO shard_joins (parent) VALUES (?1)")?.execute([part.parent])?;
            // One that was given up goes on, as the missing result has come late.
            self.db
                .prepare_cached(
                    "UPDATE jobs SET state = ?2, why = NULL, ended = NULL WHERE number = ?1 AND state = ?3",
                )?
                .execute(params![part.parent, JobState::Running.name(), JobState::GivenUp.name()])?;
            self.after.push(Notice::Join);
            return Ok(());
        };
        let name = part_name(u32::try_from(place).unwrap_or(u32::MAX), part.count);
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        self.end_whole(part.parent, *state, &format!("{name} was {}{why}", words(*state)))
    }

    /// Ends a job that was split without a result.
    fn end_whole(&mut self, parent: i64, state: JobState, why: &str) -> Result<(), Failure> {
        self.db
            .prepare_cached("UPDATE jobs SET state = ?2, why = ?3, ended = ?4 WHERE number = ?1")?
            .execute(params![parent, state.name(), why, self.now])?;
        self.event(HubEvent::Job(parent));
        Ok(())
    }

    /// Numbers of the parts of a job that are not over.
    pub(super) fn open_parts(&self, parent: i64) -> Result<Vec<i64>, Failure> {
        let parts = shards::states(self.db, parent)?;
        Ok(parts.into_iter().filter(|(_, state, _)| !state.is_over()).map(|(number, ..)| number).collect())
    }

    /// Runs a part again that is over, in its place. Its job goes on; the earlier result stays that of the earlier part.
    pub(super) fn retry_part(&mut self, id: &str, number: i64, part: &PartRow) -> Result<String, Failure> {
        let refuse = |detail: String| Err(Problem::new(ProblemCode::JobOver, detail).into());
        let whole = &part.parent_id;
        if let Some(later) = &part.replaced {
            return refuse(format!("job `{id}` was {}, and `{later}` has its place: retry that", part.words()));
        }
        if part.parent_state == JobState::Finished {
            return refuse(format!("job `{id}` is {}, which has its result: retry `{whole}`", part.words()));
        }
        let job = self.job(number)?;
        job.check().map_err(|error| Problem::new(ProblemCode::Invalid, error.to_string()))?;
        self.check_package_files([&job])?;
        let (new, job) = self.record(job, Some(id))?;
        self.db.prepare_cached("UPDATE shards SET replaced = ?2 WHERE job = ?1")?.execute([number, new])?;
        shards::add(self.db, new, part.parent, part.place, part.count)?;
        // All had results, and they were not joined yet.
        self.db.prepare_cached("DELETE FROM shard_joins WHERE parent = ?1")?.execute([part.parent])?;
        self.db
            .prepare_cached("UPDATE jobs SET state = ?2, why = NULL, ended = NULL WHERE number = ?1 AND state <> ?3")?
            .execute(params![part.parent, JobState::Running.name(), JobState::Queued.name()])?;
        self.event(HubEvent::Job(part.parent));
        self.offer(new, &job)?;
        Ok(job.id)
    }

    /// Notes whether the result of a part may count.
    pub(super) fn note_part(&mut self, number: i64, counts: bool) -> Result<(), Failure> {
        self.db.prepare_cached("UPDATE shards SET counts = ?2 WHERE job = ?1")?.execute(params![number, counts])?;
        Ok(())
    }

    /// Ends a job with the joined result of its parts. Returns false, and writes nothing, if that is no longer what its parts
    /// are, or it has ended otherwise.
    pub(crate) fn end_with_joined(&mut self, mut joined: JoinedResult) -> Result<bool, Failure> {
        let parent = joined.parent;
        let (id, Named(state)): (String, Named<JobState>) = self
            .db
            .prepare_cached("SELECT id, state FROM jobs WHERE number = ?1")?
            .query_row([parent], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if matches!(state, JobState::Finished | JobState::Cancelled) {
            self.db.prepare_cached("DELETE FROM shard_joins WHERE parent = ?1")?.execute([parent])?;
            return Ok(false);
        }
        let parts = shards::states(self.db, parent)?;
        let are_same = parts.iter().map(|(number, ..)| number).eq(&joined.parts);
        if !are_same || parts.iter().any(|(_, state, _)| *state != JobState::Finished) {
            return Ok(false);
        }
        let (lease, worker): (String, String) = self
            .db
            .prepare_cached("SELECT lease, worker FROM results WHERE job = ?1")?
            .query_row([joined.worst], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (given, turn): (i64, i64) = self
            .db
            .prepare_cached(
                "SELECT min(l.given), max(l.turn) FROM shards s JOIN results r ON r.job = s.job
                 JOIN leases l ON l.id = r.lease WHERE s.parent = ?1 AND s.replaced IS NULL",
            )?
            .query_row([parent], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.db
            .prepare_cached("UPDATE jobs SET state = ?2, why = NULL, worker = ?3, ended = ?4 WHERE number = ?1")?
            .execute(params![parent, JobState::Finished.name(), worker, self.now])?;
        let origin = Origin { job: parent, lease: &lease, worker: &worker, given, turn };
        let broke = self.insert_result(&origin, &mut joined.delivered, joined.counts)?;
        self.db.prepare_cached("DELETE FROM shard_joins WHERE parent = ?1")?.execute([parent])?;
        self.event(HubEvent::Job(parent));
        if broke && self.config.confirm {
            match self.confirm(&id, Elsewhere::IfPossible) {
                Err(Failure::Refused(problem)) => tracing::warn!(job = id, %problem, "cannot be confirmed"),
                other => drop(other?),
            }
        }
        Ok(true)
    }
}

/// How a part has ended, after `was`.
fn words(state: JobState) -> &'static str {
    match state {
        JobState::GivenUp => "given up",
        JobState::Queued | JobState::Running | JobState::Finished | JobState::Cancelled => state.name(),
    }
}
