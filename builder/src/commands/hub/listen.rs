//! The sockets that a hub listens on.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result};

/// Default port.
pub(super) const PORT: u16 = 8420;

/// Opens the sockets that `--listen` asks for; without the option, one on all networks.
pub(super) fn open(wanted: &[String]) -> Result<Vec<TcpListener>> {
    if wanted.is_empty() {
        return Ok(vec![everywhere(PORT)?]);
    }
    let mut sockets = Vec::new();
    for text in wanted {
        match read(text)? {
            ListenOn::Port(port) => sockets.push(everywhere(port)?),
            ListenOn::At(addresses) => {
                for address in addresses {
                    sockets.push(bind(address).map_err(|error| explain(&error, address))?);
                }
            }
        }
    }
    Ok(sockets)
}

#[derive(Debug, PartialEq, Eq)]
enum ListenOn {
    /// On all networks.
    Port(u16),
    /// On these addresses.
    At(Vec<SocketAddr>),
}

/// Reads an address, a port or both.
fn read(text: &str) -> Result<ListenOn> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(ListenOn::Port(port));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenOn::At(vec![address]));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(ListenOn::At(vec![SocketAddr::new(ip, PORT)]));
    }
    let named = if text.contains(':') { text.to_owned() } else { format!("{text}:{PORT}") };
    let help = "an address, a port or both: 127.0.0.1, 8420, 192.0.2.7:8420, [::1]:8420";
    let mut found: Vec<SocketAddr> = named
        .to_socket_addrs()
        .with_context(|| format!("--listen {text}: finding the address of that name"))
        .with_help(|| format!("give {help}"))?
        .collect();
    found.dedup();
    Ok(ListenOn::At(found))
}

/// One socket for IPv6 and IPv4, or for IPv4 only where the machine has no IPv6.
fn everywhere(port: u16) -> Result<TcpListener> {
    let (six, four) =
        (SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    match bind(six) {
        Err(error)
            if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::AddrNotAvailable) || is_no_family(&error) =>
        {
            bind(four).map_err(|error| explain(&error, four))
        }
        other => other.map_err(|error| explain(&error, six)),
    }
}

fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

fn explain(error: &io::Error, address: SocketAddr) -> anyhow::Error {
    let port = address.port();
    let help = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program listens on port {port}, perhaps another hub: end it, or choose another with --listen {}",
            port.checked_add(1).unwrap_or(PORT)
        ),
        ErrorKind::PermissionDenied => {
            format!("ports below 1024 are for root: choose another, such as --listen {PORT}")
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; `ip address` lists those it has".into()
        }
        _ => "choose another address with --listen".into(),
    };
    anyhow::Error::new(Advice::new(format!("cannot listen on {address}: {error}"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_as_people_write_them() -> Result<()> {
        assert_eq!((read("80")?, read(":9000")?), (ListenOn::Port(80), ListenOn::Port(9000)));
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:8420"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("::1", "[::1]:8420"),
            ("[::1]", "[::1]:8420"),
            ("[::1]:99", "[::1]:99"),
        ] {
            assert_eq!(read(text)?, ListenOn::At(vec![address.parse()?]), "{text}");
        }
        let error = crate::error::report(&read("no such host").unwrap_err()).to_string();
        assert!(error.contains("no such host") && error.contains("127.0.0.1"), "{error}");
        Ok(())
    }

    #[test]
    fn a_port_in_use_is_named() -> Result<()> {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let error = crate::error::report(&open(std::slice::from_ref(&address)).unwrap_err()).to_string();
        assert!(error.contains(&address) && error.contains("--listen"), "{error}");
        Ok(())
    }
}
