//! Settings by `ip=`.

use network::{NetworkEvent, NetworkSettings, Origin, ip};

use super::world::{self, addresses, reaches, resolv_conf, sh};

fn settings(parameters: &[&str]) -> NetworkSettings {
    NetworkSettings {
        links: parameters.iter().map(|parameter| ip::parse(parameter).unwrap()).collect(),
        ..NetworkSettings::default()
    }
}

#[test]
fn fixed_settings_need_no_server() {
    world::run(|world| {
        world.card("eth0", 1);
        let parameters = ["10.1.0.7::10.1.0.1:255.255.255.0:gpu7.example.org:eth0:off:10.1.0.53:10.1.0.54:10.1.0.123"];
        let machine = world.start(settings(&parameters));
        let configuration = machine.configured("eth0");
        assert_eq!(configuration.origin, Origin::Static);
        assert_eq!(addresses("eth0"), ["10.1.0.7/24"]);
        assert!(sh("ip route show default").starts_with("default via 10.1.0.1 dev eth0"));
        assert_eq!(resolv_conf(), "nameserver 10.1.0.53\nnameserver 10.1.0.54");
        assert_eq!(sh("hostname").trim(), "gpu7");
        assert_eq!(machine.network.status().ntp_servers(), ["10.1.0.123"]);
        assert!(reaches([10, 1, 0, 1].into()));
        machine.network.stop();
        assert_eq!(addresses("eth0"), [""; 0]);
    });
}

#[test]
fn fixed_settings_for_no_link_go_to_the_one_with_a_cable() {
    world::run(|world| {
        world.card("eth0", 1);
        world.card("eth1", 2);
        world.unplug("eth0");
        let machine = world.start(settings(&["10.2.0.7::10.2.0.1:24"]));
        machine.configured("eth1");
        // A second cable changes nothing.
        world.plug("eth0");
        machine.wait("the carrier", |event| {
            matches!(event, NetworkEvent::LinkUp { link } if link == "eth0").then_some(())
        });
        assert_eq!(machine.network.status().to_string().lines().next(), Some("eth0: not used"));
        assert_eq!((addresses("eth0").len(), addresses("eth1").len()), (0, 1));
    });
}

#[test]
fn one_link_fixed_and_one_by_dhcp() {
    world::run(|world| {
        world.card("eth0", 1);
        world.card("eth1", 2);
        let _server = world.dnsmasq(&["--dhcp-range=10.1.0.10,10.1.0.20,1h", "--dhcp-range=10.2.0.10,10.2.0.20,1h"]);
        let machine = world.start(settings(&["02-00-00-00-00-02:dhcp", "10.1.0.7:::24::eth0"]));
        let configuration = machine.configured("eth1");
        assert!(matches!(configuration.origin, Origin::Dhcp { .. }));
        assert_eq!(addresses("eth0"), ["10.1.0.7/24"]);
    });
}

#[test]
fn dhcp_with_servers_and_a_name_of_ones_own() {
    world::run(|world| {
        world.card("eth0", 1);
        let options = ["--dhcp-option=option:dns-server,10.1.0.53", "--dhcp-option=option:ntp-server,10.1.0.123"];
        let server = world.dnsmasq(&["--dhcp-range=10.1.0.10,10.1.0.20,1h", options[0], options[1]]);
        let machine = world.start(settings(&["::::gpu7:eth0:dhcp:10.9.0.53::10.9.0.123"]));
        machine.configured("eth0");
        assert!(server.wait_for("client provides name").ends_with("gpu7"));
        assert_eq!(resolv_conf(), "nameserver 10.9.0.53\nnameserver 10.1.0.53");
        assert_eq!(machine.network.status().ntp_servers(), ["10.9.0.123", "10.1.0.123"]);
        assert_eq!(sh("hostname").trim(), "gpu7");
    });
}

#[test]
fn fixed_settings_of_a_card_that_is_gone_are_the_next_ones() {
    world::run(|world| {
        world.card("eth0", 1);
        let machine = world.start(settings(&["10.1.0.7:::24", "dhcp"]));
        machine.configured("eth0");
        world.card("eth1", 1);
        machine.wait("the carrier", |event| {
            matches!(event, NetworkEvent::LinkUp { link } if link == "eth1").then_some(())
        });
        sh("ip link delete eth0");
        machine.wait("the card", |event| matches!(event, NetworkEvent::LinkDown { gone: true, .. }).then_some(()));
        world.unplug("eth1");
        machine.wait("no carrier", |event| matches!(event, NetworkEvent::LinkDown { gone: false, .. }).then_some(()));
        world.plug("eth1");
        assert_eq!(machine.configured("eth1").origin, Origin::Static);
        world.unplug("eth1");
        machine.wait("the loss", |event| matches!(event, NetworkEvent::Lost { .. }).then_some(()));
        assert_eq!(addresses("eth1"), [""; 0]);
    });
}

#[test]
fn a_gateway_outside_of_the_subnet() {
    world::run(|world| {
        world.card("eth0", 1);
        let machine = world.start(settings(&["10.50.0.7::10.1.0.1:32::eth0"]));
        machine.configured("eth0");
        assert!(sh("ip route show default").starts_with("default via 10.1.0.1 dev eth0"));
    });
}

#[test]
fn off_is_off() {
    world::run(|world| {
        world.card("eth0", 1);
        let machine = world.start(settings(&["off"]));
        machine.network.stop();
        assert!(machine.events.iter().next().is_none());
        assert!(sh("ip link show dev eth0").contains("state DOWN"));
        assert!(reaches([127, 0, 0, 1].into()), "lo is up all the same");
    });
}
