//! The addresses under which a hub is reached, found from this machine's network configuration.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses for documentation (RFC 5737, RFC 3849), used only to look up the route; nothing is sent to them.
const FAR: [(&str, &str); 2] = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

/// The addresses of this machine that other machines may reach, best first: that of the default route, then IPv4
/// before IPv6.
pub(super) fn of_this_machine() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = FAR.iter().filter_map(|(from, to)| way_to(from, to)).collect();
    // A file of /proc that cannot be read counts as empty; the user can give the address with --url.
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    found.extend(local_ipv4(&text("/proc/self/net/fib_trie")).into_iter().map(IpAddr::V4));
    found.extend(local_ipv6(&text("/proc/self/net/if_inet6")).into_iter().map(IpAddr::V6));
    let mut seen = Vec::new();
    found.retain(|ip| {
        !ip.is_loopback() && !seen.contains(ip) && {
            seen.push(*ip);
            true
        }
    });
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// Source address of packets to a remote address. Nothing is sent: connecting a UDP socket only looks up the route.
fn way_to(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// Local addresses in `/proc/net/fib_trie`: each is followed by a line `/32 host LOCAL`.
fn local_ipv4(fib_trie: &str) -> Vec<Ipv4Addr> {
    let (mut found, mut last) = (Vec::new(), None::<Ipv4Addr>);
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.take());
        }
    }
    found
}

/// Global addresses in `/proc/net/if_inet6`: hexadecimal address, interface, prefix length, scope (0 is global), flags,
/// name.
fn local_ipv6(if_inet6: &str) -> Vec<Ipv6Addr> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| Ipv6Addr::from_bits(address))
    };
    if_inet6.lines().filter_map(read).collect()
}

/// The addresses under which the sockets are reached, with ports: a specific address as it is, `[::]` and `0.0.0.0`
/// replaced by all addresses of the machine.
pub(super) fn of(listens: &[SocketAddr], machine: &[IpAddr]) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for address in listens {
        let port = address.port();
        if !address.ip().is_unspecified() {
            all.push(*address);
            continue;
        }
        // A socket for [::] accepts IPv4 too.
        let fits = |ip: &&IpAddr| address.is_ipv6() || ip.is_ipv4();
        let before = all.len();
        all.extend(machine.iter().filter(fits).map(|ip| SocketAddr::new(*ip, port)));
        if all.len() == before {
            all.push((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    // Addresses that other machines can reach come first.
    all.sort_by_key(|address| address.ip().is_loopback());
    all
}

/// The address by which this machine itself reaches the hub.
pub(super) fn from_here(listens: &[SocketAddr]) -> Option<SocketAddr> {
    let loopback = |address: &SocketAddr| match address.ip() {
        ip if ip.is_unspecified() => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))),
        ip if ip.is_loopback() => Some(*address),
        _ => None,
    };
    listens.iter().find_map(loopback).or_else(|| listens.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.2.0/24 2 0 2\n        |-- 10.0.2.15\n           /32 host LOCAL\n        |-- 10.0.2.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
    const IF_INET6: &str = "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000007 02 40 00 80     eth0\nfe800000000000000000000000000001 02 40 20 80     eth0\nnonsense\n";

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(local_ipv4(FIB_TRIE), [Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::LOCALHOST]);
        assert_eq!(local_ipv6(IF_INET6), ["2001:db8::7".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn sockets_for_everything_are_reached_by_every_address() {
        let machine: Vec<IpAddr> = ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().unwrap()).to_vec();
        let shown = |listens: &[&str]| -> Vec<String> {
            let listens: Vec<_> = listens.iter().map(|text| text.parse().unwrap()).collect();
            of(&listens, &machine).iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(&["[::]:8420"]), ["192.0.2.7:8420", "[2001:db8::7]:8420"]);
        assert_eq!(shown(&["0.0.0.0:80"]), ["192.0.2.7:80"]);
        assert_eq!(shown(&["127.0.0.1:1", "198.51.100.2:2"]), ["198.51.100.2:2", "127.0.0.1:1"]);
        assert_eq!(of(&["[::]:5".parse().unwrap()], &[]), ["127.0.0.1:5".parse().unwrap()]);
    }

    #[test]
    fn the_machine_itself_takes_the_short_way() {
        let from = |text: &str| from_here(&[text.parse().unwrap()]).unwrap().to_string();
        assert_eq!(from("[::]:8420"), "127.0.0.1:8420");
        assert_eq!(from("[::1]:1"), "[::1]:1");
        assert_eq!(from("192.0.2.7:3"), "192.0.2.7:3");
    }
}
