//! The hub's server: keeps job lists and results. Workers claim jobs and deliver result bundles over HTTP; users look
//! at its pages.
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
//! The hub is one process with one directory. A request that changes something becomes a command to the single thread
//! that writes the database, and is answered after the commit. Queued jobs and waiting workers are kept in memory, in a
//! queue for each kind of requirement and of machine, and are loaded from the database at the start. [`openapi`]
//! describes the API; its types are in [`protocol::api`], and a client is in the crate `client`.
//!
//! Functions that take untrusted input, for fuzzing: [`check_bundle`] and [`log_to_html`].

mod app;
mod background;
mod bundle;
mod cases;
mod checks;
mod clock;
mod completion;
mod concurrency;
mod config;
mod connections;
mod core;
mod debci;
mod error;
mod format;
mod gc;
mod history;
mod http;
mod hub;
mod joining;
mod kept;
mod limits;
mod metrics;
mod pages;
mod party;
mod problem;
mod quota;
mod rate;
mod reload;
mod serve;
mod sessions;
mod storage;
mod store;
mod tls;
mod token;
mod watch;
mod webhooks;

pub use crate::bundle::{BundleError, check_bundle};
pub use crate::cases::add_cases;
/// The client of message brokers, for [`DebciOptions`].
pub use amqp;
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{Config, Storage};
pub use debci::{DebciOptions, DebciWorkersOptions};
pub use error::HubError;
pub use hub::Hub;
pub use kept::{ArchiveFile, ArchiveFiles, KeepOptions};
pub use party::{Network, NotANetwork};
pub use serve::{Listener, until_signal};
pub use tls::{CertificateFault, Tls};
pub use watch::{ArchiveState, ReadArchive, WatchOptions, WatchedPackage};
pub use webhooks::{Webhook, WebhookOptions};

/// Converts pieces of a log, best cut at the ends of lines, to HTML as the pages show it; for fuzzing. Whatever they
/// contain, the only tags in the output are `span`s.
pub fn log_to_html<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut converter = pages::Converter::default();
    pieces.into_iter().map(|piece| converter.html(piece)).collect()
}

/// The OpenAPI document (version 3.1) of the API.
pub fn openapi() -> serde_json::Value {
    http::routes::openapi_document()
}
