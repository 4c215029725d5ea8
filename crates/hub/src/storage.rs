//! Bundles that are not on this machine: reading them, and putting them into the bucket in the background.

use std::fs::File;
use std::time::Duration;

use protocol::api::{BundleStorage, Problem, ProblemCode};
use rusqlite::OptionalExtension;
use sha256::Digest;
use transfer::Backoff;

use crate::background::run_in_background;
use crate::hub::{Hub, Shared};
use crate::problem::io_problem;
use crate::store::OpenError;
use crate::store::bundles::{Bucket, Uploaded};

/// Pauses after an upload to the bucket has failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How often it is looked whether there are bundles to put into the bucket that nobody has told of.
const OFTEN: Duration = Duration::from_secs(60);

/// How long a request waits for a bundle that comes from the bucket, before it is told to ask again.
const FETCH_WAIT: Duration = Duration::from_secs(20);

/// Opens a bundle. One that has to come from the bucket first may take longer than a request can wait: then the request is
/// refused with the time after which to ask again, and the download goes on. `gone` is what a request is told of one that
/// is not there: users may delete bundles to free disk space, and the result stays.
pub(crate) async fn open_bundle(shared: &Shared, sha256: Digest, gone: String) -> Result<File, Problem> {
    let explained = |opened: Result<File, OpenError>| {
        opened.map_err(|error| match error {
            OpenError::Missing => Problem::new(ProblemCode::Gone, gone),
            other => open_problem(other),
        })
    };
    let bundles = shared.bundles.clone();
    let is_far = shared.bundles.bucket().is_some() && shared.bundles.size(&sha256).is_ok_and(|size| size.is_none());
    if !is_far {
        let task = tokio::task::spawn_blocking(move || bundles.open(&sha256));
        return explained(task.await.map_err(|error| crate::problem::internal(&error))?);
    }
    let permits = shared.bundles.bucket().map(Bucket::permits);
    let fetch = tokio::spawn(async move {
        let _permit = match permits {
            Some(permits) => permits.acquire_owned().await.ok(),
            None => None,
        };
        run_in_background("fetch", move || bundles.open(&sha256)).await
    });
    match tokio::time::timeout(FETCH_WAIT, fetch).await {
        Ok(Ok(opened)) => explained(opened?),
        Ok(Err(error)) => Err(crate::problem::internal(&error)),
        Err(_) => {
            let detail = "the bundle is still on its way from the hub's storage";
            Err(Problem::new(ProblemCode::Unavailable, detail).after(5))
        }
    }
}

/// What a request is told of a bundle that cannot be read.
pub(crate) fn open_problem(error: OpenError) -> Problem {
    match error {
        OpenError::Missing => Problem::new(ProblemCode::Gone, "the bundle is not there"),
        OpenError::Changed(text) => Problem::new(ProblemCode::BundleChanged, text),
        OpenError::Away(text) => {
            tracing::warn!(text, "a bundle could not be read from the bucket");
            Problem::new(ProblemCode::Unavailable, "the hub's storage cannot be read now").after(15)
        }
        OpenError::Io(error) => io_problem(&error),
    }
}

/// Where bundles are kept.
pub(crate) fn status(shared: &Shared) -> BundleStorage {
    shared.bundles.bucket().map(Bucket::status).unwrap_or_default()
}

impl Shared {
    /// Deletes a refused bundle that its worker has put into the bucket itself.
    pub(crate) async fn delete_from_bucket(&self, sha256: Digest) {
        if self.bundles.bucket().is_none() {
            return;
        }
        let bundles = self.bundles.clone();
        let deleted = run_in_background("storage", move || {
            bundles.bucket().map_or(Ok(()), |bucket| bucket.delete_orphan(&sha256))
        });
        if let Ok(Err(error)) = deleted.await {
            tracing::warn!(%error, %sha256, "a bundle that was refused could not be deleted from the bucket");
        }
    }
}

impl Hub {
    /// Puts bundles into the bucket when they have become results, until the hub ends. Bundles of before there was a
    /// bucket are put there too.
    pub(crate) async fn run_storage(&self) {
        let Some(bucket) = self.shared.bundles.bucket() else { return };
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let works = self.upload_bundles().await;
            if works {
                backoff.reset();
                // A bundle that became a result in the meantime is found at once.
                let _ = tokio::time::timeout(OFTEN, bucket.woken()).await;
            } else {
                tokio::time::sleep(backoff.next_pause()).await;
            }
        }
    }

    /// Puts all bundles into the bucket that are results and not there yet. Returns false if the bucket cannot be used
    /// now. [`Hub::serve`] does this when there is something to do.
    pub async fn upload_bundles(&self) -> bool {
        let bundles = self.shared.bundles.clone();
        let listed = tokio::task::spawn_blocking(move || bundles.bucket().map_or(Ok(Vec::new()), Bucket::waiting));
        let waiting = match listed.await {
            Ok(Ok(waiting)) => waiting,
            Ok(Err(error)) => {
                tracing::warn!(%error, "bundles that are not in the bucket could not be listed");
                return false;
            }
            Err(_) => return false,
        };
        for sha256 in waiting {
            let is_result = self.shared.readers.run(move |db| {
                let mut find = db.prepare_cached("SELECT 1 FROM results WHERE bundle = ?1")?;
                Ok(find.query_row([sha256.to_string()], |_| Ok(())).optional()?.is_some())
            });
            if !is_result.await.unwrap_or(false) {
                continue;
            }
            let (bundles, now) = (self.shared.bundles.clone(), self.shared.config.clock.millis());
            let upload = move || bundles.bucket().map_or(Uploaded::Skipped, |bucket| bucket.upload(&sha256, now));
            if run_in_background("storage", upload).await.unwrap_or(Uploaded::Failed) == Uploaded::Failed {
                return false;
            }
        }
        // What could not be uploaded may have been all there was, so the bucket is asked whether it works again. The next
        // round asks once more.
        let bundles = self.shared.bundles.clone();
        let _ = run_in_background("storage", move || bundles.bucket().map(Bucket::recheck)).await;
        true
    }

    /// Deletes objects of bundles that became no result, and uploads to the bucket that nobody goes on with.
    pub(crate) async fn tidy_bucket(&self, orphans: Vec<Digest>) {
        if self.shared.bundles.bucket().is_none() {
            return;
        }
        let (bundles, now) = (self.shared.bundles.clone(), self.shared.config.clock.millis());
        let tidied = run_in_background("storage", move || {
            let Some(bucket) = bundles.bucket() else { return Ok(0) };
            for sha256 in orphans {
                bucket.delete_orphan(&sha256)?;
            }
            bucket.abort_uploads(now)
        });
        match tidied.await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(count)) => tracing::info!(count, "uploads to the bucket that were not completed were aborted"),
            Ok(Err(error)) => tracing::warn!(%error, "the bucket could not be tidied"),
        }
    }
}
