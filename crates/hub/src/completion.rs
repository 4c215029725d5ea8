//! Completion of leases: the bundle is checked, and if it is good the job ends with its result.
//!
//! A check continues even if the worker's request has ended or was told to ask again; the same request finds it again.
//! Each worker has one bundle checked at a time, and the checks of all workers take turns.

pub(crate) mod in_progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::api::{Complete, Problem, ProblemCode};
use sha256::Digest;
use tokio::sync::{Semaphore, watch};

use crate::background::run_in_background;
use crate::bundle;
use crate::checks::InTurns;
use crate::core::{Completion, Delivered, WorkerClock};
use crate::format::shorten;
use crate::hub::Shared;
use crate::problem::{internal, io_problem};
use crate::storage::open_problem;
use crate::store::OpenError;

use in_progress::{Key, Outcome};

/// Most completions in progress for one worker.
const WAITING: usize = 8;

/// Refusals remembered per worker, so that a repeated request gets the same answer without a new check.
const REFUSALS: usize = 32;

/// Completes a lease. Answers within [`Config::check_wait`](crate::Config::check_wait) plus the time for the database.
pub(crate) async fn complete(
    shared: &Shared,
    worker: String,
    lease: String,
    complete: Complete,
    clock: WorkerClock,
) -> Outcome {
    let (id, name, digest) = (lease.clone(), worker.clone(), complete.bundle);
    // A bundle is not read again if the lease was completed before or can no longer be completed.
    if let Completion::Done(completed) = shared.core.write(move |tx| tx.may_complete(&id, &name, &digest)).await? {
        return Ok(completed);
    }
    let key = Key { lease, bundle: complete.bundle, verdict: complete.verdict };
    let mut outcome = begin(shared, &worker, &key, complete, clock)?;
    let wait = shared.config.check_wait;
    // Without a wait, a check that ends early changes nothing: the answer is always for the next request.
    let waited =
        if wait.is_zero() { None } else { tokio::time::timeout(wait, outcome.wait_for(Option::is_some)).await.ok() };
    match waited {
        Some(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(ended())),
        Some(Err(_)) => Err(ended()),
        None => {
            let detail = format!("checking it takes longer than {} s", wait.as_secs_f64());
            Err(Problem::new(ProblemCode::Checking, detail).after(wait.as_secs().clamp(1, 5)))
        }
    }
}

fn ended() -> Problem {
    Problem::new(ProblemCode::Unavailable, "the hub ends")
}

/// Starts a completion, or finds the one in progress.
fn begin(
    shared: &Shared,
    worker: &str,
    key: &Key,
    complete: Complete,
    clock: WorkerClock,
) -> Result<watch::Receiver<Option<Outcome>>, Problem> {
    let now = shared.config.clock.monotonic();
    shared.completions.with(worker, |known| {
        if let Some(under_way) = known.under_way.get(key) {
            return Ok(under_way.clone());
        }
        if let Some((_, problem)) = known.refused.iter().find(|(refused, _)| refused == key) {
            return Err(problem.clone());
        }
        if let Some(wait) = known.debt.wait(shared.config.free_checking, now) {
            let detail = "bundles of this worker that were refused have taken much of the hub's time";
            return Err(Problem::new(ProblemCode::TooMany, detail).after(wait.as_secs().saturating_add(1)));
        }
        if known.under_way.len() >= WAITING {
            let detail = format!("{WAITING} bundles of this worker are being checked");
            return Err(Problem::new(ProblemCode::TooMany, detail).after(5));
        }
        let (sender, receiver) = watch::channel(None);
        known.under_way.insert(key.clone(), receiver.clone());
        let (shared, worker, key, turn) = (shared.clone(), worker.to_owned(), key.clone(), known.turn.clone());
        tokio::spawn(async move {
            let outcome = in_turn(&shared, &worker, &key, complete, clock, &turn).await;
            shared.completions.with(&worker, |known| {
                known.under_way.remove(&key);
                if let Some(problem) = outcome.as_ref().err().filter(|problem| is_final(problem)) {
                    if known.refused.len() >= REFUSALS {
                        known.refused.remove(0);
                    }
                    known.refused.push((key, problem.clone()));
                }
            });
            // The waiting request may be gone; the outcome is in the database.
            let _ = sender.send(Some(outcome));
        });
        Ok(receiver)
    })
}

/// Whether the same request would always be refused, so that the refusal can be remembered.
fn is_final(problem: &Problem) -> bool {
    use ProblemCode::{BundleInvalid, Invalid, WrongJob, WrongMachine};
    matches!(problem.code, BundleInvalid | WrongJob | WrongMachine | Invalid)
}

