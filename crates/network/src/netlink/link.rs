//! Links: their state in the kernel, and setting them up.

use super::message::{Request, attributes, u16_at, u32_at};
use super::socket::{Requests, ask};
use crate::configuration::Mac;
use crate::error::Error;

/// Length of `struct ifinfomsg`.
pub(super) const HEADER: usize = 16;
/// `IFLA_PARENT_DEV_NAME`: the bus device below the link (Linux 5.14).
const PARENT_DEVICE: u16 = 56;

/// A link (network interface).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the kernel's flags, and independent of each other")]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    /// The hardware address; `None` if it is not Ethernet.
    pub mac: Option<Mac>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Whether it was set up.
    pub up: bool,
    /// Whether it has a carrier: it is up and the other end is there.
    pub carrier: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Whether it is an Ethernet link with a bus device below it, and not a bridge, tunnel, veth pair or the like.
    pub physical: bool,
}

/// A change of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new, or has changed.
    Is(Link),
    /// It is gone; this was its index.
    Gone(u32),
}

/// Parses the payload of an `RTM_NEWLINK` or `RTM_DELLINK`.
pub(super) fn parse(kind: u16, payload: &[u8]) -> Option<Change> {
    let index = u32_at(payload, 4)?;
    match kind {
        // A bridge sends one when a link leaves it: then the family is the bridge's own, and the link is not gone.
        libc::RTM_DELLINK if payload.first() == Some(&0) => return Some(Change::Gone(index)),
        libc::RTM_NEWLINK if payload.first() == Some(&0) => {}
        _ => return None,
    }
    let (device_type, flags) = (u16_at(payload, 2)?, u32_at(payload, 8)?.cast_signed());
    let ethernet = device_type == libc::ARPHRD_ETHER;
    let (mut name, mut mac, mut mtu, mut virtual_kind, mut device) = (None, None, 0, false, false);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => name = std::str::from_utf8(value).ok().map(|name| name.trim_end_matches('\0')),
            libc::IFLA_ADDRESS if ethernet => mac = value.try_into().ok().map(Mac),
            libc::IFLA_MTU => mtu = u32_at(value, 0)?,
            libc::IFLA_LINKINFO => virtual_kind = attributes(value).any(|(kind, _)| kind == libc::IFLA_INFO_KIND),
            PARENT_DEVICE => device = true,
            _ => {}
        }
    }
    Some(Change::Is(Link {
        index,
        name: name?.to_owned(),
        mac,
        mtu,
        up: flags & libc::IFF_UP != 0,
        carrier: flags & libc::IFF_UP != 0 && flags & libc::IFF_LOWER_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        physical: ethernet && device && !virtual_kind,
    }))
}

fn header(index: u32, flags: i32, change: i32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

impl Requests {
    /// Lists all links.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let request = Request::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &header(0, 0, 0));
        let mut links = Vec::new();
        ask(self, request, |kind, payload| {
            if let Some(Change::Is(link)) = parse(kind, payload) {
                links.push(link);
            }
        })
        .map_err(Error::system("listing the network links"))?;
        Ok(links)
    }

    /// Sets a link up.
    pub fn set_up(&mut self, link: &Link) -> Result<(), Error> {
        let up = header(link.index, libc::IFF_UP, libc::IFF_UP);
        ask(self, Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &up), |_, _| {})
            .map_err(Error::system(format!("setting {} up", link.name)))
    }

    /// Sets the MTU in bytes.
    pub fn set_mtu(&mut self, link: &Link, mtu: u32) -> Result<(), Error> {
        let request = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header(link.index, 0, 0))
            .attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        ask(self, request, |_, _| {}).map_err(Error::system(format!("setting the MTU of {} to {mtu}", link.name)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_card_and_what_only_looks_like_one() {
        let message = |device_type: u16, flags: i32, more: &[(u16, &[u8])]| {
            let mut header = header(2, flags, 0);
            header[2..4].copy_from_slice(&device_type.to_ne_bytes());
            let mut request = Request::new(libc::RTM_NEWLINK, 0, &header)
                .attribute(libc::IFLA_IFNAME, b"enp4s0\0")
                .attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1])
                .attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes());
            for (kind, value) in more {
                request = request.attribute(*kind, value);
            }
            match parse(libc::RTM_NEWLINK, &request.finish(0)[16..]) {
                Some(Change::Is(link)) => link,
                other => panic!("{other:?}"),
            }
        };
        let device: (u16, &[u8]) = (PARENT_DEVICE, b"0000:04:00.0\0");
        let veth = (libc::IFLA_LINKINFO, &b"\x09\0\x01\0veth\0\0\0\0"[..]);
        let card = message(libc::ARPHRD_ETHER, libc::IFF_UP | libc::IFF_LOWER_UP, &[device]);
        assert!(card.physical && card.up && card.carrier);
        assert_eq!((card.name.as_str(), card.mtu, card.mac), ("enp4s0", 1500, Some(Mac([2, 0, 0, 0, 0, 1]))));
        assert!(!message(libc::ARPHRD_ETHER, libc::IFF_UP, &[device]).carrier);
        assert!(!message(libc::ARPHRD_ETHER, 0, &[]).physical);
        assert!(!message(libc::ARPHRD_ETHER, 0, &[device, veth]).physical);
        assert!(!message(libc::ARPHRD_LOOPBACK, libc::IFF_LOOPBACK, &[]).physical);
    }

    proptest! {
        #[test]
        fn any_bytes(kind in 16_u16..18, payload in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..20], 0..100)) {
            let _ = parse(kind, &payload);
        }
    }
}
