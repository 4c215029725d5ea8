//! The configuration of a link, from any origin.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A link's hardware address (IEEE 802 MAC-48).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Reads `52-54-00-12-34-56`.
    pub(crate) fn parse_hyphens(text: &str) -> Option<Self> {
        let mut mac = [0; 6];
        let mut parts = text.split('-');
        for byte in &mut mac {
            let part = parts.next()?;
            let digits = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = if digits { u8::from_str_radix(part, 16).ok()? } else { return None };
        }
        parts.next().is_none().then_some(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A route to a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The subnet's address, with zero host bits.
    pub destination: Ipv4Addr,
    /// The subnet's prefix length; 0 is the default route.
    pub prefix: u8,
    /// The router; `None` if the subnet is on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

/// The origin of a link's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An `ip=` parameter.
    Static,
    /// A DHCP server, by its server identifier.
    Dhcp {
        /// The server's address.
        server: Ipv4Addr,
    },
}

/// A link's IPv4 settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The link's address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// All routes except the subnet's own, including the default route.
    pub routes: Vec<Route>,
    /// Name servers, preferred ones first.
    pub dns: Vec<Ipv4Addr>,
    /// Search domains, for names without a dot.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The host name for the machine.
    pub hostname: Option<String>,
    /// The link's MTU: the largest packet, in bytes.
    pub mtu: Option<u16>,
    /// How long the address is valid, counted from the request for it; `None` for ever.
    pub lifetime: Option<Duration>,
    /// The origin of the configuration.
    pub origin: Origin,
}

impl Configuration {
    /// The default gateway.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|route| route.prefix == 0)?.gateway
    }

    /// Whether `address` is in the link's subnet.
    pub(crate) fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        (address.to_bits() | host) == (self.address.to_bits() | host)
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        match self.gateway() {
            Some(gateway) => write!(f, ", gateway {gateway}")?,
            None => f.write_str(", no gateway")?,
        }
        for (at, server) in self.dns.iter().enumerate() {
            write!(f, "{}{server}", if at == 0 { ", DNS " } else { " " })?;
        }
        match self.origin {
            Origin::Static => f.write_str(", by ip="),
            Origin::Dhcp { server } => write!(f, ", from {server}"),
        }
    }
}
