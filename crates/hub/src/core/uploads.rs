//! Commands about uploads. How far one is the file says, not the database.

use protocol::api::{CreateUpload, Problem, ProblemCode};
use rusqlite::{OptionalExtension, params};

use crate::core::{Failure, Tx};
use crate::token::random_hex;

/// An upload that was announced.
#[derive(Debug, Clone)]
pub(crate) struct UploadRow {
    pub(crate) id: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

impl Tx<'_> {
    /// Announces an upload. The same again finds the first.
    pub(crate) fn create_upload(&mut self, worker: &str, request: &CreateUpload) -> Result<UploadRow, Failure> {
        let size = i64::try_from(request.size).unwrap_or(i64::MAX);
        let found: Option<String> = self
            .db
            .prepare_cached("SELECT id FROM uploads WHERE worker = ?1 AND sha256 = ?2 AND size = ?3")?
            .query_row(params![worker, request.sha256, size], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            let id = random_hex::<16>()?;
            self.db
                .prepare_cached("INSERT INTO uploads (id, worker, sha256, size, created) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![id, worker, request.sha256, size, self.now])?;
            id
        };
        Ok(UploadRow { id, sha256: request.sha256.clone(), size: request.size })
    }

    /// Finds a worker's upload.
    pub(crate) fn upload(&mut self, id: &str, worker: &str) -> Result<UploadRow, Failure> {
        let found = self
            .db
            .prepare_cached("SELECT sha256, size FROM uploads WHERE id = ?1 AND worker = ?2")?
            .query_row([id, worker], |row| {
                Ok(UploadRow { id: id.to_owned(), sha256: row.get(0)?, size: row.get::<_, i64>(1)?.unsigned_abs() })
            })
            .optional()?;
        found.ok_or_else(|| Problem::new(ProblemCode::NotFound, format!("there is no upload `{id}`")).into())
    }

    /// Digests of what was announced before the time given and is of no result: of a delivery that came too late, or was
    /// never completed. What was never announced to this database is none of its business: it may have been restored.
    pub(crate) fn orphans(&self, before: i64) -> Result<Vec<String>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT sha256 FROM uploads WHERE created < ?1 AND sha256 NOT IN (SELECT bundle FROM results)",
        )?;
        let digests = statement.query_map([before], |row| row.get(0))?;
        Ok(digests.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets uploads that were announced before the time given and are complete: their files are bundles now, and
    /// who announces one again finds it.
    pub(crate) fn forget_finished_uploads(&mut self, before: i64) -> Result<(), Failure> {
        self.db
            .prepare_cached("DELETE FROM uploads WHERE created < ?1 AND sha256 IN (SELECT bundle FROM results)")?
            .execute([before])?;
        Ok(())
    }

    /// Forgets uploads, those of which the files were removed.
    pub(crate) fn forget_uploads(&mut self, ids: &[String]) -> Result<(), Failure> {
        for id in ids {
            self.db.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }
}
