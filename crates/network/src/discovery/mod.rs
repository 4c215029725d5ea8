//! Service discovery on the local network, and announcing a service: DNS-SD (RFC 6763) over multicast DNS (RFC 6762),
//! and, where a DHCP server names a domain, over ordinary DNS.
//!
//! [`browse`] asks on all links at once and returns the answers; [`Responder`] answers. [`Message`] parses and
//! encodes the packets, and [`Collector`] and [`answer`] interpret them; none of these uses a socket.
//!
//! Services that are found this way must not be trusted: any host on the network can answer.

mod answer;
mod browse;
mod collect;
mod error;
mod message;
mod name;
mod responder;

pub use answer::{Reply, announcement, answer};
pub use browse::{Browse, browse};
pub use collect::{Collector, Found};
pub use error::MessageError;
pub use message::{Message, Question, Record, RecordData, RecordType};
pub use name::Name;
pub use responder::Responder;

use std::net::{Ipv4Addr, SocketAddrV4};

/// The multicast group of multicast DNS (RFC 6762, section 3).
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// The service type of a rocbed hub (RFC 6763, section 4.1.2).
pub const HUB: &str = "_rocbed._tcp";

/// The domain of multicast DNS (RFC 6762, section 3).
pub const LOCAL: &str = "local";

/// A service that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name of this service for people: `hub in room 4`. At most 63 bytes.
    pub instance: String,
    /// The service type: [`HUB`].
    pub kind: String,
    /// The machine's host name, without a domain.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Attributes, `key=value` each (RFC 6763, section 6).
    pub attributes: Vec<String>,
}
