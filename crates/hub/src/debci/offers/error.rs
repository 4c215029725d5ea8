//! [`OfferError`]: why jobs cannot be offered now, or a result not taken. It is tried again.

use advice::Advice;
use debci::RunId;
use protocol::api::Problem;

/// Why offering jobs or collecting results does not go on now.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfferError {
    /// The broker cannot be used.
    #[error("{}", .0.in_one_line())]
    Broker(Advice),
    /// The broker did not confirm an offer.
    #[error("job {run} is not offered yet: {}", .why.in_one_line())]
    Unconfirmed { run: RunId, why: Advice },
    /// The hub's own database or disk cannot be used.
    #[error("the hub cannot go on with offers: {}", .0.detail)]
    Hub(Problem),
    /// A result's files cannot be written, or not be read again.
    #[error("a result cannot be unpacked: {0}")]
    Unpack(String),
    /// The bundle that was made of a result is not the same any more.
    #[error("a bundle has changed while it was stored")]
    BundleChanged,
}

impl From<Problem> for OfferError {
    fn from(problem: Problem) -> Self {
        Self::Hub(problem)
    }
}
