//! Commands about packages that are kept for runs to be made again.

use protocol::{Job, MOST_PACKAGE_FILES};

use crate::core::{Failure, Tx};
use crate::kept::{self, Kept};
use crate::problem::io_problem;
use crate::store::bundles::BundleStore as _;
use crate::store::package_files;

impl Tx<'_> {
    /// Removes kept packages, except for those that jobs need which are not over.
    pub(crate) fn remove_kept(&mut self, doomed: &[Kept]) -> Result<(), Failure> {
        for package in doomed {
            if package_files::is_needed(self.db, &package.sha256, self.now)? {
                continue;
            }
            kept::remove(self.db, &package.package)?;
            // In a write transaction, so that no job with the file is added meanwhile.
            if !kept::is_kept(self.db, &package.sha256)? {
                self.package_files.remove(&package.sha256).map_err(|error| io_problem(&error))?;
            }
        }
        Ok(())
    }

    /// Notes the kept files of the versions that a new job wants and the archive has no more. What is of the tested source
    /// package itself is left out: its tests would be those of another version.
    pub(super) fn note_kept_versions(&mut self, number: i64, job: &Job) -> Result<(), Failure> {
        let tested = job.source.archive_package().unwrap_or_default();
        let mut room = MOST_PACKAGE_FILES.saturating_sub(job.packages.len());
        for (name, version) in &job.versions {
            for (_, sha256, size) in kept::files_of(self.db, name, version, tested)? {
                if room == 0 {
                    return Ok(());
                }
                room -= 1;
                package_files::add(self.db, number, &sha256, size)?;
            }
        }
        Ok(())
    }

    /// The job as its worker gets it: versions that the archive has no more are among its package files.
    pub(super) fn with_kept_versions(&self, number: i64, mut job: Job) -> Result<Job, Failure> {
        for (name, version) in job.versions.clone() {
            let tested = job.source.archive_package().unwrap_or_default();
            let files = kept::files_of(self.db, &name, &version, tested)?;
            let mut found = Vec::new();
            for (file, sha256, _) in files {
                if package_files::belongs_to(self.db, number, &sha256)? && file.check().is_ok() {
                    found.push(file);
                }
            }
            if !found.is_empty() {
                job.versions.remove(&name);
                job.packages.extend(found);
            }
        }
        Ok(job)
    }
}