async fn in_turn(
    shared: &Shared,
    worker: &str,
    key: &Key,
    complete: Complete,
    clock: WorkerClock,
    turn: &Semaphore,
) -> Outcome {
    let _turn = turn.acquire().await.map_err(|error| internal(&error))?;
    let used = Arc::new(AtomicU64::new(0));
    let outcome = check_and_complete(shared, worker, key, complete, clock, &used).await;
    if outcome.as_ref().is_err_and(is_final) {
        let (now, used) = (shared.config.clock.monotonic(), Duration::from_micros(used.load(Ordering::Relaxed)));
        shared.completions.with(worker, |known| known.debt.add(used, now));
        tracing::info!(worker, bundle = %key.bundle, ?used, "a bundle was refused");
    }
    if outcome.as_ref().is_err_and(|problem| problem.code == ProblemCode::BundleInvalid) {
        discard(shared, worker, key.bundle).await;
    }
    outcome
}

async fn check_and_complete(
    shared: &Shared,
    worker: &str,
    key: &Key,
    complete: Complete,
    clock: WorkerClock,
    used: &Arc<AtomicU64>,
) -> Outcome {
    let (id, name, digest) = (key.lease.clone(), worker.to_owned(), key.bundle);
    let job = match shared.core.write(move |tx| tx.may_complete(&id, &name, &digest)).await? {
        Completion::Open(job) => job,
        Completion::Done(completed) => return Ok(completed),
    };
    let open = shared.completions.open.acquire().await.map_err(|error| internal(&error))?;
    let (bundles, digest, limit) = (shared.bundles.clone(), key.bundle, shared.config.max_unpacked);
    let (turns, used) = (shared.completions.turns.clone(), used.clone());
    let read = run_in_background("check", move || -> Result<_, Problem> {
        // One that the worker has put into the bucket itself comes from there now.
        let was_here = bundles.size(&digest).is_ok_and(|size| size.is_some());
        let file = bundles.open(&digest).map_err(|error| match error {
            OpenError::Missing => Problem::new(ProblemCode::BundleMissing, format!("there is no bundle {digest}")),
            other => open_problem(other),
        })?;
        let size = file.metadata().map_err(|error| io_problem(&error))?.len();
        let file = InTurns::new(file, turns, used);
        let failed = file.failed();
        let contents = bundle::read(file, limit).map_err(|error| {
            // A disk of the hub's that fails is not the worker's fault, and its bundle is not removed.
            let code =
                if failed.load(Ordering::Relaxed) { ProblemCode::Unavailable } else { ProblemCode::BundleInvalid };
            Problem::new(code, error.to_string())
        })?;
        Ok((was_here, size, contents))
    });
    let (was_here, size, contents) = read.await??;
    if !was_here {
        shared.received.add(worker, size, shared.config.clock.monotonic());
    }
    drop(open);
    let result = contents.result;
    if result.job.id != job.id || result.job.source != job.source {
        let detail = format!("the bundle is of job `{}`, and the lease of job `{}`", result.job.id, job.id);
        return Err(Problem::new(ProblemCode::WrongJob, detail));
    }
    if result.verdict != complete.verdict {
        let detail = format!("verdict: `{}`, and in the bundle `{}`", complete.verdict, result.verdict);
        return Err(Problem::new(ProblemCode::Invalid, detail));
    }
    let summary = shorten(&complete.summary, 500);
    let delivered = Delivered { bundle: complete.bundle, size, result, summary, clock };
    let (lease, worker) = (key.lease.clone(), worker.to_owned());
    let completed = shared.core.write(move |tx| tx.complete(&lease, &worker, delivered)).await?;
    if let Some(link) = shared.debci.get() {
        link.ended.wake();
    }
    if let Some(bucket) = shared.bundles.bucket() {
        bucket.wake();
    }
    let (keeping, number, (junit, listing)) = (shared.clone(), job.number, (contents.junit, contents.listing));
    let kept = tokio::task::spawn_blocking(move || keeping.keep_derived(number, junit.as_deref(), &listing)).await;
    if let Err(error) = kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        tracing::warn!(%error, job = job.id, "the cases or files of a result could not be kept beside it");
    }
    Ok(completed)
}

/// Removes a refused bundle, so that it does not take disk space or its worker's quota.
async fn discard(shared: &Shared, worker: &str, digest: Digest) {
    let (bundles, worker, bundle) = (shared.bundles.clone(), worker.to_owned(), digest);
    let removed = shared.core.write(move |tx| {
        // In a write transaction, so that the bundle cannot be announced again meanwhile.
        let is_orphan = tx.forget_refused_upload(&worker, &bundle)?;
        if is_orphan && let Err(error) = bundles.remove(&bundle) {
            tracing::warn!(%error, %bundle, "a bundle that was refused could not be removed");
        }
        Ok(is_orphan)
    });
    match removed.await {
        Ok(true) => shared.delete_from_bucket(digest).await,
        Ok(false) => {}
        Err(problem) => tracing::warn!(%problem, %digest, "a bundle that was refused could not be forgotten"),
    }
}
