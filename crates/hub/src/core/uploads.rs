//! Commands about uploads. The progress of an upload is its file's length; the database does not have it.

use protocol::api::{CreateUpload, Problem, ProblemCode};
use rusqlite::{OptionalExtension, params};
use sha256::Digest;

use crate::core::package_files::PEOPLE;
use crate::core::{Failure, Tx};
use crate::store::columns::Hex;
use crate::token::random_hex;

/// The owner of joined bundles in the table of uploads: no worker, whose ids have no spaces.
const JOINED: &str = "joined parts";

/// Most uploads of one worker without a result.
const MOST_PENDING: i64 = 1000;

/// An announced upload.
#[derive(Debug, Clone)]
pub(crate) struct UploadRow {
    pub(crate) id: String,
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
}

impl Tx<'_> {
    /// Announces an upload of a bundle. The same announcement again finds the first one.
    pub(crate) fn create_upload(&mut self, worker: &str, request: &CreateUpload) -> Result<UploadRow, Failure> {
        self.announce(worker, request, |tx, size| tx.check_pending(worker, size))
    }

    /// Announces the bundle of a joined result, which this hub makes.
    pub(crate) fn announce_joined(&mut self, request: &CreateUpload) -> Result<(), Failure> {
        self.announce(JOINED, request, |_, _| Ok(())).map(drop)
    }

    /// Finds an upload of this owner, or makes one if `check` allows one of so many bytes.
    pub(super) fn announce(
        &mut self,
        owner: &str,
        request: &CreateUpload,
        check: impl FnOnce(&Self, i64) -> Result<(), Failure>,
    ) -> Result<UploadRow, Failure> {
        let size = i64::try_from(request.size).unwrap_or(i64::MAX);
        let found: Option<String> = self
            .db
            .prepare_cached("SELECT id FROM uploads WHERE worker = ?1 AND sha256 = ?2 AND size = ?3")?
            .query_row(params![owner, Hex(request.sha256), size], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            check(self, size)?;
            let id = random_hex::<16>()?;
            self.db
                .prepare_cached("INSERT INTO uploads (id, worker, sha256, size, created) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![id, owner, Hex(request.sha256), size, self.now])?;
            id
        };
        Ok(UploadRow { id, sha256: request.sha256, size: request.size })
    }

    /// Refuses an upload if it would exceed the worker's limit of bundles without a result. Announced uploads count
    /// with their full length.
    fn check_pending(&self, worker: &str, size: i64) -> Result<(), Failure> {
        let (count, bytes): (i64, i64) = self
            .db
            .prepare_cached(
                "SELECT count(*), ifnull(sum(size), 0) FROM uploads
                 WHERE worker = ?1 AND sha256 NOT IN (SELECT bundle FROM results)",
            )?
            .query_row([worker], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let most = i64::try_from(self.config.max_pending_upload).unwrap_or(i64::MAX);
        if count < MOST_PENDING && bytes.saturating_add(size) <= most {
            return Ok(());
        }
        let detail = format!(
            "{count} bundles of {bytes} bytes belong to no result yet, and {MOST_PENDING} of {most} bytes are the most; \
             complete their leases, or wait: after a week without one they are removed"
        );
        Err(Problem::new(ProblemCode::QuotaExceeded, detail).into())
    }

    /// Forgets the upload of a refused bundle. Returns whether no other worker has uploaded the same bundle.
    pub(crate) fn forget_refused_upload(&mut self, worker: &str, sha256: &Digest) -> Result<bool, Failure> {
        self.db
            .prepare_cached("DELETE FROM uploads WHERE worker = ?1 AND sha256 = ?2")?
            .execute(params![worker, Hex(*sha256)])?;
        let others = self
            .db
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM uploads WHERE sha256 = ?1)
                     OR EXISTS (SELECT 1 FROM results WHERE bundle = ?1)",
            )?
            .query_row([Hex(*sha256)], |row| row.get::<_, bool>(0))?;
        Ok(!others)
    }

    /// Finds an upload of this worker.
    pub(crate) fn upload(&mut self, id: &str, worker: &str) -> Result<UploadRow, Failure> {
        let found = self
            .db
            .prepare_cached("SELECT sha256, size FROM uploads WHERE id = ?1 AND worker = ?2")?
            .query_row([id, worker], |row| {
                let (Hex(sha256), size) = (row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs());
                Ok(UploadRow { id: id.to_owned(), sha256, size })
            })
            .optional()?;
        found.ok_or_else(|| Problem::new(ProblemCode::NotFound, format!("there is no upload `{id}`")).into())
    }

    /// Digests of uploads announced before the given time that have no result: delivered too late, or never completed.
    /// Bundles that were never announced to this database are not listed, as it may be a restored backup.
    pub(crate) fn orphans(&self, before: i64) -> Result<Vec<Digest>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT sha256 FROM uploads
             WHERE created < ?1 AND worker <> ?2 AND sha256 NOT IN (SELECT bundle FROM results)",
        )?;
        let digests = statement.query_map(params![before, PEOPLE], |row| row.get(0).map(|Hex(digest)| digest))?;
        Ok(digests.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets completed uploads announced before the given time. Their files are bundles now, so a new announcement
    /// finds them.
    pub(crate) fn forget_finished_uploads(&mut self, before: i64) -> Result<(), Failure> {
        self.db
            .prepare_cached("DELETE FROM uploads WHERE created < ?1 AND sha256 IN (SELECT bundle FROM results)")?
            .execute([before])?;
        Ok(())
    }

    /// Forgets old uploads of a bundle that is not there any more, except those that are still being sent.
    pub(crate) fn forget_orphan(
        &mut self,
        sha256: &Digest,
        before: i64,
        is_sent: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let mut find =
            self.db.prepare_cached("SELECT id FROM uploads WHERE sha256 = ?1 AND created < ?2 AND worker <> ?3")?;
        let ids = find
            .query_map(params![Hex(*sha256), before, PEOPLE], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        drop(find);
        self.forget_uploads(&ids.into_iter().filter(|id| !is_sent(id)).collect::<Vec<_>>())
    }

    /// Forgets the uploads whose files were removed.
    pub(crate) fn forget_uploads(&mut self, ids: &[String]) -> Result<(), Failure> {
        for id in ids {
            self.db.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }
}
