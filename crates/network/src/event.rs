//! Events that the caller receives.

use std::fmt;
use std::time::Duration;

use advice::Advice;

use crate::configuration::Configuration;
use crate::error::Error;

/// An event. Prints as one line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A link exists and has a carrier.
    LinkUp {
        /// The link's name.
        link: String,
    },
    /// A link lost its carrier, or is gone.
    LinkDown {
        /// The link's name.
        link: String,
        /// Whether the link itself is gone, not only its carrier.
        gone: bool,
    },
    /// A link got an address, or another one, and can be used.
    Configured {
        /// The link's name.
        link: String,
        /// The new configuration.
        configuration: Configuration,
    },
    /// A DHCP server confirmed the lease. Settings other than the address may have changed.
    Renewed {
        /// The link's name.
        link: String,
        /// The confirmed configuration.
        configuration: Configuration,
    },
    /// A link lost its address.
    Lost {
        /// The link's name.
        link: String,
        /// The reason.
        why: Loss,
    },
    /// No DHCP server has answered yet. Sent once until one does; the link goes on asking.
    NoAnswer {
        /// The link's name.
        link: String,
        /// How long it has been asking.
        since: Duration,
    },
    /// The host name was set.
    Hostname {
        /// The host name.
        name: String,
    },
    /// Something failed. Everything else goes on.
    Problem {
        /// The link's name, if the problem is about one.
        link: Option<String>,
        /// The error.
        error: Error,
    },
}

/// The reason why a link lost its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The link lost its carrier, or is gone.
    Carrier,
    /// The lease expired and no server renewed it.
    Expired,
    /// A server refused to renew the address (DHCPNAK).
    Refused,
    /// The address was released by [`Network::stop`](crate::Network::stop).
    Released,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Carrier => "no carrier",
            Self::Expired => "the lease ran out and no DHCP server renewed it",
            Self::Refused => "a DHCP server refused it",
            Self::Released => "given back",
        })
    }
}

impl fmt::Display for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkUp { link } => write!(f, "{link}: carrier"),
            Self::LinkDown { link, gone: false } => write!(f, "{link}: no carrier; is the cable plugged in?"),
            Self::LinkDown { link, gone: true } => write!(f, "{link}: gone"),
            Self::Configured { link, configuration } => write!(f, "{link}: {configuration}"),
            Self::Renewed { link, configuration } => write!(f, "{link}: {configuration}, renewed"),
            Self::Lost { link, why } => write!(f, "{link}: address lost: {why}"),
            Self::NoAnswer { link, since } => write!(
                f,
                "{link}: no DHCP server has answered for {} s; still asking. Is there one on this network? Fixed \
                 settings are given with ip=",
                since.as_secs()
            ),
            Self::Hostname { name } => write!(f, "host name {name}"),
            Self::Problem { link: Some(link), error } => write!(f, "{link}: {}", Advice::of(error).in_one_line()),
            Self::Problem { link: None, error } => f.write_str(&Advice::of(error).in_one_line()),
        }
    }
}
