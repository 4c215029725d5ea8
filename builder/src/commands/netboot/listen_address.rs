//! The network that is served, and this machine's address in it.

use std::net::{Ipv4Addr, UdpSocket};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use netboot::dnsmasq::Mode;
use network::InterfaceInfo;

use crate::cmdline::Netboot;

/// The network interface and address to serve from.
#[derive(Debug)]
pub struct ListenAddress {
    /// Name of the network interface.
    pub interface: String,
    /// Address of this machine that the booting machines reach.
    pub address: Ipv4Addr,
    /// Length of the subnet prefix in bits.
    prefix: u8,
}

/// Finds the interface and address.
pub fn find(options: &Netboot) -> Result<ListenAddress> {
    let interfaces = network::interfaces().context("looking at the network cards")?;
    let with_address = |interface: &InterfaceInfo, (address, prefix)| ListenAddress {
        interface: interface.name.clone(),
        address,
        prefix,
    };
    if let Some(name) = &options.interface {
        let found = interfaces.iter().find(|interface| interface.name == *name);
        let found = found
            .with_context(|| format!("there is no network card {name}"))
            .with_help(|| format!("there are {}", names(&interfaces)))?;
        let first =
            found.addresses.iter().copied().find(|(address, _)| options.listen.is_none_or(|wanted| wanted == *address));
        let first = first
            .with_context(|| format!("{name} has no such IPv4 address"))
            .with_help(|| format!("give it one: ip address add 10.9.0.1/24 dev {name}"))?;
        return Ok(with_address(found, first));
    }
    if let (Some(listen), true) = (options.listen, options.no_dhcp) {
        return Ok(ListenAddress { interface: String::new(), address: listen, prefix: 32 });
    }
    // The source address of packets to the outside; none is sent.
    let outward = || -> std::io::Result<std::net::IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    let wanted = options.listen.map(std::net::IpAddr::V4).or(outward().ok());
    for interface in &interfaces {
        let found =
            interface.addresses.iter().copied().find(|(address, _)| Some(std::net::IpAddr::V4(*address)) == wanted);
        if let Some(found) = found {
            return Ok(with_address(interface, found));
        }
    }
    bail!(Advice::new(
        "no network card has the default route",
        format!("name one with --interface; there are {}", names(&interfaces))
    ))
}

fn names(interfaces: &[InterfaceInfo]) -> String {
    let shown = interfaces.iter().map(|interface| {
        let address =
            interface.addresses.first().map_or_else(String::new, |(address, prefix)| format!(" ({address}/{prefix})"));
        format!("{}{address}", interface.name)
    });
    shown.collect::<Vec<_>>().join(", ")
}

impl ListenAddress {
    /// DHCP mode; `None` if the user handles DHCP elsewhere.
    pub fn mode(&self, options: &Netboot) -> Result<Option<Mode>> {
        if options.no_dhcp {
            return Ok(None);
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        let (network, netmask) = (Ipv4Addr::from(self.address.to_bits() & mask), Ipv4Addr::from(mask));
        let Some((first, last)) = options.isolated else { return Ok(Some(Mode::Proxy { network, netmask })) };
        for address in [first, last] {
            if address.to_bits() & mask != network.to_bits() {
                bail!(Advice::new(
                    format!("{address} is not in the network {network}/{} of {}", self.prefix, self.interface),
                    format!("give a range of that network, or {} another address", self.interface)
                ));
            }
        }
        Ok(Some(Mode::Isolated { first, last }))
    }
}
