//! The database layout, and functions that open a connection.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::HubError;
use crate::store::{coverage, debci, names, package_files, shards, targets};
use crate::{history, kept, watch, webhooks};

/// Version of the layout (`PRAGMA user_version`).
pub(crate) const LAYOUT: i64 = 3;

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
    paused TEXT,                    -- why it gets no jobs
    clock INTEGER                   -- by how many milliseconds its clock is ahead of ours, where that is known
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
CREATE INDEX jobs_worker ON jobs (worker, number);

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
    turn INTEGER NOT NULL,                  -- leases in the order in which they were given, whatever any clock says
    late INTEGER NOT NULL DEFAULT 0,        -- completed after it had run out
    UNIQUE (worker, request)
) WITHOUT ROWID;
CREATE INDEX leases_job ON leases (job, attempt);
CREATE INDEX leases_turn ON leases (turn);
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
CREATE INDEX results_worker ON results (worker, job);

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    worker TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (worker, sha256, size)
) WITHOUT ROWID;
";

/// Additions of layout 3, except what is in [`TABLES`].
const VIEWS: &str = "
-- The page package x target reads this. A result without a GPU is under the target `none`.
CREATE TABLE coverage (
    package TEXT NOT NULL,
    target TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    job INTEGER,                    -- the latest result that says something about the package; NULL if there is none
    turn INTEGER,                   -- of its lease
    verdict TEXT,
    received INTEGER,
    mark_job INTEGER,               -- a later one that says nothing about it: testbed-failed or gpu-fault
    mark_turn INTEGER,
    mark TEXT,
    mark_received INTEGER,
    PRIMARY KEY (package, target, simulated)
) WITHOUT ROWID;

-- What people call workers, also those that were removed.
CREATE TABLE names (
    worker TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) WITHOUT ROWID;
";

/// Lets `/metrics` count results without reading their rows, which take hundreds of MB after a year. It is made where it is missing,
/// and is not part of the numbered layout.
const RESULTS_INDEX: &str = "CREATE INDEX IF NOT EXISTS results_verdict ON results (verdict, simulated);";

/// Migration from layout 1 to layout 2.
const FROM_1: &str = "ALTER TABLE workers ADD COLUMN paused TEXT;";

/// Migration from layout 2 to layout 3, before [`VIEWS`] are created and filled.
const FROM_2: &str = "
ALTER TABLE workers ADD COLUMN clock INTEGER;
ALTER TABLE leases ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
UPDATE leases SET turn = ranks.turn
    FROM (SELECT id, row_number() OVER (ORDER BY given, job, attempt) AS turn FROM leases) AS ranks
    WHERE ranks.id = leases.id;
ALTER TABLE leases ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
UPDATE leases SET late = 1, reason = '' WHERE state = 'completed' AND reason = 'late';
CREATE INDEX leases_turn ON leases (turn);
CREATE INDEX jobs_worker ON jobs (worker, number);
CREATE INDEX results_worker ON results (worker, job);
DROP TABLE coverage;
";

/// Opens the connection that writes. Creates the tables if there are none.
pub(crate) fn open(path: &Path) -> Result<Connection, HubError> {
    let mut connection = migrated(path)?;
    history::prepare(&mut connection).map_err(|error| HubError::Database { path: path.to_owned(), error })?;
    Ok(connection)
}

/// Opens the connection with the tables of this layout.
fn migrated(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare(&mut connection).map_err(failed)?;
    migrate(&mut connection, path)?;
    connection.execute_batch(RESULTS_INDEX).map_err(failed)?;
    connection.execute_batch(debci::TABLE).map_err(failed)?;
    connection.execute_batch(package_files::TABLE).map_err(failed)?;
    connection.execute_batch(shards::TABLE).map_err(failed)?;
    connection.execute_batch(kept::TABLE).map_err(failed)?;
    connection.execute_batch(targets::TABLE).map_err(failed)?;
    targets::fill(&connection).map_err(failed)?;
    connection.execute_batch(watch::TABLE).map_err(failed)?;
    connection.execute_batch(webhooks::TABLE).map_err(failed)?;
    Ok(connection)
}

/// Creates the tables if there are none, and brings those of an earlier version up to date.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let changes: &[&str] = match found {
        0 => &[TABLES, VIEWS],
        1 => &[FROM_1, FROM_2, VIEWS],
        2 => &[FROM_2, VIEWS],
        LAYOUT => return Ok(()),
        _ => return Err(HubError::TooNew { path: path.to_owned(), found, known: LAYOUT }),
    };
    let transaction = connection.transaction().map_err(failed)?;
    for change in changes {
        transaction.execute_batch(change).map_err(failed)?;
    }
    if found != 0 {
        coverage::fill(&transaction).map_err(failed)?;
        names::fill(&transaction).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", LAYOUT).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Whether a database cannot be opened because the disk is too full for the files it needs.
pub(crate) fn is_full(error: &HubError) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
    let HubError::Database { error, .. } = error else { return false };
    matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure | CannotOpen))
}

/// Opens the only connection to a database on a full disk, for reading. An exclusive connection needs no space:
/// `SQLite` keeps in memory what connections otherwise share in a file (`SQLite`, Write-Ahead Logging, section 8).
pub(crate) fn open_full(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > LAYOUT {
        return Err(HubError::TooNew { path: path.to_owned(), found, known: LAYOUT });
    }
    let has_tables = "SELECT count(*) = 9 FROM sqlite_schema
         WHERE name IN ('debci_jobs', 'debci_offers', 'kept_later', 'kept_packages', 'package_files', 'shards', 'shard_joins',
             'watch_jobs', 'webhook_queue')";
    let has_tables: bool = connection.query_row(has_tables, [], |row| row.get(0)).map_err(failed)?;
    if found < LAYOUT || !has_tables || !history::are_there(&connection) {
        // The layout has to be migrated first, and there is no space for that.
        return Err(HubError::Full(path.to_owned()));
    }
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    // WAL: readers see the last commit and never wait. FULL: a commit survives a power cut.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Opens a read-only connection.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, HubError> {
    let failed = |error| HubError::Database { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
