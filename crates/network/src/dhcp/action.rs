//! What a client is told and says: the words between the state machine and who does its input and output.

use std::net::Ipv4Addr;

use crate::configuration::{Configuration, Mac};
use crate::event::Loss;

/// Who the client is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The link's hardware address.
    pub mac: Mac,
    /// Client identifier, its type first (RFC 2132 section 9.14); `None` for type 1 and the hardware address.
    pub client_id: Option<Vec<u8>>,
    /// The name to tell the server.
    pub hostname: Option<String>,
}

/// What the caller is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// The content of the UDP packet, from port 68 to port 67.
        message: Vec<u8>,
        /// How.
        via: Via,
    },
    /// Set the link up with this.
    Configure(Configuration),
    /// The server confirmed the address. Its lifetime begins anew, and settings other than the address may have changed.
    Renew(Configuration),
    /// Take the address away.
    Remove(Loss),
}

/// How to send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// As a broadcast frame from no address, by a packet socket.
    Broadcast,
    /// From the link's address to a server, or to all (255.255.255.255), by a UDP socket.
    Udp(Ipv4Addr),
    /// To a server from an address that will be gone before an answer to an ARP question is there: by a packet socket to
    /// the hardware address that the last message from the server came from.
    Parting {
        /// The address that is given back.
        source: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
}

/// What the client has to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nothing.
    Nothing,
    /// Frames, by a packet socket: the link has no address.
    Frames,
    /// UDP packets to port 68.
    Udp,
}

/// Where the client stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not started, or the link has no carrier.
    Idle,
    /// Looking for a server, or asking one for an address.
    Asking,
    /// It has an address.
    Bound,
    /// It has an address, and asks the server to keep it.
    Renewing,
    /// It has an address, and asks any server to keep it.
    Rebinding,
}
