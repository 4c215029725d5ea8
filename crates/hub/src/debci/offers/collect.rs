//! Takes results of debci's workers from the broker, and ends jobs with them.

use std::fs;

use amqp::Message;
use debci::{RESULTS_QUEUE, Received};
use protocol::api::{CreateUpload, Problem, ProblemCode};

use super::{LARGEST, OfferError, Offers, bundle};
use crate::core::offers::{OFFERED, OfferedJob};
use crate::core::{Delivered, WorkerClock};

/// Most bytes that a result may unpack to. debci's own workers leave out artifacts above 100 MiB.
const UNPACKED: u64 = 2 << 30;

/// What directories begin with in which results are unpacked.
const WORK: &str = "debci-result-";

/// Why a result ends no job.
enum NoResult {
    /// It is refused, for this reason.
    Refused(String),
    /// The hub cannot take it now.
    Later(OfferError),
}

impl From<std::io::Error> for NoResult {
    fn from(error: std::io::Error) -> Self {
        Self::Later(OfferError::Unpack(error.to_string()))
    }
}

impl From<Problem> for NoResult {
    fn from(problem: Problem) -> Self {
        use ProblemCode::{AlreadyCompleted, BundleInvalid, JobCancelled, LeaseOver, WrongJob};
        match problem.code {
            AlreadyCompleted | BundleInvalid | JobCancelled | LeaseOver | WrongJob => Self::Refused(problem.detail),
            _ => Self::Later(problem.into()),
        }
    }
}

impl Offers {
    /// Takes one result, if there is one. Returns whether there was.
    pub(super) fn collect(&self) -> Result<bool, OfferError> {
        let broker = &self.link.broker;
        let message = broker.take(RESULTS_QUEUE).map_err(|error| OfferError::Broker(self.link.failed(&error)))?;
        let Some(message) = message else { return Ok(false) };
        let receipt = message.receipt;
        match self.end_job(&message) {
            Ok(()) => {
                self.link.got_result();
                // If the broker has taken it back, it comes again, and is known then.
                let _ = broker.acknowledge(receipt);
            }
            Err(NoResult::Refused(reason)) => {
                self.link.refused(format!("a result is refused: {reason}"));
                // The broker forgets it, or keeps it where its administrator wants such messages. If this fails, it comes again,
                // and is refused again.
                let _ = broker.reject(receipt);
            }
            Err(NoResult::Later(error)) => {
                // It goes back to its place also if this fails.
                let _ = broker.requeue(receipt);
                return Err(error);
            }
        }
        Ok(true)
    }

    fn end_job(&self, message: &Message) -> Result<(), NoResult> {
        self.shared.check_room()?;
        if message.body.len() > LARGEST {
            return Err(NoResult::Refused(format!("it has more than {LARGEST} bytes")));
        }
        let work = tempfile::Builder::new().prefix(WORK).tempdir_in(self.shared.data_dir())?;
        let unpacked = work.path().join("unpacked");
        fs::create_dir(&unpacked)?;
        let most = UNPACKED.min(self.shared.config.max_unpacked);
        let received = debci::receive(&message.body, most, &unpacked).map_err(|error| {
            let passing = error.is_passing();
            let text = whole(&error);
            if passing { NoResult::Later(OfferError::Unpack(text)) } else { NoResult::Refused(text) }
        })?;
        let (server, run) = (self.rules.server.clone(), received.run);
        let offered = self.shared.core.write_blocking(move |tx| tx.offered_job(&server, run))?;
        let offered =
            offered.ok_or_else(|| NoResult::Refused(format!("this hub has offered no job under the number {run}")))?;
        check_place(&received, &offered).map_err(NoResult::Refused)?;
        let made = bundle::make(&bundle::Making {
            received: &received,
            unpacked: &unpacked,
            job: &offered.job,
            architecture: &offered.architecture,
            into: work.path(),
            longest_log: self.shared.config.max_log,
        })?;
        self.deliver(offered, &made)
    }

    /// Removes what an earlier process of this hub has left that was killed.
    pub(super) fn clean(&self) {
        let Ok(entries) = fs::read_dir(self.shared.data_dir()) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK)) {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(%error, "{} could not be removed", entry.path().display());
            }
        }
    }

    /// Stores the bundle, and ends the job with it.
    fn deliver(&self, offered: OfferedJob, made: &::bundle::Bundle) -> Result<(), NoResult> {
        let (shared, digest, size) = (&self.shared, made.sha256, made.size);
        // It is read as any worker's, by the same rules.
        let contents = crate::bundle::read(fs::File::open(&made.path)?, shared.config.max_unpacked)
            .map_err(|error| NoResult::Refused(error.to_string()))?;
        // Announced, so that it is removed if it becomes no result.
        let announced = CreateUpload { size, sha256: digest, direct: false };
        shared.core.write_blocking(move |tx| tx.create_upload(OFFERED, &announced).map(drop))?;
        if !shared.bundles.adopt(&made.path, &digest)? {
            return Err(NoResult::Later(OfferError::BundleChanged));
        }
        let summary = contents.result.summary();
        let delivered = Delivered { bundle: digest, size, result: contents.result, summary, clock: WorkerClock::Told };
        let lease = offered.lease;
        shared.core.write_blocking(move |tx| tx.complete(&lease, OFFERED, delivered))?;
        if let Some(link) = shared.debci.get() {
            link.ended.wake();
        }
        if let Some(bucket) = shared.bundles.bucket() {
            bucket.wake();
        }
        if let Err(error) = shared.keep_derived(offered.number, contents.junit.as_deref(), &contents.listing) {
            tracing::warn!(%error, job = offered.job.id, "the cases or files of a result could not be kept beside it");
        }
        Ok(())
    }
}

/// Refuses a result whose path names another package, suite or architecture than its job.
fn check_place(received: &Received, offered: &OfferedJob) -> Result<(), String> {
    let Some((suite, architecture, package)) = &received.place else { return Ok(()) };
    let wanted = [offered.suite.as_str(), &offered.architecture, offered.job.source.name()];
    if [suite.as_str(), architecture, package] == wanted {
        return Ok(());
    }
    let [suite, architecture, package] = [suite, architecture, package].map(|text| safetext::printable(text));
    Err(format!(
        "it is of {package} in {suite} on {architecture}, and the job under the number {} is of {} in {} on {}",
        received.run, wanted[2], wanted[0], wanted[1]
    ))
}

/// An error with its causes, in one line.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}
