//! What clients and servers of files over HTTP share, so that each rule is written once:
//!
//! - [`range`]: the part of a file that a request asks for (`Range`), and that an answer holds (`Content-Range`);
//! - [`server_of`]: the server that a URL names;
//! - [`Backoff`]: pauses between attempts;
//! - with the feature `tls`: `tls`, which certificate authorities clients trust, and `one_server`, settings of clients
//!   that talk to one server.

mod backoff;
#[cfg(feature = "tls")]
mod one_server;
pub mod range;
mod server;
#[cfg(feature = "tls")]
pub mod tls;

pub use backoff::Backoff;
#[cfg(feature = "tls")]
pub use one_server::one_server;
pub use server::server_of;
