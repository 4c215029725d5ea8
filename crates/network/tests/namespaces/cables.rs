//! Links that come and go.

use network::{Loss, NetworkEvent, NetworkSettings};

use super::world::{self, addresses, resolv_conf, sh};

const RANGE: &str = "--dhcp-range=10.1.0.10,10.1.0.20,255.255.255.0,1h";

fn lost(event: &NetworkEvent) -> Option<Loss> {
    if let NetworkEvent::Lost { why, .. } = event { Some(*why) } else { None }
}

#[test]
fn a_card_that_comes_late_and_goes() {
    world::run(|world| {
        let machine = world.start(NetworkSettings::default());
        assert_eq!(machine.network.status().to_string(), "no wired link");
        world.card("eth0", 1);
        let _server = world.dnsmasq(&[RANGE, "--dhcp-option=option:dns-server,0.0.0.0"]);
        machine.configured("eth0");
        sh("ip link delete eth0");
        assert_eq!(machine.wait("the loss", lost), Loss::Carrier);
        machine.wait("the card", |event| matches!(event, NetworkEvent::LinkDown { gone: true, .. }).then_some(()));
        assert_eq!(resolv_conf(), "");
        // Another card takes its place and its name.
        world.card("eth0", 1);
        machine.configured("eth0");
    });
}

#[test]
fn a_cable_that_is_plugged_in_late() {
    world::run(|world| {
        world.card("eth0", 1);
        world.unplug("eth0");
        let machine = world.start(NetworkSettings::default());
        world.plug("eth0");
        let _server = world.dnsmasq(&[RANGE]);
        machine.wait("the carrier", |event| matches!(event, NetworkEvent::LinkUp { .. }).then_some(()));
        machine.configured("eth0");
    });
}

#[test]
fn a_cable_that_is_out_for_a_moment() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let address = machine.configured("eth0").address;
        server.wait_for("DHCPACK");
        world.unplug("eth0");
        assert_eq!(machine.wait("the loss", lost), Loss::Carrier);
        machine.wait("the carrier", |event| matches!(event, NetworkEvent::LinkDown { gone: false, .. }).then_some(()));
        assert_eq!(addresses("eth0"), [""; 0]);
        assert_eq!(machine.network.status().to_string(), "eth0: no carrier");
        server.log();
        world.plug("eth0");
        assert_eq!(machine.configured("eth0").address, address);
        // It requested its old address, and did not search again.
        let log = server.wait_for("DHCPREQUEST") + &server.log();
        assert!(!log.contains("DHCPDISCOVER"), "{log}");
    });
}

#[test]
fn a_cable_that_is_put_into_another_network() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        machine.configured("eth0");
        world.unplug("eth0");
        assert_eq!(machine.wait("the loss", lost), Loss::Carrier);
        drop(server);
        sh("ip -n lan address flush dev lan-eth0; ip -n lan address add 10.7.0.1/24 dev lan-eth0");
        let server = world.dnsmasq(&["--dhcp-range=10.7.0.10,10.7.0.20,1h", "--dhcp-authoritative"]);
        world.plug("eth0");
        assert_eq!(machine.configured("eth0").gateway(), Some([10, 7, 0, 1].into()));
        let log = server.wait_for("DHCPNAK");
        assert!(log.contains("10.1.0."), "{log}");
    });
}

#[test]
fn a_card_that_is_renamed() {
    world::run(|world| {
        world.card("eth0", 1);
        let _server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        machine.configured("eth0");
        sh("ip link set eth0 down; ip link set eth0 name eth1");
        machine.configured("eth1");
    });
}

#[test]
fn virtual_links_are_left_alone() {
    world::run(|world| {
        world.card("container0", 1);
        world.card("eth0", 2);
        let _server = world.dnsmasq(&[RANGE, "--dhcp-range=10.2.0.10,10.2.0.20,1h"]);
        let machine = world.start(NetworkSettings::default());
        machine.configured("eth0");
        assert!(sh("ip link show dev container0").contains("state DOWN"));
        assert_eq!(machine.network.status().links.len(), 1);
    });
}
