//! The tables of the archive that is watched, and queries of them.
//!
//! They are made where they are missing, and are not part of the numbered layout: a hub that knows nothing of them leaves
//! them alone.

use jiff::Timestamp;
use protocol::api::JobState;
use rusqlite::{Connection, OptionalExtension};

use crate::clock::timestamp;
use crate::store::columns::Named;
use crate::watch::plan::{Reason, Waiting};

/// Waiting packages, and jobs, that a page shows.
const SHOWN: i64 = 100;

pub(crate) const TABLE: &str = "
-- The archive as it was last read and believed; one row at most.
CREATE TABLE IF NOT EXISTS watch_archive (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    suite TEXT NOT NULL,
    date INTEGER NOT NULL,          -- of its Release file; milliseconds since 1970, as all times
    release TEXT NOT NULL,          -- digest of the signed text
    read INTEGER NOT NULL
);

-- Its packages that are tested.
CREATE TABLE IF NOT EXISTS watch_packages (
    package TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    need TEXT NOT NULL,             -- the GPU, JSON
    tested_with TEXT NOT NULL,      -- versions of binary packages, JSON
    state TEXT NOT NULL             -- digest of version and tested_with
) WITHOUT ROWID;

-- What each was last tested with on each target, or will be by a job that is queued.
CREATE TABLE IF NOT EXISTS watch_tested (
    package TEXT NOT NULL,
    target TEXT NOT NULL,
    version TEXT NOT NULL,
    tested_with TEXT NOT NULL,
    state TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs,
    PRIMARY KEY (package, target)
) WITHOUT ROWID;

-- What is to be tested.
CREATE TABLE IF NOT EXISTS watch_waiting (
    package TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,           -- own, dependency or untested
    why TEXT NOT NULL,              -- for people
    state TEXT NOT NULL,            -- of the package when this was written
    since INTEGER NOT NULL,
    PRIMARY KEY (package, target)
) WITHOUT ROWID;

-- Jobs that were made for changes.
CREATE TABLE IF NOT EXISTS watch_jobs (
    job INTEGER PRIMARY KEY REFERENCES jobs,
    target TEXT NOT NULL,
    why TEXT NOT NULL,
    made INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS watch_jobs_made ON watch_jobs (made);
";

/// The archive as it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownArchive {
    pub(crate) suite: String,
    pub(crate) date: Timestamp,
    pub(crate) read: Timestamp,
}

/// What a page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overview {
    pub(crate) archive: Option<KnownArchive>,
    pub(crate) packages: u64,
    pub(crate) waits: u64,
    /// Jobs that were ever made.
    pub(crate) made: u64,
    /// What waits, in the order in which it will become jobs; the first of it.
    pub(crate) waiting: Vec<WaitingPackage>,
    /// The latest jobs, newest first.
    pub(crate) jobs: Vec<MadeJob>,
}

/// A package that waits for a worker with room.
#[derive(Debug, Clone)]
pub(crate) struct WaitingPackage {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) why: String,
    pub(crate) since: Timestamp,
}

/// A job that was made for a change.
#[derive(Debug, Clone)]
pub(crate) struct MadeJob {
    pub(crate) id: String,
    pub(crate) state: JobState,
    pub(crate) why: String,
    pub(crate) made: Timestamp,
}

/// The archive as it was last read.
pub(super) fn known(db: &Connection) -> rusqlite::Result<Option<KnownArchive>> {
    db.prepare_cached("SELECT suite, date, read FROM watch_archive")?
        .query_row([], |row| {
            Ok(KnownArchive { suite: row.get(0)?, date: timestamp(row.get(1)?), read: timestamp(row.get(2)?) })
        })
        .optional()
}

/// Whether a job was made for a change of the archive, so that it is to be tested as the archive is now.
pub(crate) fn is_watched(db: &Connection, job: i64) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM watch_jobs WHERE job = ?1")?.exists([job])
}

/// All that a page shows.
pub(crate) fn overview(db: &Connection) -> rusqlite::Result<Overview> {
    let count = |table: &str| -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) FROM {table}");
        db.prepare_cached(&sql)?.query_row([], |row| row.get::<_, u32>(0)).map(u64::from)
    };
    let mut waiting = waiting(db)?;
    waiting.sort_by_key(Waiting::turn);
    waiting.truncate(usize::try_from(SHOWN).unwrap_or(usize::MAX));
    let mut statement = db.prepare_cached(
        "SELECT j.id, j.state, w.why, w.made FROM watch_jobs w JOIN jobs j ON j.number = w.job
         ORDER BY w.job DESC LIMIT ?1",
    )?;
    let jobs = statement.query_map([SHOWN], |row| {
        let Named(state) = row.get(1)?;
        Ok(MadeJob { id: row.get(0)?, state, why: row.get(2)?, made: timestamp(row.get(3)?) })
    })?;
    let mut find = db.prepare_cached("SELECT why FROM watch_waiting WHERE package = ?1 AND target = ?2")?;
    let mut shown = Vec::new();
    for one in waiting {
        let why = find.query_row([&one.package, &one.target], |row| row.get(0))?;
        shown.push(WaitingPackage { package: one.package, target: one.target, why, since: timestamp(one.since) });
    }
    Ok(Overview {
        archive: known(db)?,
        packages: count("watch_packages")?,
        waits: count("watch_waiting")?,
        made: count("watch_jobs")?,
        waiting: shown,
        jobs: jobs.collect::<rusqlite::Result<_>>()?,
    })
}

/// Everything that waits.
pub(super) fn waiting(db: &Connection) -> rusqlite::Result<Vec<Waiting>> {
    let mut statement = db.prepare_cached("SELECT package, target, reason, since FROM watch_waiting")?;
    let rows = statement.query_map([], |row| {
        let Named(reason): Named<Reason> = row.get(2)?;
        Ok(Waiting { package: row.get(0)?, target: row.get(1)?, reason, since: row.get(3)? })
    })?;
    rows.collect()
}
