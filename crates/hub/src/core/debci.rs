//! Commands about jobs of a debci server. A job is on disk before anything else is done with it.

use debci::RunId;
use protocol::Job;
use protocol::api::{JobState, Testbed};
use rusqlite::{OptionalExtension, params};
use sha256::Digest;

use crate::core::{Failure, HubEvent, Tx};
use crate::store::columns::{Hex, Named};
use crate::store::debci::{self as table, Answer};
use crate::watch;

/// A job that was taken from the broker.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) run: RunId,
    pub(crate) architecture: String,
    /// Its line as it came.
    pub(crate) line: String,
    /// The broker has handed it out before.
    pub(crate) redelivered: bool,
    pub(crate) work: Work,
}

/// What is to be done for a job.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Run(Box<Job>),
    /// It is answered with this reason.
    Refuse(String),
    /// The server has its result already. What this hub has begun for it goes on, for itself.
    NotWanted,
}

/// What a job that was taken is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The broker is to keep it until it is answered; its number in the table.
    Open(i64),
    /// Nothing is left to do for it, but that the broker forgets it; its number in the table, if it is there.
    Answered(Option<i64>),
}

/// A job that can be answered.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    /// Its number in the table.
    pub(crate) number: i64,
    pub(crate) run: RunId,
    pub(crate) architecture: String,
    pub(crate) line: String,
    pub(crate) reply: Reply,
}

/// A job that the broker has not forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// Its number in the table.
    pub(crate) number: i64,
    pub(crate) run: RunId,
    pub(crate) architecture: String,
    /// When it was taken, in milliseconds since 1970.
    pub(crate) taken: i64,
}

/// What a job is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// The result in this bundle.
    Result {
        /// The bundle.
        bundle: Digest,
        /// Name of the worker.
        worker: String,
        /// The hub's id of the job.
        job: String,
    },
    /// This reason why it was not run, or not to its end.
    Reason(String),
}

