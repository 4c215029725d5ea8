//! What clients and servers of files over HTTP share, so that each rule is written once:
//!
//! - [`range`]: the part of a file that a request asks for (`Range`), and that an answer holds (`Content-Range`);
//! - [`Backoff`]: pauses between attempts;
//! - `tls` (feature of the same name): which certificate authorities clients trust.

mod backoff;
pub mod range;
#[cfg(feature = "tls")]
pub mod tls;

pub use backoff::Backoff;
