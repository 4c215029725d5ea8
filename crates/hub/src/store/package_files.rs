//! The table of package files that jobs bring along, and which of them are needed.
//!
//! It is made where it is missing, and is not part of the numbered layout: a hub that knows nothing of it leaves it alone.

use protocol::api::JobState;
use rusqlite::{Connection, params};
use sha256::Digest;

use crate::store::columns::Hex;

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS package_files (
    job INTEGER NOT NULL REFERENCES jobs,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, sha256)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS package_files_sha256 ON package_files (sha256);
";

/// Notes that a job needs a file.
pub(crate) fn add(db: &Connection, job: i64, sha256: &Digest, size: u64) -> rusqlite::Result<()> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT OR IGNORE INTO package_files (job, sha256, size) VALUES (?1, ?2, ?3)")?
        .execute(params![job, Hex(*sha256), size])?;
    Ok(())
}

/// Whether a job has a file.
pub(crate) fn belongs_to(db: &Connection, job: i64, sha256: &Digest) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM package_files WHERE job = ?1 AND sha256 = ?2")?.exists(params![job, Hex(*sha256)])
}

/// Whether a job needs a file: one that is not over, or that ended after this time, in milliseconds since 1970.
pub(crate) fn is_needed(db: &Connection, sha256: &Digest, ended: i64) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM package_files JOIN jobs ON jobs.number = package_files.job
         WHERE sha256 = ?1 AND (jobs.state IN (?2, ?3) OR jobs.ended >= ?4)",
    )?
    .exists(params![Hex(*sha256), JobState::Queued.name(), JobState::Running.name(), ended])
}

/// Forgets a file that was removed.
pub(crate) fn forget(db: &Connection, sha256: &Digest) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM package_files WHERE sha256 = ?1")?.execute([Hex(*sha256)])?;
    Ok(())
}
