//! Decides how each link gets its address.

use std::net::{IpAddr, Ipv4Addr};

use crate::configuration::{Configuration, Origin, Route};
use crate::ip::{Device, IpParameter, Method};
use crate::netlink::Link;
use crate::settings::NetworkSettings;

/// How one link gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    Off,
    Dhcp { client_id: Option<Vec<u8>> },
    Static(Configuration),
}

/// The settings for links.
#[derive(Debug)]
pub(crate) struct Plans {
    parameters: Vec<IpParameter>,
    also: Vec<String>,
    /// For each `ip=` with fixed settings for no particular link: the index of the link that took it.
    taken: Vec<Option<u32>>,
}

impl Plans {
    pub fn new(settings: &NetworkSettings) -> Self {
        let parameters = settings.links.clone();
        Self { taken: vec![None; parameters.len()], parameters, also: settings.also.clone() }
    }

    /// The `ip=` that names the link.
    fn own_parameter(&self, link: &Link) -> Option<&IpParameter> {
        self.parameters.iter().find(|parameter| match &parameter.device {
            Some(Device::Name(name)) => *name == link.name,
            Some(Device::Mac(mac)) => Some(*mac) == link.mac,
            None => false,
        })
    }

    /// Whether the link is to be configured at all.
    pub fn concern(&self, link: &Link) -> bool {
        if link.loopback {
            return false;
        }
        if let Some(parameter) = self.own_parameter(link) {
            return parameter.method != Method::Off;
        }
        let wired = link.physical || self.also.contains(&link.name);
        let for_any = |parameter: &IpParameter| parameter.device.is_none() && parameter.method != Method::Off;
        wired && (self.parameters.is_empty() || self.parameters.iter().any(for_any))
    }

    /// The plan for a link that has a carrier. Fixed settings for no particular link are then taken by this link.
    pub fn take(&mut self, link: &Link) -> Plan {
        if let Some(parameter) = self.own_parameter(link) {
            return plan(parameter);
        }
        if self.parameters.is_empty() {
            return Plan::Dhcp { client_id: None };
        }
        for (parameter, taken) in
            self.parameters.iter().zip(&mut self.taken).filter(|(parameter, _)| parameter.device.is_none())
        {
            match parameter.method {
                Method::Static { .. } if *taken.get_or_insert(link.index) != link.index => {}
                _ => return plan(parameter),
            }
        }
        Plan::Off
    }

    /// Handles the removal of a link: the next one can take its fixed settings.
    pub fn give_back(&mut self, index: u32) {
        for taken in self.taken.iter_mut().filter(|taken| **taken == Some(index)) {
            *taken = None;
        }
    }

    /// The name servers of all `ip=`.
    pub fn dns(&self) -> impl Iterator<Item = IpAddr> {
        self.parameters.iter().flat_map(|parameter| &parameter.dns).copied().map(IpAddr::V4)
    }

    /// The time servers of all `ip=`.
    pub fn ntp(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.parameters.iter().filter_map(|parameter| parameter.ntp)
    }

    /// The first host name in an `ip=`.
    pub fn hostname(&self) -> Option<&str> {
        self.parameters.iter().find_map(|parameter| parameter.hostname.as_deref())
    }
}

fn plan(parameter: &IpParameter) -> Plan {
    match &parameter.method {
        Method::Off => Plan::Off,
        Method::Dhcp { client_id } => Plan::Dhcp { client_id: client_id.clone() },
        Method::Static { address, prefix, gateway } => {
            let route = |gateway| Route { destination: [0; 4].into(), prefix: 0, gateway: Some(gateway) };
            Plan::Static(Configuration {
                address: *address,
                prefix: *prefix,
                routes: gateway.map(route).into_iter().collect(),
                dns: parameter.dns.clone(),
                search: Vec::new(),
                ntp: parameter.ntp.into_iter().collect(),
                hostname: None,
                mtu: None,
                lifetime: None,
                origin: Origin::Static,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Mac;
    use crate::ip;

    fn link(index: u32, name: &str) -> Link {
        let mac = Some(Mac([2, 0, 0, 0, 0, index as u8]));
        Link {
            index,
            name: name.to_owned(),
            mac,
            mtu: 1500,
            up: false,
            carrier: false,
            loopback: false,
            physical: true,
        }
    }

    fn plans(parameters: &[&str]) -> Plans {
        let links = parameters.iter().map(|parameter| ip::parse(parameter).unwrap()).collect();
        Plans::new(&NetworkSettings { links, also: vec!["veth0".to_owned()], ..NetworkSettings::default() })
    }

    const DHCP: Plan = Plan::Dhcp { client_id: None };

    #[test]
    fn dhcp_on_every_wired_link_unless_told_otherwise() {
        let mut plans = plans(&[]);
        assert!(plans.concern(&link(2, "eth0")) && plans.concern(&link(3, "eth1")));
        assert!(!plans.concern(&Link { loopback: true, ..link(1, "lo") }));
        assert!(!plans.concern(&Link { physical: false, ..link(4, "br0") }));
        assert!(plans.concern(&Link { physical: false, ..link(4, "veth0") }));
        assert_eq!(plans.take(&link(2, "eth0")), DHCP);
    }

    #[test]
    fn words_for_links_leave_the_others_down() {
        let mut plans = plans(&["eth1:dhcp", "02-00-00-00-00-07:dhcp", "br0:dhcp", "eth3:off"]);
        assert!(!plans.concern(&link(2, "eth0")) && !plans.concern(&link(4, "eth3")));
        assert!(plans.concern(&link(3, "eth1")) && plans.concern(&link(7, "whatever")));
        assert!(plans.concern(&Link { physical: false, ..link(5, "br0") }));
        assert_eq!(plans.take(&link(3, "eth1")), DHCP);
    }

    #[test]
    fn off_is_off() {
        assert!(!plans(&["off"]).concern(&link(2, "eth0")));
    }

    #[test]
    fn fixed_settings_go_to_the_first_link_with_a_carrier() {
        let mut plans = plans(&["192.0.2.7::192.0.2.1:24:::off:192.0.2.53", "dhcp"]);
        let Plan::Static(configuration) = plans.take(&link(3, "eth1")) else { panic!("not static") };
        assert_eq!(configuration.to_string(), "192.0.2.7/24, gateway 192.0.2.1, DNS 192.0.2.53, by ip=");
        assert_eq!(plans.take(&link(2, "eth0")), DHCP);
        assert!(matches!(plans.take(&link(3, "eth1")), Plan::Static(_)));
        plans.give_back(3);
        assert!(matches!(plans.take(&link(2, "eth0")), Plan::Static(_)));
    }
}
