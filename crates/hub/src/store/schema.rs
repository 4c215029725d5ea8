//! The database's layout, and how a connection to it is made.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::HubError;

/// Version of the layout, `PRAGMA user_version`.
pub(crate) const LAYOUT: i64 = 2;

const TABLES: &str = "
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    kind TEXT NOT NULL,             -- admin or worker
    worker TEXT,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_worker ON tokens (worker, created);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    boot TEXT NOT NULL,             -- which start of its agent
    machine TEXT NOT NULL,          -- JSON
    health TEXT NOT NULL,
    message TEXT NOT NULL,
    registered INTEGER NOT NULL,    -- milliseconds since 1970, as all times
    seen INTEGER NOT NULL,
    paused TEXT                     -- why it gets no jobs
) WITHOUT ROWID;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    package TEXT NOT NULL,          -- the source's name
    job TEXT NOT NULL,              -- JSON
    state TEXT NOT NULL,
    why TEXT,
    lease TEXT,                     -- the one that has it or had it last
    worker TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL,
    ended INTEGER,
    retry_of TEXT
);
CREATE INDEX jobs_state ON jobs (state, number);
CREATE INDEX jobs_package ON jobs (package, number);
CREATE INDEX jobs_retry ON jobs (retry_of) WHERE retry_of IS NOT NULL;

-- Lists that were added, to answer the same request again.
CREATE TABLE additions (
    request TEXT PRIMARY KEY,
    jobs TEXT NOT NULL,             -- ids, JSON
    added INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs,
    worker TEXT NOT NULL,
    request TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,   -- a heartbeat came: the worker has begun
    excludes INTEGER NOT NULL DEFAULT 0,    -- given back as nothing for this machine
    reason TEXT NOT NULL DEFAULT '',
    given INTEGER NOT NULL,
    ended INTEGER,
    UNIQUE (worker, request)
) WITHOUT ROWID;
CREATE INDEX leases_job ON leases (job, attempt);
CREATE INDEX leases_active ON leases (worker) WHERE state = 'active';

CREATE TABLE results (
    job INTEGER PRIMARY KEY REFERENCES jobs,    -- at most one each
    lease TEXT NOT NULL,
    worker TEXT NOT NULL,
    package TEXT NOT NULL,
    version TEXT,
    verdict TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    targets TEXT NOT NULL,          -- with spaces between them
    summary TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    received INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    size INTEGER NOT NULL,
    result TEXT NOT NULL            -- JSON
);
CREATE INDEX results_package ON results (package, job);
CREATE INDEX results_bundle ON results (bundle);

-- The page package x target reads this. A result without a GPU is under the target `none`.
CREATE TABLE coverage (
    package TEXT NOT NULL,
    target TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    job INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (package, target, simulated)
) WITHOUT ROWID;

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    worker TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (worker, sha256, size)
) WITHOUT ROWID;
";

/// What makes the layout before this one into it.
const FROM_1: &str = "ALTER TABLE workers ADD COLUMN paused TEXT";

/// The connection that writes. Makes the tables when there are none.
pub(crate) fn open(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare(&mut connection).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let change = match found {
        0 => TABLES,
        1 => FROM_1,
        LAYOUT => return Ok(connection),
        _ => return Err(HubError::TooNew { path: path.to_owned(), found, known: LAYOUT }),
    };
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(change).map_err(failed)?;
    transaction.pragma_update(None, "user_version", LAYOUT).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}

/// Whether a database cannot be opened because there is no room for what belongs to it.
pub(crate) fn is_full(error: &HubError) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
    let HubError::Database { error, .. } = error else { return false };
    matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure | CannotOpen))
}

/// The only connection to a database on a disk that is full, for reading. Alone, it needs no room: `SQLite` keeps in memory
/// what connections share in a file otherwise (SQLite, Write-Ahead Logging, section 8).
pub(crate) fn open_full(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > LAYOUT {
        return Err(HubError::TooNew { path: path.to_owned(), found, known: LAYOUT });
    }
    if found < LAYOUT {
        // It has to be changed first, and there is no room for that.
        return Err(HubError::Full(path.to_owned()));
    }
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    // WAL: readers see the state of the last commit and never wait. FULL: a commit survives a power cut.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// A connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_has_made_is_brought_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("hub.sqlite");
        let db = open(&path)?;
        db.execute_batch(
            "INSERT INTO workers VALUES ('w1', 'b', '{}', 'ready', '', 1, 2, NULL);
             ALTER TABLE workers DROP COLUMN paused;
             PRAGMA user_version = 1;",
        )?;
        drop(db);
        let db = open(&path)?;
        let seen: (i64, Option<String>) =
            db.query_row("SELECT seen, paused FROM workers", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        assert_eq!(seen, (2, None));
        db.execute_batch("PRAGMA user_version = 99")?;
        drop(db);
        assert!(matches!(open(&path), Err(HubError::TooNew { found: 99, .. })));
        Ok(())
    }
}
