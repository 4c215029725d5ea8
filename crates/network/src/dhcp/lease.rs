//! The lease in a DHCPACK (RFC 2131 section 4.3.1).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::message::Message;
use super::names;
use super::options::{DhcpOptions, code, is_host};
use crate::configuration::{Configuration, Origin, Route};
use crate::hostname;
use crate::ip::{class_prefix, prefix_of};

/// The smallest MTU that IPv4 hosts have to support (RFC 791 section 3.2); a smaller one does more harm than good.
const LEAST_MTU: u16 = 576;

/// A lease and its renewal times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The configuration for the link. Its lifetime is `None` for an infinite lease.
    pub configuration: Configuration,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// How long after the request to ask the server again (T1).
    pub renew: Duration,
    /// How long after the request to ask any server (T2).
    pub rebind: Duration,
}

/// The reason why a server's offer can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The server does not identify itself.
    #[error("no server identifier")]
    Server,
    /// The address can't be a host's.
    #[error("{0} can't be a machine's address")]
    Address(Ipv4Addr),
    /// The lease time is missing or zero.
    #[error("no lease time")]
    LeaseTime,
}

impl Lease {
    /// Takes a lease from a DHCPOFFER or DHCPACK.
    ///
    /// Invalid optional values are left out: a lease with a broken route is still a lease.
    pub fn new(message: &Message) -> Result<Self, Unusable> {
        let options = &message.options;
        let address = message.yiaddr;
        if !is_host(address) || address.is_loopback() {
            return Err(Unusable::Address(address));
        }
        let server = options.address(code::SERVER).filter(|server| is_host(*server)).ok_or(Unusable::Server)?;
        let lifetime = match options.u32(code::LEASE_TIME) {
            None | Some(0) => return Err(Unusable::LeaseTime),
            Some(u32::MAX) => None,
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
        };
        let (renew, rebind) = times(lifetime, options);
        let prefix = options.address(code::SUBNET_MASK).and_then(prefix_of).filter(|prefix| *prefix > 0);
        let configuration = Configuration {
            address,
            prefix: prefix.unwrap_or_else(|| class_prefix(address)),
            routes: routes(options),
            dns: options.addresses(code::DNS),
            search: search(options),
            ntp: options.addresses(code::NTP),
            hostname: options.text(code::HOST_NAME).filter(|name| hostname::is_valid(name)).map(str::to_owned),
            mtu: options.u16(code::MTU).filter(|mtu| *mtu >= LEAST_MTU),
            lifetime,
            origin: Origin::Dhcp { server },
        };
        Ok(Self { configuration, server, renew, rebind })
    }
}

/// T1 and T2; half and seven eighths of the lease time if the server's are not valid (RFC 2131 section 4.4.5).
fn times(lifetime: Option<Duration>, options: &DhcpOptions) -> (Duration, Duration) {
    let Some(lifetime) = lifetime else { return (Duration::MAX, Duration::MAX) };
    let given = |code| options.u32(code).map(|seconds| Duration::from_secs(seconds.into()));
    let rebind = given(code::T2).filter(|t2| !t2.is_zero() && *t2 < lifetime).unwrap_or(lifetime * 7 / 8);
    let renew = given(code::T1).filter(|t1| !t1.is_zero() && *t1 < rebind).unwrap_or_else(|| rebind.min(lifetime / 2));
    (renew, rebind)
}

/// Option 121 and, only if it is not there, option 3 (RFC 3442, "DHCP Client Behavior").
fn routes(options: &DhcpOptions) -> Vec<Route> {
    if let Some(bytes) = options.get(code::ROUTES) {
        return classless(bytes);
    }
    let gateway = options.addresses(code::ROUTER).first().copied();
    gateway
        .map(|gateway| Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(gateway) })
        .into_iter()
        .collect()
}

/// Parses option 121: prefix length, significant octets of the destination, gateway. Stops at invalid data.
fn classless(mut bytes: &[u8]) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let Some((octets, rest)) = rest.split_at_checked(usize::from(prefix).div_ceil(8)) else { break };
        let (Some((&gateway, rest)), 0..=32) = (rest.split_first_chunk::<4>(), prefix) else { break };
        bytes = rest;
        let mut destination = [0; 4];
        for (to, from) in destination.iter_mut().zip(octets) {
            *to = *from;
        }
        // Host bits would make the kernel refuse the route.
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let destination = Ipv4Addr::from_bits(Ipv4Addr::from(destination).to_bits() & mask);
        let gateway = Ipv4Addr::from(gateway);
        let route = Route { destination, prefix, gateway: (!gateway.is_unspecified()).then_some(gateway) };
        let known = routes.iter().any(|known| (known.destination, known.prefix) == (destination, prefix));
        if !known && gateway.octets()[0] < 224 {
            routes.push(route);
        }
    }
    routes
}

