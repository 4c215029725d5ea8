//! The tables of jobs that run in parts.
//!
//! They are made where they are missing, and are not part of the numbered layout: a hub that knows nothing of them leaves
//! them alone.

use protocol::api::{JobState, PartInfo};
use protocol::{Job, JobResult, PartOf};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha256::Digest;

use crate::store::columns::{Hex, Json, Named};

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS shards (
    job INTEGER PRIMARY KEY REFERENCES jobs,    -- the part
    parent INTEGER NOT NULL REFERENCES jobs,    -- the job that was split
    place INTEGER NOT NULL,         -- index of the part, from 0
    count INTEGER NOT NULL,         -- of parts
    replaced INTEGER REFERENCES jobs,           -- the part that was added in its place; NULL if this one counts
    counts INTEGER NOT NULL DEFAULT 1           -- whether its result may count for a target
);
CREATE UNIQUE INDEX IF NOT EXISTS shards_place ON shards (parent, place) WHERE replaced IS NULL;

-- Jobs whose parts all have results that are not joined yet.
CREATE TABLE IF NOT EXISTS shard_joins (
    parent INTEGER PRIMARY KEY REFERENCES jobs
);
";

/// Columns of the part that a job `j` is; needs the tables `s` and `sp` of [`of_job!`].
macro_rules! part_columns {
    () => {
        "sp.id AS part_of, s.place AS part_place, s.count AS part_count"
    };
}

/// Joins the tables of [`part_columns!`].
macro_rules! of_job {
    () => {
        " LEFT JOIN shards s ON s.job = j.number LEFT JOIN jobs sp ON sp.number = s.parent"
    };
}

/// The condition that a result `r` is not that of a part, which is in its job's.
macro_rules! is_whole {
    () => {
        "NOT EXISTS (SELECT 1 FROM shards s WHERE s.job = r.job)"
    };
}

pub(crate) use {is_whole, of_job, part_columns};

/// Reads [`part_columns!`].
pub(super) fn part_of(row: &Row) -> rusqlite::Result<Option<PartOf>> {
    let Some(job) = row.get("part_of")? else { return Ok(None) };
    Ok(Some(PartOf { job, index: row.get("part_place")?, of: row.get("part_count")? }))
}

/// A part of a job, in the database.
#[derive(Debug, Clone)]
pub(crate) struct PartRow {
    /// Number of the job that was split.
    pub(crate) parent: i64,
    /// Id of that job.
    pub(crate) parent_id: String,
    /// State of that job.
    pub(crate) parent_state: JobState,
    pub(crate) place: u32,
    pub(crate) count: u32,
    /// Id of the part that was added in its place.
    pub(crate) replaced: Option<String>,
}

impl PartRow {
    /// Which part it is, in words.
    pub(crate) fn words(&self) -> String {
        PartOf { job: self.parent_id.clone(), index: self.place, of: self.count }.to_string()
    }
}

/// The part that a job is.
pub(crate) fn find(db: &Connection, job: i64) -> rusqlite::Result<Option<PartRow>> {
    db.prepare_cached(
        "SELECT s.parent, p.id, p.state, s.place, s.count, n.id
         FROM shards s JOIN jobs p ON p.number = s.parent LEFT JOIN jobs n ON n.number = s.replaced WHERE s.job = ?1",
    )?
    .query_row([job], |row| {
        let Named(parent_state) = row.get(2)?;
        Ok(PartRow {
            parent: row.get(0)?,
            parent_id: row.get(1)?,
            parent_state,
            place: row.get(3)?,
            count: row.get(4)?,
            replaced: row.get(5)?,
        })
    })
    .optional()
}

/// Adds a part.
pub(crate) fn add(db: &Connection, job: i64, parent: i64, place: u32, count: u32) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO shards (job, parent, place, count) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![job, parent, place, count])?;
    Ok(())
}

/// The numbers and states of a job's parts that count, by place, and why they are in them.
pub(crate) fn states(db: &Connection, parent: i64) -> rusqlite::Result<Vec<(i64, JobState, Option<String>)>> {
    let mut statement = db.prepare_cached(
        "SELECT j.number, j.state, j.why FROM shards s JOIN jobs j ON j.number = s.job
         WHERE s.parent = ?1 AND s.replaced IS NULL ORDER BY s.place",
    )?;
    let rows = statement.query_map([parent], |row| {
        let Named(state) = row.get(1)?;
        Ok((row.get(0)?, state, row.get(2)?))
    })?;
    rows.collect()
}

/// The parts of a job that count, for people.
pub(crate) fn parts(db: &Connection, parent: i64) -> rusqlite::Result<Vec<PartInfo>> {
    let mut statement = db.prepare_cached(
        "SELECT j.id, s.place, j.state, ifnull(n.name, j.worker), r.verdict
         FROM shards s JOIN jobs j ON j.number = s.job LEFT JOIN names n ON n.worker = j.worker
         LEFT JOIN results r ON r.job = j.number WHERE s.parent = ?1 AND s.replaced IS NULL ORDER BY s.place",
    )?;
    let rows = statement.query_map([parent], |row| {
        let Named(state) = row.get(2)?;
        let verdict: Option<Named<_>> = row.get(4)?;
        Ok(PartInfo {
            job: row.get(0)?,
            index: row.get(1)?,
            state,
            worker: row.get(3)?,
            verdict: verdict.map(|Named(verdict)| verdict),
        })
    })?;
    rows.collect()
}

/// The jobs whose parts can be joined.
pub(crate) fn to_join(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached("SELECT parent FROM shard_joins ORDER BY parent")?.query_map([], |row| row.get(0))?.collect()
}

/// A part that has a result, to be joined with the others.
#[derive(Debug)]
pub(crate) struct EndedPart {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) bundle: Digest,
    /// Whether its result may count for a target.
    pub(crate) counts: bool,
    pub(crate) result: JobResult,
}

/// A job, and its parts that have results, by place.
pub(crate) fn ended_parts(db: &Connection, parent: i64) -> rusqlite::Result<(Job, Vec<EndedPart>)> {
    let Json(job) =
        db.prepare_cached("SELECT job FROM jobs WHERE number = ?1")?.query_row([parent], |row| row.get(0))?;
    let mut statement = db.prepare_cached(
        "SELECT j.number, j.id, r.bundle, s.counts, r.result FROM shards s JOIN jobs j ON j.number = s.job
         JOIN results r ON r.job = s.job WHERE s.parent = ?1 AND s.replaced IS NULL ORDER BY s.place",
    )?;
    let rows = statement.query_map([parent], |row| {
        let (Hex(bundle), Json(result)) = (row.get(2)?, row.get(4)?);
        let result = runner::shards::bounded(result);
        Ok(EndedPart { number: row.get(0)?, id: row.get(1)?, bundle, counts: row.get(3)?, result })
    })?;
    Ok((job, rows.collect::<rusqlite::Result<_>>()?))
}
