//! Job list and results: workers claim jobs and deliver result bundles over HTTP, people look at pages.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = hub::Hub::open("/var/lib/rocbed-hub".as_ref(), hub::Config::default())?;
//! if let Some(token) = hub.new_admin_token() {
//!     println!("admin token, shown only now: {token}");
//! }
//! let socket = std::net::TcpListener::bind("[::]:8420")?;
//! hub.serve_blocking(vec![hub::Listener::plain(socket)], hub::until_signal())?;
//! # Ok(())
//! # }
//! ```
//!
//! One process, one directory, no settings. A request that changes something is a command to the one thread that writes
//! the database; what is answered has been written. Queued jobs and workers that wait are kept in memory, in one line for each
//! need and each kind of machine, and are read from the database again at the start. [`openapi`] describes the API;
//! the types are in [`protocol::api`], a client in the crate `client`.
//!
//! What is read from outside: [`check_bundle`] and [`log_to_html`] take any bytes.

mod app;
mod aside;
mod bundle;
mod checks;
mod clock;
mod completion;
mod config;
mod connections;
mod core;
mod error;
mod gate;
mod http;
mod hub;
mod limits;
mod metrics;
mod pages;
mod party;
mod problem;
mod quota;
mod rate;
mod reload;
mod serve;
mod store;
mod tidy;
mod tls;
mod token;

pub use crate::bundle::{BundleError, check_bundle};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use error::HubError;
pub use hub::Hub;
pub use party::Network;
pub use serve::{Listener, until_signal};
pub use tls::{CertificateFault, Tls};

/// Pieces of a log, best cut at the ends of lines, as HTML as pages show it: for fuzzing. Whatever is in them, the only
/// tags that come out are `span`s.
pub fn log_to_html<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut converter = pages::Converter::default();
    pieces.into_iter().map(|piece| converter.html(piece)).collect()
}

/// The OpenAPI document of the API (OpenAPI 3.1).
pub fn openapi() -> serde_json::Value {
    http::openapi::document()
}
