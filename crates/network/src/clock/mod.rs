//! Sets the clock, also of a machine without a working battery: by SNTP, or the `Date` of a web server.
//!
//! A certificate is valid between two dates, so TLS and apt need the time before anything else. A clock that is
//! earlier than the image itself is first set to the image's date ([`ClockSettings::floor`]): with that, most certificates
//! are valid, even if no server tells the time.

pub mod http;
mod query;
pub mod sntp;
mod sync;
mod system;

use advice::{Advise, Help};

pub use sync::{ClockSettings, Failure, Source, SyncReport, sync_once};
pub use system::{Clock, RecordingClock, SystemClock};

/// The clock could not be set.
#[derive(Debug, thiserror::Error)]
#[error("setting the clock to {}: {source}", http::format(*.to))]
pub struct Error {
    to: std::time::SystemTime,
    source: std::io::Error,
}

impl Advise for Error {
    fn help(&self) -> Help {
        "this needs root, or CAP_SYS_TIME".into()
    }
}
