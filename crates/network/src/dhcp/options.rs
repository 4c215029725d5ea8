//! DHCP options: values by code (RFC 2132).

use std::net::Ipv4Addr;

use super::error::Malformed;

/// Codes of the options that are used here.
pub mod code {
    /// Subnet mask (RFC 2132 section 3.3).
    pub const SUBNET_MASK: u8 = 1;
    /// Routers (section 3.5).
    pub const ROUTER: u8 = 3;
    /// Domain name servers (section 3.8).
    pub const DNS: u8 = 6;
    /// Host name (section 3.14).
    pub const HOST_NAME: u8 = 12;
    /// Domain name (section 3.17).
    pub const DOMAIN: u8 = 15;
    /// Interface MTU (section 5.1).
    pub const MTU: u8 = 26;
    /// Time servers that speak NTP (section 8.3).
    pub const NTP: u8 = 42;
    /// The requested address (section 9.1).
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Lease time in seconds (section 9.2).
    pub const LEASE_TIME: u8 = 51;
    /// Options continue in other fields (section 9.3).
    pub const OVERLOAD: u8 = 52;
    /// Message type (section 9.6).
    pub const KIND: u8 = 53;
    /// Server identifier (section 9.7).
    pub const SERVER: u8 = 54;
    /// The list of requested options (section 9.8).
    pub const PARAMETERS: u8 = 55;
    /// The longest message that can be received (section 9.10).
    pub const MAX_SIZE: u8 = 57;
    /// When to ask the server again, in seconds (section 9.11).
    pub const T1: u8 = 58;
    /// When to ask any server, in seconds (section 9.12).
    pub const T2: u8 = 59;
    /// Client identifier (section 9.14).
    pub const CLIENT_ID: u8 = 61;
    /// Domains to search (RFC 3397).
    pub const SEARCH: u8 = 119;
    /// Classless static routes (RFC 3442).
    pub const ROUTES: u8 = 121;
}

/// DHCP message types (RFC 2132 section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// Client: asks for an address.
    Discover = 1,
    /// Server: offers an address.
    Offer = 2,
    /// Client: requests the offered address, or to keep its own.
    Request = 3,
    /// Server: grants the address.
    Ack = 5,
    /// Server: refuses the address.
    Nak = 6,
    /// Client: gives the address back.
    Release = 7,
}

/// A message's options, in the order of their first parts. Each code occurs once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DhcpOptions(Vec<(u8, Vec<u8>)>);

impl DhcpOptions {
    /// Parses the options of one field; further parts of an existing option are joined to it (RFC 3396).
    pub(super) fn parse(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let Some((&code, rest)) = bytes.split_first() {
            bytes = match code {
                0 => rest,
                // Some servers leave out the end option; then the field's end counts.
                255 => return Ok(()),
                _ => {
                    let (&length, rest) = rest.split_first().ok_or(Malformed::Option)?;
                    let (value, rest) = rest.split_at_checked(length.into()).ok_or(Malformed::Option)?;
                    match self.0.iter_mut().find(|(known, _)| *known == code) {
                        Some((_, known)) => known.extend(value),
                        None => self.0.push((code, value.to_vec())),
                    }
                    rest
                }
            };
        }
        Ok(())
    }

    /// Writes all options and the end, values of more than 255 bytes in parts.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            if value.is_empty() {
                bytes.extend([*code, 0]);
            }
            for part in value.chunks(255) {
                bytes.extend([*code, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(255);
    }

    /// Sets an option's value. Codes 0 and 255 are not options and are ignored.
    pub fn set(&mut self, code: u8, value: &[u8]) {
        if code == 0 || code == 255 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.0.push((code, value.to_vec())),
        }
    }

    /// Sets the message's type.
    pub fn set_kind(&mut self, kind: MessageKind) {
        self.set(code::KIND, &[kind as u8]);
    }

    /// An option's value.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    /// The message's type; `None` if it is missing or not used here.
    pub fn kind(&self) -> Option<MessageKind> {
        [
            MessageKind::Discover,
            MessageKind::Offer,
            MessageKind::Request,
            MessageKind::Ack,
            MessageKind::Nak,
            MessageKind::Release,
        ]
        .into_iter()
        .find(|kind| self.byte(code::KIND) == Some(*kind as u8))
    }

    /// A value of one byte.
    pub fn byte(&self, code: u8) -> Option<u8> {
        if let [byte] = *self.get(code)? { Some(byte) } else { None }
    }

    /// A value of two bytes.
    pub fn u16(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// A value of four bytes.
    pub fn u32(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// A value that is one address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.u32(code).map(Ipv4Addr::from)
    }

    /// A value that is a list of addresses. Addresses that can't be a host's are left out, and so is a truncated last
    /// one.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        addresses.iter().map(|octets| Ipv4Addr::from(*octets)).filter(|address| is_host(*address)).collect()
    }

    /// A value that is text, without the NUL bytes at its end that some servers send (RFC 2132 section 2).
    pub fn text(&self, code: u8) -> Option<&str> {
        std::str::from_utf8(self.get(code)?).ok().map(|text| text.trim_end_matches('\0'))
    }
}

/// Whether an address can be that of a single host.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.octets()[0] == 0)
}
