//! The network's status, for a status screen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use crate::configuration::{Configuration, Mac};

/// The network's status at one moment. Prints as one line for each link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The links in use, in the kernel's order.
    pub links: Vec<LinkStatus>,
    /// The host name that the machine was given; `None` as long as there is no link to derive one from.
    pub hostname: Option<String>,
    /// All name servers, preferred ones first.
    pub dns: Vec<IpAddr>,
    /// All search domains.
    pub search: Vec<String>,
    /// All time servers: those of `ip=` and then those of DHCP.
    pub ntp: Vec<Ipv4Addr>,
}

/// The status of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// The link's name.
    pub name: String,
    /// Its hardware address, for an Ethernet link.
    pub mac: Option<Mac>,
    /// Its state.
    pub state: LinkState,
    /// Its configuration.
    pub configuration: Option<Configuration>,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It has no carrier.
    NoCarrier,
    /// It has a carrier, and is not used.
    Unused,
    /// It asks for an address.
    Asking {
        /// When it began to ask.
        since: Instant,
    },
    /// It can be used.
    Ready,
    /// It can be used, and asks its server to extend the lease.
    Renewing,
    /// It can be used, and asks any server to extend the lease, because its own does not answer.
    Rebinding,
}

impl Status {
    /// Whether any link has an address. The link may have no gateway: a server's management controller offers such
    /// links over USB.
    pub fn is_ready(&self) -> bool {
        self.links.iter().any(|link| link.configuration.is_some())
    }

    /// The time servers in the form of [`clock::ClockSettings::servers`](crate::clock::ClockSettings::servers).
    pub fn ntp_servers(&self) -> Vec<String> {
        self.ntp.iter().map(Ipv4Addr::to_string).collect()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.links.is_empty() {
            return f.write_str("no wired link");
        }
        for (at, link) in self.links.iter().enumerate() {
            write!(f, "{}{link}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if let Some(configuration) = &self.configuration {
            configuration.fmt(f)?;
        }
        match self.state {
            LinkState::NoCarrier => f.write_str("no carrier"),
            LinkState::Unused => f.write_str("not used"),
            LinkState::Asking { since } => write!(f, "asking for an address for {} s", since.elapsed().as_secs()),
            LinkState::Ready => Ok(()),
            LinkState::Renewing => f.write_str(", renewing"),
            LinkState::Rebinding => f.write_str(", the DHCP server does not answer"),
        }
    }
}
