//! [`Party`]: the client that a request counts for. Every limit applies per party.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::HeaderMap;

use crate::token::Who;

/// Header with which a reverse proxy names its client's address.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Address of an anonymous client: an IPv4 address, or the /64 of an IPv6 address, which is the least that one customer
/// or one link has (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        // A socket for both families reports IPv4 addresses as IPv6 ones.
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The client that a request counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    /// A client without a valid token.
    Anybody(Origin),
    /// A machine with the join token.
    Joining(Origin),
    /// A worker.
    Worker(String),
    /// A user with the admin token.
    Admin,
}

impl Party {
    pub(crate) fn new(who: Option<&Who>, origin: Origin) -> Self {
        match who {
            None => Self::Anybody(origin),
            Some(Who::Join) => Self::Joining(origin),
            Some(Who::Worker(id)) => Self::Worker(id.clone()),
            Some(Who::Admin) => Self::Admin,
        }
    }

    /// Whether the party has no valid token.
    pub(crate) fn is_anybody(&self) -> bool {
        matches!(self, Self::Anybody(_))
    }
}

/// A range of addresses: `127.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, bits: u32| {
            let free = bits.saturating_sub(self.prefix);
            one.checked_shr(free).unwrap_or(0) == other.checked_shr(free).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// Text that is not an address or a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network: those look like 127.0.0.1 and 2001:db8::/32")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse::<u32>().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// Address of the client: the peer, or if that is a trusted proxy, the client that it names. Names given by other peers
/// are ignored.
pub(crate) fn asked_by(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    // Each proxy appends its client's address. Anything before the entry of the first untrusted address may be forged.
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let names: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut asked = peer;
    for name in names.into_iter().rev() {
        let Some(address) = address(name) else { break };
        asked = address;
        if !is_trusted(address) {
            break;
        }
    }
    asked
}

/// An address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_matches(['[', ']']).parse().ok();
    bare.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_customer_is_one_origin() {
        let same = |one: &str, other: &str| Origin::of(ip(one)) == Origin::of(ip(other));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(!same("192.0.2.7", "192.0.2.8"));
        assert!(!same("::1", "127.0.0.1"));
    }

    #[test]
    fn networks_are_read_and_compared() {
        for (network, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("2001:db8::/32", "2001:db8:9::1", "2001:db9::1"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network:?}");
        }
        for wrong in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_believed_only_where_it_is_trusted() {
        let trusted: Vec<Network> = ["127.0.0.1", "10.0.0.0/8"].iter().map(|text| text.parse().expect("it")).collect();
        for (peer, header, asked) in [
            ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("127.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.3", "198.51.100.7"),
            ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("127.0.0.1", "198.51.100.7:80", "198.51.100.7"),
            ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("192.0.2.66", "198.51.100.7", "192.0.2.66"),
        ] {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(FORWARDED_FOR),
                header.parse().expect("a value"),
            )]);
            assert_eq!(asked_by(ip(peer), &headers, &trusted), ip(asked), "{peer} {header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(text in "[0-9a-f:., \\[\\]]{0,40}") {
            let headers = HeaderMap::from_iter(
                text.parse().ok().map(|value| (axum::http::HeaderName::from_static(FORWARDED_FOR), value)),
            );
            asked_by(ip("127.0.0.1"), &headers, &["127.0.0.1".parse().expect("it")]);
        }
    }
}
