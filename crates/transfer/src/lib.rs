//! What clients and servers of files over HTTP share, so that each rule is written once:
//!
//! - [`range`]: the part of a file that a request asks for (`Range`), and that an answer holds (`Content-Range`);
//! - [`Backoff`]: pauses between attempts;

mod backoff;
pub mod range;

pub use backoff::Backoff;
