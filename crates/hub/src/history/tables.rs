//! The tables of the history, and their migration.

use protocol::{Job, JobResult};
use rusqlite::{Connection, params};

use crate::history::record::{self, Noted, Recompute};
use crate::store::columns::Json;
use crate::store::shards;

/// Version of the derived tables. They are made again from all results when it changes.
const VERSION: i64 = 1;

/// Tables that cannot be made from results.
const KEPT: &str = "
CREATE TABLE IF NOT EXISTS history_version (version INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS known (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    package TEXT NOT NULL,
    test TEXT,                      -- NULL: all
    target TEXT,                    -- NULL: all
    bug TEXT,
    text TEXT NOT NULL,
    until TEXT,                     -- the first version that is not expected to fail
    added INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS known_package ON known (package);

-- Jobs that run the failing tests of another job again.
CREATE TABLE IF NOT EXISTS confirmations (
    job INTEGER PRIMARY KEY REFERENCES jobs,
    of INTEGER NOT NULL REFERENCES jobs,
    not_on TEXT                     -- worker that does not get it
);
CREATE INDEX IF NOT EXISTS confirmations_of ON confirmations (of);

-- Lists of installed packages by digest: results do not have them any more.
CREATE TABLE IF NOT EXISTS package_lists (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    packages BLOB NOT NULL          -- the list's lines, zstd
);
";

/// Tables that are derived from results.
const DERIVED: &str = "
-- What is asked: a package's tests, run by a user, with packages from somewhere.
CREATE TABLE history_series (
    id INTEGER PRIMARY KEY,
    package TEXT NOT NULL,
    run_as TEXT NOT NULL,
    variant TEXT NOT NULL,          -- empty: the archive alone
    UNIQUE (package, run_as, variant)
);

CREATE TABLE history_environments (
    id INTEGER PRIMARY KEY,
    description TEXT NOT NULL UNIQUE    -- JSON
);

CREATE TABLE history_runs (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    series INTEGER NOT NULL,
    target TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    worker TEXT NOT NULL,
    gpu TEXT NOT NULL,
    environment INTEGER NOT NULL,
    version TEXT,
    at INTEGER NOT NULL,            -- when the hub gave its job out, milliseconds since 1970
    of INTEGER,                     -- the run that it confirms
    UNIQUE (job, series, target)
);

CREATE TABLE history_cells (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL,
    target TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    test TEXT NOT NULL,             -- empty: the whole run
    state TEXT NOT NULL,
    since INTEGER,                  -- runs
    last_good INTEGER,
    first_bad INTEGER,
    last INTEGER,
    last_at INTEGER,
    streak INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    ran INTEGER NOT NULL,
    flips INTEGER NOT NULL,
    infrastructure INTEGER NOT NULL,
    UNIQUE (series, target, simulated, test)
);
CREATE INDEX history_cells_state ON history_cells (state);

CREATE TABLE history_outcomes (
    cell INTEGER NOT NULL,
    run INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    packages INTEGER,               -- the list
    PRIMARY KEY (cell, run)
) WITHOUT ROWID;

CREATE TABLE history_changes (
    id INTEGER PRIMARY KEY,
    cell INTEGER NOT NULL,
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
);
CREATE INDEX history_changes_cell ON history_changes (cell, at);
CREATE INDEX history_changes_at ON history_changes (at);

-- Results that are in these tables, or do not count.
CREATE TABLE history_noted (job INTEGER PRIMARY KEY);
";

/// Indexes that earlier versions of the tables do not have.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS history_runs_series ON history_runs (series, target, simulated, job);
";

const DROP: &str = "
DROP TABLE IF EXISTS history_series; DROP TABLE IF EXISTS history_environments; DROP TABLE IF EXISTS history_runs;
DROP TABLE IF EXISTS history_cells; DROP TABLE IF EXISTS history_outcomes; DROP TABLE IF EXISTS history_changes;
DROP TABLE IF EXISTS history_noted; DELETE FROM history_version;
";

/// Whether the tables are there, for a database that cannot be written.
pub(crate) fn are_there(db: &Connection) -> bool {
    let version = db.query_row("SELECT version FROM history_version", [], |row| row.get::<_, i64>(0));
    version.is_ok_and(|version| version == VERSION)
}

/// Creates the tables, and adds results that are not in them: all if the tables are new, and those that a hub without
/// these tables has accepted.
pub(crate) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    if !are_there(&transaction) {
        transaction.execute_batch(KEPT)?;
        transaction.execute_batch(DROP)?;
        transaction.execute_batch(DERIVED)?;
        transaction.execute("INSERT INTO history_version (version) VALUES (?1)", [VERSION])?;
    }
    transaction.execute_batch(INDEXES)?;
    fill(&transaction)?;
    transaction.commit()
}

/// The condition that a result `r` is missing: results of parts are in those of their jobs.
macro_rules! missing {
    () => {
        concat!("r.job NOT IN (SELECT job FROM history_noted) AND ", shards::is_whole!())
    };
}

/// Adds the results that are missing.
fn fill(db: &Connection) -> rusqlite::Result<()> {
    let missing: i64 =
        db.query_row(concat!("SELECT count(*) FROM results r WHERE ", missing!()), [], |row| row.get(0))?;
    if missing == 0 {
        return Ok(());
    }
    tracing::info!(results = missing, "the history is made from results");
    let mut statement = db.prepare(concat!(
        "SELECT r.job, j.job, r.result, ifnull(l.given, r.received), r.worker
         FROM results r JOIN jobs j ON j.number = r.job LEFT JOIN leases l ON l.id = r.lease WHERE ",
        missing!(),
        " ORDER BY ifnull(l.turn, 0), r.job"
    ))?;
    let mut rows = statement.query([])?;
    let mut touched = std::collections::BTreeSet::new();
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let read = || -> rusqlite::Result<_> { Ok((row.get(1)?, row.get(2)?)) };
        let (Json(job), Json(result)): (Json<Job>, Json<JobResult>) = match read() {
            Ok(read) => read,
            // Its page still shows what it can; it must not prevent the hub from starting.
            Err(error) => {
                tracing::warn!(number, %error, "a result cannot be read and is left out of the history");
                db.execute("INSERT INTO history_noted (job) VALUES (?1)", params![number])?;
                continue;
            }
        };
        let (at, worker): (i64, String) = (row.get(3)?, row.get(4)?);
        let noted = Noted { number, job: &job, at, worker: &worker, result: &result, counts: true };
        touched.extend(record::insert(db, &noted)?);
    }
    for cell in touched {
        record::recompute(db, cell, Recompute::WithChanges)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tables/tests.rs"]
mod tests;