impl Tx<'_> {
    /// Adds jobs that were taken, and recognises those that came before.
    ///
    /// A job that has been answered comes again only as a redelivery, if its acknowledgement was lost; one that is open
    /// comes again when the connection was lost. Anything else with a run id that was there before is another job, of a
    /// server whose database was made anew.
    pub(crate) fn take_debci(&mut self, server: &str, arrived: Vec<Arrived>) -> Result<Vec<Known>, Failure> {
        arrived.into_iter().map(|job| self.take_one(server, job)).collect()
    }

    fn take_one(&mut self, server: &str, arrived: Arrived) -> Result<Known, Failure> {
        let run = i64::try_from(arrived.run.0).unwrap_or(i64::MAX);
        let before: Option<(i64, String, Option<i64>)> = self
            .db
            .prepare_cached(
                "SELECT number, line, answered FROM debci_jobs WHERE server = ?1 AND run = ?2 ORDER BY number DESC LIMIT 1",
            )?
            .query_row(params![server, run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        match before {
            Some((number, line, Some(_))) if arrived.redelivered && line == arrived.line => {
                return Ok(Known::Answered(Some(number)));
            }
            Some((number, line, None)) if line == arrived.line => {
                if matches!(arrived.work, Work::NotWanted) {
                    self.answered_debci(&[number], Answer::NotWanted)?;
                    return Ok(Known::Answered(Some(number)));
                }
                return Ok(Known::Open(number));
            }
            _ => {}
        }
        let (job, refusal) = match arrived.work {
            Work::Run(job) => (Some(self.record(*job, None)?), None),
            Work::Refuse(reason) => (None, Some(reason)),
            Work::NotWanted => return Ok(Known::Answered(None)),
        };
        self.db
            .prepare_cached(
                "INSERT INTO debci_jobs (server, run, architecture, line, job, refusal, taken)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                server,
                run,
                arrived.architecture,
                arrived.line,
                job.as_ref().map(|(number, _)| number),
                refusal,
                self.now
            ])?;
        let number = self.db.last_insert_rowid();
        // Whoever gets it is told what its line says, which has to be there by then.
        if let Some((number, job)) = &job {
            self.offer(*number, job)?;
        }
        Ok(Known::Open(number))
    }

    /// Jobs of a server that have a result or another end, and are not answered.
    pub(crate) fn due_debci(&mut self, server: &str) -> Result<Vec<Due>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT d.number, d.run, d.architecture, d.line, d.refusal, j.id, j.state, j.why, r.bundle,
                 ifnull(n.name, r.worker)
             FROM debci_jobs d LEFT JOIN jobs j ON j.number = d.job LEFT JOIN results r ON r.job = d.job
             LEFT JOIN names n ON n.worker = r.worker
             WHERE d.server = ?1 AND d.acknowledged = 0 AND d.answered IS NULL
                 AND (d.refusal IS NOT NULL OR j.state NOT IN (?2, ?3))
             ORDER BY d.number",
        )?;
        let open = [JobState::Queued.name(), JobState::Running.name()];
        let rows = statement.query_map(params![server, open[0], open[1]], |row| {
            let refusal: Option<String> = row.get(4)?;
            let result = row.get::<_, Option<Hex>>(8)?.zip(row.get(9)?);
            let reply = match (refusal, result) {
                (Some(reason), _) => Reply::Reason(reason),
                (None, Some((Hex(bundle), worker))) => Reply::Result { bundle, worker, job: row.get(5)? },
                (None, None) => {
                    let Named(state): Named<JobState> = row.get(6)?;
                    let why: Option<String> = row.get(7)?;
                    Reply::Reason(ended(state, why.as_deref()))
                }
            };
            let run = RunId(row.get::<_, i64>(1)?.unsigned_abs());
            Ok(Due { number: row.get(0)?, run, architecture: row.get(2)?, line: row.get(3)?, reply })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes what has become of jobs.
    pub(crate) fn answered_debci(&mut self, numbers: &[i64], answer: Answer) -> Result<(), Failure> {
        let mut jobs: Vec<Option<i64>> = Vec::new();
        {
            let mut statement = self.db.prepare_cached(
                "UPDATE debci_jobs SET answered = ifnull(answered, ?2), answer = ifnull(answer, ?3)
                 WHERE number = ?1 RETURNING job",
            )?;
            for number in numbers {
                let values = params![number, self.now, answer.name()];
                let job = statement.query_row(values, |row| row.get::<_, Option<i64>>(0));
                jobs.extend(job.optional()?);
            }
        }
        for job in jobs.into_iter().flatten() {
            self.event(HubEvent::Job(job));
        }
        Ok(())
    }

    /// Jobs of a server that are answered, and that the broker has not forgotten.
    pub(crate) fn unacknowledged_debci(&mut self, server: &str) -> Result<Vec<i64>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT number FROM debci_jobs WHERE server = ?1 AND acknowledged = 0 AND answered IS NOT NULL",
        )?;
        let rows = statement.query_map([server], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes that the broker has forgotten jobs.
    pub(crate) fn acknowledged_debci(&mut self, numbers: &[i64]) -> Result<(), Failure> {
        let mut statement = self.db.prepare_cached("UPDATE debci_jobs SET acknowledged = 1 WHERE number = ?1")?;
        for number in numbers {
            statement.execute([number])?;
        }
        Ok(())
    }

    /// Jobs of a server that the broker keeps for this hub, or has given back to their queue.
    pub(crate) fn open_debci(&mut self, server: &str) -> Result<Vec<Open>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT number, run, architecture, taken FROM debci_jobs WHERE server = ?1 AND acknowledged = 0",
        )?;
        let rows = statement.query_map([server], |row| {
            let run = RunId(row.get::<_, i64>(1)?.unsigned_abs());
            Ok(Open { number: row.get(0)?, run, architecture: row.get(2)?, taken: row.get(3)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What a job wants of its testbed, besides what it says itself.
    pub(super) fn testbed(&self, job: i64) -> Result<Testbed, Failure> {
        let wanted = table::line_of(self.db, job)?.map(table::testbed);
        // A change of the archive is tested with what the archive has now, however old the machine's image is.
        let upgrade = wanted.is_none() && watch::is_watched(self.db, job)?;
        Ok(wanted.unwrap_or(Testbed { upgrade, ..Testbed::default() }))
    }

    /// Whether a job has packages from other sources than the archive.
    pub(super) fn has_other_sources(&self, job: i64) -> Result<bool, Failure> {
        Ok(table::line_of(self.db, job)?.is_some_and(|line| !line.apt_sources.is_empty()))
    }
}

/// Why a job without a result is over, for debci's users.
fn ended(state: JobState, why: Option<&str>) -> String {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    match state {
        JobState::Cancelled => format!("it was cancelled at the hub{why}"),
        JobState::GivenUp => format!("the hub has given it up{why}"),
        state => format!("at the hub it is {state} without a result{why}"),
    }
}
