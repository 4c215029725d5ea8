//! Joins the results of jobs that ran in parts: makes one bundle of them, and ends the job with it.
//!
//! Which jobs are to be joined is in the database, so that a hub that ends meanwhile does it after its next start. The command
//! that ends the job checks that its parts are still those that were joined; what has become stale is thrown away. So
//! each job gets one result, in whatever order its parts end or are repeated.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use ::bundle::JUNIT;
use protocol::api::{CreateUpload, Problem};
use runner::shards::{JoinedBundle, Part, PartReports, ROOM, join};

use crate::background::run_in_background;
use crate::bundle::MAX_CASES;
use crate::core::{Delivered, JoinedResult, WorkerClock};
use crate::hub::{Hub, Shared};
use crate::problem::{internal, io_problem};
use crate::storage::open_problem;
use crate::store::shards::{self, EndedPart};
use crate::store::{Bundles, CaseFiles};

/// What directories begin with in which bundles are made.
const WORK: &str = "joined-parts-";
/// After what time jobs are looked at again that could not be joined.
const AGAIN: Duration = Duration::from_secs(30);

impl Hub {
    /// Joins the results of jobs whose parts have all ended, until this is dropped.
    pub(crate) async fn run_joining(&self) {
        clean(self.shared.data_dir());
        loop {
            match self.shared.readers.run(shards::to_join).await {
                Ok(parents) => {
                    for parent in parents {
                        if let Err(problem) = join_one(&self.shared, parent).await {
                            tracing::warn!(%problem, job = parent, "the results of a job's parts are not joined yet");
                        }
                    }
                }
                Err(problem) => tracing::warn!(%problem, "it is not known which results are to be joined"),
            }
            // Those that were told meanwhile are not lost: one of them ends the wait at once.
            let _ = tokio::time::timeout(AGAIN, self.shared.core.until_joinable()).await;
        }
    }
}

/// Removes what an earlier process of this hub has left that was killed.
fn clean(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, "{} could not be removed", entry.path().display());
        }
    }
}

/// Joins the results of one job's parts, and ends it.
async fn join_one(shared: &Shared, parent: i64) -> Result<(), Problem> {
    shared.check_room()?;
    let (job, ended) = shared.readers.run(move |db| shards::ended_parts(db, parent)).await?;
    let (numbers, counts) = (ended.iter().map(|part| part.number).collect(), ended.iter().all(|part| part.counts));
    let work =
        tempfile::Builder::new().prefix(WORK).tempdir_in(shared.data_dir()).map_err(|error| io_problem(&error))?;
    let (into, id) = (work.path().to_owned(), job.id.clone());
    // Not all that is shared: a hub that ends does not wait for this thread, and the next one may use the directory.
    let (cases, bundles) = (shared.cases.clone(), shared.bundles.clone());
    let made = run_in_background("join", move || -> Result<_, Problem> {
        let parts = read(&cases, &bundles, ended)?;
        let Some(joined) = join(&job, &parts) else { return Ok(None) };
        let made = joined.write_bundle(&into, "result").map_err(|error| io_problem(&error))?;
        Ok(Some((joined, made)))
    });
    // A part may have been given back meanwhile.
    let Some((joined, JoinedBundle { bundle, junit })) = made.await?? else { return Ok(()) };
    let (digest, size) = (bundle.sha256, bundle.size);
    // Announced, so that it is removed if it becomes no result.
    let announced = CreateUpload { size, sha256: digest, direct: false };
    shared.core.write(move |tx| tx.announce_joined(&announced)).await?;
    let bundles = shared.bundles.clone();
    let adopted = tokio::task::spawn_blocking(move || bundles.adopt(&bundle.path, &digest)).await;
    if !adopted.map_err(|error| internal(&error))?.map_err(|error| io_problem(&error))? {
        return Err(internal(&io::Error::other("a bundle has changed while it was stored")));
    }
    let summary = format!("{} in {} parts", joined.result.summary(), joined.result.parts.len());
    let counts = counts && joined.not_counted.is_none();
    let worst = joined.worst;
    let delivered = Delivered { bundle: digest, size, result: joined.result, summary, clock: WorkerClock::Told };
    let ended = shared.core.write(move |tx| {
        let numbers: Vec<i64> = numbers;
        let Some(worst) = numbers.get(worst).copied() else { return Ok(false) };
        tx.end_with_joined(JoinedResult { parent, parts: numbers, worst, counts, delivered })
    });
    if !ended.await? {
        return Ok(());
    }
    if let Some(bucket) = shared.bundles.bucket() {
        bucket.wake();
    }
    let cases = shared.cases.clone();
    let kept = tokio::task::spawn_blocking(move || cases.keep(parent, &junit)).await;
    if let Err(error) = kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
        // The bundle has them too.
        tracing::warn!(%error, job = id, "the cases of a result could not be kept beside it");
    }
    Ok(())
}

/// Reads the reports of all parts.
fn read(cases: &CaseFiles, bundles: &Bundles, ended: Vec<EndedPart>) -> Result<Vec<Part>, Problem> {
    let mut room = ROOM;
    let part = |part: EndedPart| {
        let junit = junit(cases, bundles, &part)?;
        let reports = junit.map(|junit| PartReports::read(&junit, &part.result, &mut room));
        Ok(Part { id: part.id, result: part.result, bundle: part.bundle, reports })
    };
    ended.into_iter().map(part).collect()
}

/// The `junit.xml` of a part: the copy beside its bundle, or else the one in it. `None` if there is none, or the bundle is not
/// kept any more.
fn junit(cases: &CaseFiles, bundles: &Bundles, part: &EndedPart) -> Result<Option<Vec<u8>>, Problem> {
    if let Some(junit) = cases.read(part.number).map_err(|error| io_problem(&error))? {
        return Ok(Some(junit));
    }
    match bundles.open(&part.bundle) {
        // It was checked when it came; a file that is too large for the hub stays in it.
        Ok(file) => match ::bundle::file(file, JUNIT, MAX_CASES) {
            // It is tried again: a result is final.
            Err(::bundle::ReadError::Io(error)) => Err(io_problem(&error)),
            read => Ok(read.unwrap_or_default()),
        },
        Err(error) if error.is_passing() => Err(open_problem(error)),
        Err(_) => Ok(None),
    }
}
