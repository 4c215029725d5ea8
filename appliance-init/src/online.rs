//! [`Online`]: decides when the network can be used.
//!
//! A server's management controller offers an interface over USB, with an address and without a gateway, long before
//! the switch lets traffic through on the port with the real cable. A closed lab's network may have no gateway
//! either.

use std::time::Duration;

use network::NetworkEvent;

/// How long an interface without a gateway waits for a better one.
const GRACE: Duration = Duration::from_secs(20);

/// Follows network events until the network can be used.
#[derive(Debug, Default)]
pub struct Online {
    /// When the first interface got an address.
    since: Option<Duration>,
    has_gateway: bool,
    told: bool,
}

impl Online {
    /// Takes a network event; `now` is the time since the kernel's start.
    pub fn hear(&mut self, event: &NetworkEvent, now: Duration) {
        if let NetworkEvent::Configured { configuration, .. } = event {
            self.since.get_or_insert(now);
            self.has_gateway |= configuration.gateway().is_some();
        }
    }

    /// Whether the network can be used from now on; true only once.
    pub fn begins(&mut self, now: Duration) -> bool {
        let is_late = || self.since.is_some_and(|since| now.saturating_sub(since) >= GRACE);
        let begins = !self.told && (self.has_gateway || is_late());
        self.told |= begins;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::{Configuration, Origin, Route};
    use std::net::Ipv4Addr;

    fn configured(link: &str, gateway: Option<Ipv4Addr>) -> NetworkEvent {
        let route = Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway };
        let configuration = Configuration {
            address: Ipv4Addr::new(192, 0, 2, 7),
            prefix: 24,
            routes: gateway.map(|_| route).into_iter().collect(),
            dns: Vec::new(),
            search: Vec::new(),
            ntp: Vec::new(),
            hostname: None,
            mtu: None,
            lifetime: None,
            origin: Origin::Static,
        };
        NetworkEvent::Configured { link: link.into(), configuration }
    }

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_link_with_a_gateway_is_enough() {
        let mut online = Online::default();
        assert!(!online.begins(seconds(3)));
        online.hear(&configured("eth0", Some(Ipv4Addr::new(192, 0, 2, 1))), seconds(4));
        assert!(online.begins(seconds(4)));
        assert!(!online.begins(seconds(5)), "told once");
    }

    #[test]
    fn a_link_to_a_management_controller_waits_for_a_better_one() {
        let mut online = Online::default();
        online.hear(&configured("usb0", None), seconds(4));
        assert!(!online.begins(seconds(4)));
        online.hear(&configured("eth0", Some(Ipv4Addr::new(192, 0, 2, 1))), seconds(15));
        assert!(online.begins(seconds(15)));
    }

    #[test]
    fn a_closed_network_is_used_after_a_while() {
        let mut online = Online::default();
        online.hear(&configured("eth0", None), seconds(4));
        assert!(!online.begins(seconds(23)));
        assert!(online.begins(seconds(24)));
    }
}
