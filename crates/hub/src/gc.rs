//! Garbage collection: abandoned uploads, bundles without a result, package files of jobs that are over, old request ids.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use crate::clock::millis;
use crate::hub::Hub;

/// Age at which abandoned uploads, and bundles without a result, are removed.
const ABANDONED: Duration = Duration::from_secs(7 * 86_400);

/// Time for which the package files of a job are kept after it is over, so that it can be run again; and after the upload of
/// files that no job has named.
const PACKAGES_KEPT: Duration = Duration::from_secs(86_400);

/// Time for which a repeated request is recognised.
const REQUESTS_KEPT: Duration = Duration::from_secs(30 * 86_400);

impl Hub {
    /// Removes data that is no longer needed; [`Hub::serve`] does it every hour.
    pub async fn collect_garbage(&self) {
        let now = self.shared.config.clock.millis();
        let (requests, abandoned) = (now.saturating_sub(millis(REQUESTS_KEPT)), now.saturating_sub(millis(ABANDONED)));
        let shared = self.shared.clone();
        let found = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let Some(time) = SystemTime::now().checked_sub(ABANDONED) else { return Ok(None) };
            let uploads = shared.uploads.older_than(time)?;
            for id in &uploads {
                fs::remove_file(shared.uploads.path(id))?;
            }
            Ok(Some((uploads, time)))
        });
        let (uploads, time) = match found.await {
            Ok(Ok(Some(found))) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "abandoned uploads could not be removed");
                return;
            }
            Ok(Ok(None)) | Err(_) => return,
        };
        let (bundles, files) = (self.shared.bundles.clone(), self.shared.uploads.clone());
        let outcome = self.shared.core.write(move |tx| {
            tx.forget_requests(requests)?;
            tx.forget_uploads(&uploads)?;
            tx.forget_finished_uploads(abandoned)?;
            let (mut removed, mut orphans) = (0_u32, Vec::new());
            // In a write transaction, so that no bundle becomes a result meanwhile.
            for digest in tx.orphans(abandoned)? {
                match bundles.remove_older(&digest, time) {
                    Ok(gone) => {
                        removed += u32::from(gone);
                        // Else what is long gone would count towards its worker's quota for ever.
                        if bundles.size(&digest).is_ok_and(|size| size.is_none()) {
                            tx.forget_orphan(&digest, abandoned, |id| files.path(id).exists())?;
                            orphans.push(digest);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, %digest, "a bundle that became no result could not be removed");
                    }
                }
            }
            Ok((removed, orphans))
        });
        let orphans = match outcome.await {
            Ok((0, orphans)) => orphans,
            Ok((count, orphans)) => {
                tracing::info!(count, "bundles that became no result were removed");
                orphans
            }
            Err(problem) => {
                tracing::warn!(%problem, "what nobody needs any more could not be forgotten");
                return;
            }
        };
        self.tidy_bucket(orphans).await;
        self.remove_package_files().await;
    }

    /// Removes package files that no job needs any more.
    async fn remove_package_files(&self) {
        let ended = self.shared.config.clock.millis().saturating_sub(millis(PACKAGES_KEPT));
        let Some(before) = SystemTime::now().checked_sub(PACKAGES_KEPT) else { return };
        let store = self.shared.package_files.clone();
        let files = match tokio::task::spawn_blocking(move || store.all()).await {
            Ok(Ok(files)) => files,
            Ok(Err(error)) => return tracing::warn!(%error, "the package files of jobs could not be listed"),
            Err(_) => return,
        };
        let old: Vec<_> = files.into_iter().filter(|(_, _, time)| *time < before).map(|(digest, ..)| digest).collect();
        if old.is_empty() {
            return;
        }
        match self.shared.core.write(move |tx| tx.remove_package_files(ended, before, &old)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "package files of jobs that are over were removed"),
            Err(problem) => tracing::warn!(%problem, "package files that no job needs could not be removed"),
        }
    }
}
