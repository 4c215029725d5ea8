//! IPv4 routes of the main table.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::message::Request;
use super::socket::{Requests, ask};
use crate::configuration::Route;
use crate::error::Error;

/// `RTPROT_DHCP`, so that `ip route` shows the origin of a route.
const PROTOCOL: u8 = 16;
/// `RTNH_F_ONLINK`: the gateway is on the link, even if its address is not in the subnet.
const ON_LINK: u32 = 4;

/// Parameters of a route besides the route itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteContext {
    /// The link's index.
    pub index: u32,
    /// The source address; the route is removed with it.
    pub source: Ipv4Addr,
    /// The metric: of several routes to a destination the one with the lowest is used.
    pub metric: u32,
    /// Whether the gateway is outside of the link's subnet, and is nevertheless reached on the link.
    pub on_link: bool,
}

fn request(kind: u16, flags: i32, route: &Route, context: RouteContext) -> Request {
    let scope = if route.gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let on_link = if context.on_link { ON_LINK } else { 0 };
    // struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
    let mut header =
        vec![libc::AF_INET as u8, route.prefix, 0, 0, libc::RT_TABLE_MAIN, PROTOCOL, scope, libc::RTN_UNICAST];
    header.extend(on_link.to_ne_bytes());
    let mut request = Request::new(kind, flags | libc::NLM_F_ACK, &header)
        .attribute(libc::RTA_OIF, &context.index.to_ne_bytes())
        .attribute(libc::RTA_PRIORITY, &context.metric.to_ne_bytes())
        .attribute(libc::RTA_PREFSRC, &context.source.octets());
    if route.prefix > 0 {
        request = request.attribute(libc::RTA_DST, &route.destination.octets());
    }
    if let Some(gateway) = route.gateway {
        request = request.attribute(libc::RTA_GATEWAY, &gateway.octets());
    }
    request
}

fn text(route: &Route) -> String {
    let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    format!("{}/{}{via}", route.destination, route.prefix)
}

impl Requests {
    /// Adds a route, or replaces the one to the same destination with the same metric.
    pub fn set_route(&mut self, route: &Route, context: RouteContext) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        ask(self, request(libc::RTM_NEWROUTE, flags, route, context), |_, _| {})
            .map_err(Error::system(format!("adding the route {}", text(route))))
    }

    /// Removes a route. Succeeds if it is gone already.
    pub fn remove_route(&mut self, route: &Route, context: RouteContext) -> Result<(), Error> {
        match ask(self, request(libc::RTM_DELROUTE, 0, route, context), |_, _| {}) {
            Err(Errno::SRCH | Errno::NODEV) => Ok(()),
            other => other.map_err(Error::system(format!("removing the route {}", text(route)))),
        }
    }
}
