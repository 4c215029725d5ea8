//! IPv4 addresses of links.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::message::{Request, attributes};
use super::socket::{Requests, ask};
use crate::error::Error;

/// Length of `struct ifaddrmsg`.
const HEADER: usize = 8;
/// `IFA_RT_PRIORITY`: the metric of the subnet's route that comes with an address (Linux 4.18).
const ROUTE_METRIC: u16 = 9;

fn header(index: u32, prefix: u8) -> Vec<u8> {
    let mut header = vec![libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE];
    header.extend(index.to_ne_bytes());
    header
}

impl Requests {
    /// The IPv4 addresses of a link, with their prefix lengths.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
        let request = Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &header(0, 0));
        let mut addresses = Vec::new();
        ask(self, request, |kind, payload| {
            let (Some([family, prefix, _, _, of @ ..]), true) =
                (payload.first_chunk::<HEADER>(), kind == libc::RTM_NEWADDR)
            else {
                return;
            };
            if i32::from(*family) != libc::AF_INET || u32::from_ne_bytes(*of) != index {
                return;
            }
            let local = attributes(payload.get(HEADER..).unwrap_or_default())
                .find(|(kind, _)| *kind == libc::IFA_LOCAL)
                .and_then(|(_, value)| <[u8; 4]>::try_from(value).ok());
            addresses.extend(local.map(|local| (Ipv4Addr::from(local), *prefix)));
        })
        .map_err(Error::system("listing the addresses"))?;
        Ok(addresses)
    }

    /// Adds an address, or changes its lifetime; the kernel removes it when that is over.
    pub fn set_address(
        &mut self,
        index: u32,
        (address, prefix): (Ipv4Addr, u8),
        lifetime: Option<Duration>,
        metric: u32,
    ) -> Result<(), Error> {
        // u32::MAX is for ever; a lease of 136 years may end a second early.
        let seconds = lifetime.map_or(u32::MAX, |lifetime| u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX - 1));
        // struct ifa_cacheinfo: preferred and valid lifetime, and two times that only the kernel sets.
        let lifetimes = [seconds.to_ne_bytes(), seconds.to_ne_bytes(), [0; 4], [0; 4]].concat();
        let mut request = Request::new(
            libc::RTM_NEWADDR,
            libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE,
            &header(index, prefix),
        )
        .attribute(libc::IFA_LOCAL, &address.octets())
        .attribute(libc::IFA_ADDRESS, &address.octets());
        if prefix < 31 {
            let broadcast = address.to_bits() | (u32::MAX >> prefix);
            request = request.attribute(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        let request = request.attribute(libc::IFA_CACHEINFO, &lifetimes).attribute(ROUTE_METRIC, &metric.to_ne_bytes());
        ask(self, request, |_, _| {}).map_err(Error::system(format!("adding the address {address}/{prefix}")))
    }

    /// Removes an address. Succeeds if it is gone already.
    pub fn remove_address(&mut self, index: u32, (address, prefix): (Ipv4Addr, u8)) -> Result<(), Error> {
        let request = Request::new(libc::RTM_DELADDR, libc::NLM_F_ACK, &header(index, prefix))
            .attribute(libc::IFA_LOCAL, &address.octets());
        match ask(self, request, |_, _| {}) {
            // The lease expired a moment before, or the link is gone.
            Err(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::NODEV) => Ok(()),
            other => other.map_err(Error::system(format!("removing the address {address}/{prefix}"))),
        }
    }
}