/// The search domains: option 119, then the domain of option 15.
fn search(options: &DhcpOptions) -> Vec<String> {
    let mut search = options.get(code::SEARCH).map(names::parse).unwrap_or_default();
    // Some servers put several domains into option 15, separated by spaces.
    for domain in options.text(code::DOMAIN).unwrap_or_default().split(' ') {
        let domain = domain.trim_end_matches('.');
        if names::is_domain(domain) && !search.iter().any(|known| known == domain) {
            search.push(domain.to_owned());
        }
    }
    search
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::options::MessageKind;
    use super::*;
    use crate::configuration::Mac;

    fn ack(options: &[(u8, &[u8])]) -> Message {
        let mut all = DhcpOptions::default();
        all.set_kind(MessageKind::Ack);
        all.set(code::SERVER, &[10, 0, 2, 2]);
        all.set(code::LEASE_TIME, &3600_u32.to_be_bytes());
        for (code, value) in options {
            all.set(*code, value);
        }
        let none = Ipv4Addr::UNSPECIFIED;
        let yiaddr = Ipv4Addr::new(10, 0, 2, 15);
        Message {
            reply: true,
            xid: 1,
            secs: 0,
            ciaddr: none,
            yiaddr,
            giaddr: none,
            chaddr: Mac::default(),
            options: all,
        }
    }

    fn lease(options: &[(u8, &[u8])]) -> Lease {
        Lease::new(&ack(options)).unwrap()
    }

    #[test]
    fn all_options() {
        let lease = lease(&[
            (code::SUBNET_MASK, &[255, 255, 255, 0]),
            (code::ROUTER, &[10, 0, 2, 2, 10, 0, 2, 3]),
            (code::DNS, &[10, 0, 2, 3, 0, 0, 0, 0, 9, 9, 9, 9]),
            (code::NTP, &[10, 0, 2, 4]),
            (code::HOST_NAME, b"gpu7\0"),
            (code::DOMAIN, b"example.org."),
            (code::SEARCH, b"\x03lab\x07example\x03org\x00"),
            (code::MTU, &[0x23, 0x28]),
        ]);
        let expected = Configuration {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: vec![Route {
                destination: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            }],
            dns: vec![Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(9, 9, 9, 9)],
            search: vec!["lab.example.org".to_owned(), "example.org".to_owned()],
            ntp: vec![Ipv4Addr::new(10, 0, 2, 4)],
            hostname: Some("gpu7".to_owned()),
            mtu: Some(9000),
            lifetime: Some(Duration::from_secs(3600)),
            origin: Origin::Dhcp { server: Ipv4Addr::new(10, 0, 2, 2) },
        };
        assert_eq!(lease.configuration, expected);
        assert_eq!((lease.renew.as_secs(), lease.rebind.as_secs()), (1800, 3150));
        assert_eq!(
            lease.configuration.to_string(),
            "10.0.2.15/24, gateway 10.0.2.2, DNS 10.0.2.3 9.9.9.9, from 10.0.2.2"
        );
    }

    #[test]
    fn classless_routes_replace_the_gateway() {
        // The examples of RFC 3442: 10/8, 10.17/16 and the default; then one on the link, and one that is cut off.
        let bytes =
            [8, 10, 10, 0, 2, 3, 16, 10, 17, 10, 0, 2, 4, 0, 10, 0, 2, 5, 32, 169, 254, 9, 9, 0, 0, 0, 0, 24, 1];
        let routes = lease(&[(code::ROUTES, &bytes), (code::ROUTER, &[10, 0, 2, 2])]).configuration.routes;
        let route = |destination: [u8; 4], prefix, last: u8| Route {
            destination: destination.into(),
            prefix,
            gateway: (last > 0).then(|| Ipv4Addr::new(10, 0, 2, last)),
        };
        let expected = [
            route([10, 0, 0, 0], 8, 3),
            route([10, 17, 0, 0], 16, 4),
            route([0; 4], 0, 5),
            route([169, 254, 9, 9], 32, 0),
        ];
        assert_eq!(routes, expected);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let configuration = lease(&[
            (code::SUBNET_MASK, &[255, 0, 255, 0]),
            (code::HOST_NAME, b"$(reboot)"),
            (code::DOMAIN, b"a\nnameserver 6_6.\xff"),
            (code::MTU, &[0, 68]),
        ])
        .configuration;
        assert_eq!((configuration.prefix, configuration.hostname, configuration.mtu), (8, None, None));
        assert_eq!(configuration.search, [""; 0]);
    }

    #[test]
    fn unusable() {
        let mut message = ack(&[]);
        message.yiaddr = Ipv4Addr::BROADCAST;
        assert_eq!(Lease::new(&message), Err(Unusable::Address(Ipv4Addr::BROADCAST)));
        assert_eq!(Lease::new(&ack(&[(code::SERVER, &[0; 4])])), Err(Unusable::Server));
        assert_eq!(Lease::new(&ack(&[(code::LEASE_TIME, &[0; 4])])), Err(Unusable::LeaseTime));
        assert_eq!(lease(&[(code::LEASE_TIME, &[255; 4])]).configuration.lifetime, None);
    }

    proptest! {
        #[test]
        fn times_are_in_order(lifetime in 1_u32.., t1: Option<u32>, t2: Option<u32>) {
            let mut message = ack(&[(code::LEASE_TIME, &lifetime.to_be_bytes())]);
            for (code, time) in [(code::T1, t1), (code::T2, t2)] {
                if let Some(time) = time {
                    message.options.set(code, &time.to_be_bytes());
                }
            }
            let lease = Lease::new(&message).unwrap();
            prop_assert!(!lease.renew.is_zero() && lease.renew <= lease.rebind);
            prop_assert!(lease.configuration.lifetime.is_none_or(|lifetime| lease.rebind < lifetime));
        }

        #[test]
        fn routes_of_any_bytes_can_be_set(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..33], 0..80)) {
            for route in classless(&bytes) {
                let host = u32::MAX.checked_shr(route.prefix.into()).unwrap_or(0);
                prop_assert!(route.prefix <= 32 && route.destination.to_bits() & host == 0);
            }
        }
    }
}
