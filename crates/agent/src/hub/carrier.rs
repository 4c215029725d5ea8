//! Delivers results to the hub: upload, which goes on where it was cut, then the lease is completed.

use std::path::Path;
use std::sync::Arc;

use client::ClientError;
use protocol::api::{Complete, GiveBack, GiveBackReason, ProblemCode};

use super::keeper::Keeper;
use super::link::Link;
use crate::outbox::Parcel;
use crate::post::{Carried, Carrier};

/// Within one try an upload is taken up again so often where the network cuts it.
const CUTS: u32 = 4;

pub(crate) struct ToHub {
    pub(crate) link: Arc<Link>,
    pub(crate) keeper: Keeper,
}

impl Carrier for ToHub {
    fn address(&self) -> String {
        self.link.address().to_owned()
    }

    fn carry(&mut self, parcel: &Parcel, bundle: &Path) -> Carried {
        let Some(lease) = &parcel.lease else { return Carried::Refused("it has no lease".into()) };
        let carried = match self.deliver(lease, parcel, bundle) {
            Ok(()) => Carried::Kept,
            Err(error) if error.is_unwanted() => Carried::Unwanted(error.to_string()),
            Err(error) if is_final(&error) => {
                // Nobody will ever have this result. Another machine may make one that the hub takes; this one would
                // make the same again.
                let (reason, message) = (GiveBackReason::CannotRun, format!("its result is not taken: {error}"));
                let request = GiveBack { reason, message };
                match self.link.brief(|client| client.give_back(lease, &request)) {
                    Err(error) if error.is_passing() => return Carried::Later(error.to_string()),
                    _ => Carried::Refused(error.to_string()),
                }
            }
            Err(error) => return Carried::Later(in_short(&error)),
        };
        self.keeper.release(lease);
        carried
    }
}

impl ToHub {
    fn deliver(&self, lease: &str, parcel: &Parcel, bundle: &Path) -> Result<(), ClientError> {
        let sha256 = self.link.call(|client| client.clone().with_attempts(CUTS).upload(bundle, |_, _| ()))?;
        if sha256 != parcel.sha256 {
            return Err(ClientError::Changed(bundle.to_owned()));
        }
        let (verdict, summary) = (parcel.verdict, parcel.summary.clone());
        let request = Complete { bundle: sha256, verdict, summary };
        self.link.call(|client| client.complete(lease, &request)).map(drop)
    }
}

/// Whether the same result will never be taken.
fn is_final(error: &ClientError) -> bool {
    use ProblemCode::{BadRequest, BundleInvalid, Invalid, TooLarge, WrongJob, WrongMachine};
    match error {
        // It cannot be read, or is not what was put there.
        ClientError::File { .. } | ClientError::Changed(_) => true,
        _ => matches!(error.code(), Some(TooLarge | BundleInvalid | WrongJob | WrongMachine | Invalid | BadRequest)),
    }
}

/// For one line on a screen.
fn in_short(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { .. } => "the hub does not answer".into(),
        ClientError::Refused(problem) => problem.title.clone(),
        other => other.to_string(),
    }
}
