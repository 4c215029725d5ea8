//! `no_proxy`: servers that are contacted directly.

use std::net::IpAddr;

use super::address::split_port;

/// A list of servers that no proxy is used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Exception>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`.
    Everything,
    /// A domain with all names below it, in lower case.
    Domain { name: String, port: Option<u16> },
    /// An address, or all addresses with the same prefix.
    Network { address: IpAddr, bits: u8, port: Option<u16> },
}

impl NoProxy {
    /// Parses a list separated by commas or blanks: names (`lab.example`, which includes the names below it, as do
    /// `.lab.example` and `*.lab.example`), addresses, networks (`10.0.0.0/8`), each optionally with a port, or `*`.
    /// Anything else matches nothing.
    pub fn parse(text: &str) -> Self {
        Self(text.split([',', ' ', '\t', '\n']).filter_map(exception).collect())
    }

    /// Whether a server is contacted directly. Names are not resolved: networks match only addresses.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let at = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        self.0.iter().any(|exception| match (exception, address) {
            (Exception::Everything, _) => true,
            (Exception::Domain { name, port }, None) => {
                let below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (host == *name || below()) && at(port)
            }
            (Exception::Network { address: network, bits, port }, Some(address)) => {
                same_bits(*network, address, *bits) && at(port)
            }
            _ => false,
        })
    }
}

fn exception(word: &str) -> Option<Exception> {
    if word == "*" {
        return Some(Exception::Everything);
    }
    if let Some((address, bits)) = word.split_once('/') {
        let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let bits = bits.parse().ok().filter(|bits| *bits <= length(address))?;
        return Some(Exception::Network { address, bits, port: None });
    }
    let (host, port) = split_port(word);
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Some(Exception::Network { address, bits: length(address), port });
    }
    let name = host.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    (!name.is_empty()).then_some(Exception::Domain { name, port })
}

/// Length of an address in bits.
fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    // Aligned to the left, IPv4 and IPv6 prefixes are compared alike.
    let left = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let differs = left(one) ^ left(other);
    one.is_ipv4() == other.is_ipv4() && u32::from(bits) <= differs.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn servers_of_the_list_are_asked_directly() {
        for (list, host, port, expected) in [
            ("lab.example", "lab.example", 80, true),
            ("lab.example", "deb.lab.example", 80, true),
            ("lab.example", "notlab.example", 80, false),
            (".lab.example", "lab.example", 80, true),
            (".lab.example", "deb.LAB.example.", 80, true),
            ("*.lab.example", "deb.lab.example", 80, true),
            ("a, lab.example:8080", "lab.example", 8080, true),
            ("lab.example:8080", "lab.example", 80, false),
            ("localhost 127.0.0.1", "127.0.0.1", 80, true),
            ("127.0.0.1:3142", "127.0.0.1", 3142, true),
            ("127.0.0.1:3142", "127.0.0.1", 80, false),
            ("10.0.0.0/8", "10.20.30.40", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("192.168.1.128/25", "192.168.1.127", 80, false),
            ("192.168.1.128/25", "192.168.1.200", 80, true),
            ("0.0.0.0/0", "1.2.3.4", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("10.0.0.0/8", "ten.example", 80, false),
            ("fd00::/8", "[fd12::1]", 80, true),
            ("[::1]:8080", "::1", 8080, true),
            ("::1", "[::1]", 80, true),
            ("*", "anything", 1, true),
            ("10.0.0.0/33,/8,,:", "10.0.0.1", 80, false),
            ("", "lab.example", 80, false),
        ] {
            assert_eq!(NoProxy::parse(list).matches(host, port), expected, "{list:?} {host}:{port}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_every_network_that_is_made_from_it(address: IpAddr, bits in 0_u8..=128) {
            let address = address.to_canonical();
            let list = format!("{address}/{}", bits.min(length(address)));
            prop_assert!(NoProxy::parse(&list).matches(&address.to_string(), 80), "{list}");
        }

        #[test]
        fn no_list_panics(list in "\\PC{0,60}", host in "\\PC{0,30}") {
            let _ = NoProxy::parse(&list).matches(&host, 80);
        }
    }
}
