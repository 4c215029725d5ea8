//! The inputs and outputs of the DHCP state machine, between it and the code that does its I/O.

use std::net::Ipv4Addr;

use crate::configuration::{Configuration, Mac};
use crate::event::Loss;

/// The identity of the client.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The link's hardware address.
    pub mac: Mac,
    /// Client identifier, its type first (RFC 2132 section 9.14); `None` for type 1 and the hardware address.
    pub client_id: Option<Vec<u8>>,
    /// The host name to send to the server.
    pub hostname: Option<String>,
}

/// An action for the caller; actions are done in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// The content of the UDP packet, from port 68 to port 67.
        message: Vec<u8>,
        /// The transport.
        via: Via,
    },
    /// Apply this configuration to the link.
    Configure(Configuration),
    /// The server confirmed the address. Its lifetime starts again, and settings other than the address may have
    /// changed.
    Renew(Configuration),
    /// Remove the address.
    Remove(Loss),
}

/// The transport for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// As a broadcast frame from no address, by a packet socket.
    Broadcast,
    /// From the link's address to a server, or as a broadcast (255.255.255.255), by a UDP socket.
    Udp(Ipv4Addr),
    /// To a server, from an address that will be gone before an ARP request is answered: by a packet socket, to the
    /// hardware address that the last message from the server came from.
    Parting {
        /// The address that is released.
        source: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
}

/// The packets that the client has to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nothing is to be done.
    Nothing,
    /// Frames, by a packet socket: the link has no address.
    Frames,
    /// UDP packets to port 68.
    Udp,
}

/// The client's phase, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not started, or the link has no carrier.
    Idle,
    /// Looking for a server, or asking one for an address.
    Asking,
    /// It has an address.
    Bound,
    /// It has an address, and asks the server to extend the lease.
    Renewing,
    /// It has an address, and asks any server to extend the lease.
    Rebinding,
}
