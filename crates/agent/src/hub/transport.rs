//! Delivers results to the hub: uploads the bundle, resuming where it was cut, then completes the lease.

use std::path::Path;
use std::sync::Arc;

use client::ClientError;
use protocol::api::ProblemCode::{BundleChanged, BundleMissing};
use protocol::api::{Complete, GiveBack, GiveBackReason, ProblemCode};

use super::heartbeats::HeartbeatThread;
use super::link::Link;
use crate::outbox::PendingResult;
use crate::uploader::{Transport, UploadOutcome};

/// How often an upload that the network cuts is resumed within one try.
const CUTS: u32 = 4;

pub(crate) struct HubTransport {
    pub(crate) link: Arc<Link>,
    pub(crate) heartbeats: HeartbeatThread,
}

impl Transport for HubTransport {
    fn address(&self) -> String {
        self.link.address().to_owned()
    }

    fn deliver(&mut self, result: &PendingResult, bundle: &Path) -> UploadOutcome {
        let Some(lease) = &result.lease else { return UploadOutcome::Refused("it has no lease".into()) };
        let outcome = match self.upload(lease, result, bundle) {
            Ok(()) => UploadOutcome::Delivered,
            Err(error) if error.is_unwanted() => UploadOutcome::Unwanted(error.to_string()),
            Err(error) if is_final(&error) => {
                // The hub will never take this result. Another machine may make one that it takes; this machine would
                // make the same one again.
                let (reason, message) = (GiveBackReason::CannotRun, format!("its result is not taken: {error}"));
                let request = GiveBack { reason, message };
                match self.link.brief(|client| client.give_back(lease, &request)) {
                    Err(error) if error.is_passing() => return UploadOutcome::Later(error.to_string()),
                    _ => UploadOutcome::Refused(error.to_string()),
                }
            }
            Err(error) => return UploadOutcome::Later(in_short(&error)),
        };
        self.heartbeats.release(lease);
        outcome
    }
}

impl HubTransport {
    fn upload(&self, lease: &str, result: &PendingResult, bundle: &Path) -> Result<(), ClientError> {
        let (sha256, is_direct) =
            self.link.call(|client| client.clone().with_attempts(CUTS).upload_directly(bundle))?;
        if sha256 != result.sha256 {
            return Err(ClientError::Changed(bundle.to_owned()));
        }
        let (verdict, summary) = (result.verdict, result.summary.clone());
        let request = Complete { bundle: sha256, verdict, summary };
        let complete = || self.link.call(|client| client.complete(lease, &request)).map(drop);
        match complete() {
            // The storage has told us that it has the bundle, and the hub does not find it there.
            Err(error) if is_direct && matches!(error.code(), Some(BundleMissing | BundleChanged)) => {
                self.link.call(|client| client.clone().with_attempts(CUTS).upload(bundle, |_, _| ()))?;
                complete()
            }
            other => other,
        }
    }
}

/// Whether the hub will never take the same result.
fn is_final(error: &ClientError) -> bool {
    use ProblemCode::{BadRequest, BundleInvalid, Invalid, TooLarge, WrongJob, WrongMachine};
    match error {
        // The file cannot be read, or is not the one that was stored.
        ClientError::File { .. } | ClientError::Changed(_) => true,
        _ => matches!(error.code(), Some(TooLarge | BundleInvalid | WrongJob | WrongMachine | Invalid | BadRequest)),
    }
}

/// Shortens an error to one line for a screen.
fn in_short(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { .. } => "the hub does not answer".into(),
        ClientError::Refused(problem) => problem.title.clone(),
        other => other.to_string(),
    }
}
