//! Client for a rocbed hub: blocking, small, without an async runtime.
//!
//! ```no_run
//! # fn main() -> Result<(), client::ClientError> {
//! let people = client::Client::new("https://hub.example:8420", &client::ClientOptions::default())?.with_token("rocbed-admin-...");
//! for job in people.jobs(&client::JobQuery::default())?.jobs {
//!     println!("{} {}", job.id, job.state);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! If the hub cannot be reached or cannot answer now, a call is repeated with growing pauses; [`ClientOptions`] sets for how
//! long. Repeating a request is safe, as it has one effect however often it arrives. A request that the hub refuses is
//! not repeated: [`ClientError::Refused`] has the hub's reason.

mod calls;
mod certificate;
mod error;
mod http;
mod uploads;

pub use calls::{HistoryQuery, JobQuery, ResultQuery};
pub use certificate::{names as certificate_names, self_signed_command};
pub use error::ClientError;
pub use http::{Client, ClientOptions};

/// A new random id for a request: 128 bits.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn request_id() -> Result<String, ClientError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Random(error.to_string()))?;
    Ok(hex::encode(bytes))
}
