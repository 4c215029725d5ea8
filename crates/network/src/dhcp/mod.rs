//! A `DHCPv4` client (RFC 2131) that does no I/O itself (sans-I/O).
//!
//! [`Client`] is given received packets and the time, and returns what to send and what to do. [`Message`] is the
//! wire format, [`frame`] has the headers around it while the link has no address.

mod action;
mod client;
#[cfg(test)]
mod client_tests;
mod error;
pub mod frame;
mod lease;
mod message;
mod names;
mod options;
mod timing;

pub use action::{Action, Identity, Listen, Phase, Via};
pub use client::Client;
pub use error::Malformed;
pub use lease::{Lease, Unusable};
pub use message::Message;
pub use options::{DhcpOptions, MessageKind, code};
pub use timing::Time;

/// The server's UDP port (RFC 2131 section 4.1).
pub const SERVER_PORT: u16 = 67;
/// The client's UDP port.
pub const CLIENT_PORT: u16 = 68;
