//! Finding a service on the local network, and announcing one: DNS-based service discovery (RFC 6763) over multicast DNS
//! (RFC 6762), and, where a DHCP server names a domain, over ordinary DNS.
//!
//! [`browse`] asks on every link at once and gives what answers; [`Responder`] answers. The packets are read and written
//! by [`Message`], and what they mean is found by [`Collector`] and [`answer`], none of which touches a socket.
//!
//! Nothing that is found this way is to be trusted: whoever is on the network can answer.

mod answer;
mod browse;
mod collect;
mod message;
mod name;
mod responder;

pub use answer::{Reply, announcement, answer};
pub use browse::{Browse, browse};
pub use collect::{Collector, Found};
pub use message::{Data, Kind, Message, MessageError, Question, Record};
pub use name::Name;
pub use responder::Responder;

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where multicast DNS is (RFC 6762, section 3).
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// What a rocbed hub is called (RFC 6763, section 4.1.2).
pub const HUB: &str = "_rocbed._tcp";

/// The domain of multicast DNS (RFC 6762, section 3).
pub const LOCAL: &str = "local";

/// A service that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What people call this one: `hub in room 4`. At most 63 bytes.
    pub instance: String,
    /// What it is, [`HUB`].
    pub kind: String,
    /// The machine's name, without a domain.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Attributes, `key=value` each (RFC 6763, section 6).
    pub attributes: Vec<String>,
}
