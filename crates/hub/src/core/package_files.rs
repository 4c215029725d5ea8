//! Commands about the package files that jobs bring along. They are uploaded before the jobs are added, and kept until the
//! jobs are over.

use std::collections::BTreeMap;

use protocol::Job;
use protocol::api::{CreateUpload, Problem, ProblemCode};
use rusqlite::params;
use sha256::Digest;

use crate::core::{Failure, Tx, UploadRow};
use crate::kept;
use crate::store::bundles::BundleStore as _;
use crate::store::columns::Hex;
use crate::store::package_files;

/// The owner of package files in the table of uploads: people, not a worker, whose ids are never empty.
pub(crate) const PEOPLE: &str = "";

impl Tx<'_> {
    /// Announces the upload of a package file.
    pub(crate) fn create_package_upload(&mut self, request: &CreateUpload) -> Result<UploadRow, Failure> {
        self.announce(PEOPLE, request, |tx, size| {
            let there: i64 = tx
                .db
                .prepare_cached("SELECT ifnull(sum(size), 0) FROM uploads WHERE worker = ?1")?
                .query_row([PEOPLE], |row| row.get(0))?;
            let most = i64::try_from(tx.config.max_packages).unwrap_or(i64::MAX);
            if there.saturating_add(size) <= most {
                return Ok(());
            }
            let detail = format!(
                "{size} bytes more, and the package files of all jobs have {there} of {most} bytes; they are removed a day \
                 after their jobs are over"
            );
            Err(Problem::new(ProblemCode::QuotaExceeded, detail).into())
        })
    }

    /// Refuses jobs whose package files are not here.
    pub(crate) fn check_package_files<'j>(&self, jobs: impl IntoIterator<Item = &'j Job>) -> Result<(), Failure> {
        let mut wanted = BTreeMap::new();
        for file in jobs.into_iter().flat_map(|job| &job.packages) {
            let content = file.check().map_err(|error| Problem::new(ProblemCode::Invalid, error.to_string()))?;
            wanted.entry(content.sha256.to_string()).or_insert((content, file.name()));
        }
        for (content, name) in wanted.into_values() {
            let there = self.package_files.size(&content.sha256).map_err(|error| crate::problem::io_problem(&error))?;
            if there != Some(content.size) {
                let detail = format!(
                    "packages: the file {name} with SHA-256 {} is not here: upload it before the job is added; files of jobs \
                     that are over are kept for a day",
                    content.sha256
                );
                return Err(Problem::new(ProblemCode::Invalid, detail).into());
            }
        }
        Ok(())
    }

    /// Notes which files a job needs.
    pub(super) fn keep_package_files(&mut self, number: i64, job: &Job) -> Result<(), Failure> {
        for content in job.packages.iter().filter_map(|file| file.content) {
            package_files::add(self.db, number, &content.sha256, content.size)?;
        }
        Ok(())
    }

    /// Removes files that no job needs: of jobs that ended before this time, in milliseconds since 1970. `is_old` says whether
    /// a file was uploaded before it. Returns how many were removed.
    pub(crate) fn remove_package_files(
        &mut self,
        ended: i64,
        before: std::time::SystemTime,
        files: &[Digest],
    ) -> Result<u32, Failure> {
        let mut removed = 0;
        for sha256 in files {
            if package_files::is_needed(self.db, sha256, ended)? || kept::is_kept(self.db, sha256)? {
                continue;
            }
            // In a write transaction, so that no job with the file is added meanwhile.
            match self.package_files.remove_older(sha256, before) {
                Ok(false) => continue,
                Ok(true) => removed += 1,
                Err(error) => {
                    tracing::warn!(%error, %sha256, "a package file that no job needs could not be removed");
                    continue;
                }
            }
            package_files::forget(self.db, sha256)?;
            self.db
                .prepare_cached("DELETE FROM uploads WHERE worker = ?1 AND sha256 = ?2")?
                .execute(params![PEOPLE, Hex(*sha256)])?;
        }
        Ok(removed)
    }
}
