//! The table behind the matrix of packages and targets: which result stands for a package on a target.
//!
//! Only plain runs count ([`Job::departures`]). The latest result is the one whose lease the hub gave out last: it
//! tested the newest archive, whatever the workers' clocks say and whenever it was delivered. A result that says
//! nothing about the package (`testbed-failed`, `gpu-fault`) only marks a cell, which keeps its last verdict.

use protocol::{Job, JobResult, NO_GPU, RunAs, Verdict};
use rusqlite::{Connection, params};

use crate::store::columns::Json;

/// A result with the hub's data about it.
pub(crate) struct Covering<'a> {
    /// Number of the job.
    pub(crate) number: i64,
    /// The job as the hub has it; the worker's copy is not used.
    pub(crate) job: &'a Job,
    /// Position of its lease in the order in which leases were given.
    pub(crate) turn: i64,
    pub(crate) result: &'a JobResult,
    /// Time at which the hub received it, in milliseconds since 1970.
    pub(crate) received: i64,
}

/// Whether the GPUs were simulated.
pub(crate) fn is_simulated(result: &JobResult) -> bool {
    result.simulated || result.machine.gpus.simulated
}

/// The verdict of the package's plain run. If a job ran as root too, root's run does not count.
fn plain_verdict(job: &Job, result: &JobResult) -> Verdict {
    let from_runs = matches!(result.verdict, Verdict::Pass | Verdict::Neutral | Verdict::Fail);
    let user = result.runs.iter().find(|run| run.run_as == RunAs::User);
    match user {
        Some(user) if from_runs && job.run_as.len() > 1 => user.verdict,
        _ => result.verdict,
    }
}

/// Records a result in the table, if it counts.
pub(crate) fn note(db: &Connection, covering: &Covering) -> rusqlite::Result<()> {
    let Covering { number, job, turn, result, received } = covering;
    if !job.departures().is_empty() {
        return Ok(());
    }
    let verdict = plain_verdict(job, result);
    let none = [NO_GPU.to_owned()];
    let targets = result.targets();
    for target in if targets.is_empty() { &none[..] } else { &targets[..] } {
        let cell = params![job.source.name(), target, is_simulated(result), number, turn, verdict.name(), received];
        if verdict.is_of_package() {
            db.prepare_cached(
                "INSERT INTO coverage (package, target, simulated, job, turn, verdict, received)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE
                 SET job = ?4, turn = ?5, verdict = ?6, received = ?7 WHERE turn IS NULL OR ?5 > turn",
            )?
            .execute(cell)?;
            db.prepare_cached(
                "UPDATE coverage SET mark_job = NULL, mark_turn = NULL, mark = NULL, mark_received = NULL
                 WHERE package = ?1 AND target = ?2 AND simulated = ?3 AND mark_turn < turn",
            )?
            .execute(params![job.source.name(), target, is_simulated(result)])?;
        } else {
            db.prepare_cached(
                "INSERT INTO coverage (package, target, simulated, mark_job, mark_turn, mark, mark_received)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE
                 SET mark_job = ?4, mark_turn = ?5, mark = ?6, mark_received = ?7
                 WHERE (turn IS NULL OR ?5 > turn) AND (mark_turn IS NULL OR ?5 > mark_turn)",
            )?
            .execute(cell)?;
        }
    }
    Ok(())
}

/// Rebuilds the table from all results, after its rules have changed.
pub(crate) fn fill(db: &Connection) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT r.job, j.job, ifnull(l.turn, 0), r.result, r.received
         FROM results r JOIN jobs j ON j.number = r.job LEFT JOIN leases l ON l.id = r.lease ORDER BY 3, 1",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let read = || -> rusqlite::Result<_> { Ok((row.get(1)?, row.get(3)?)) };
        let (Json(job), Json(result)): (Json<Job>, Json<JobResult>) = match read() {
            Ok(read) => read,
            // Its page still shows what it can; it must not prevent the hub from starting.
            Err(error) => {
                tracing::warn!(number, %error, "a result cannot be read and is left out of the matrix");
                continue;
            }
        };
        note(db, &Covering { number, job: &job, turn: row.get(2)?, result: &result, received: row.get(4)? })?;
    }
    Ok(())
}
