//! DHCP with a real server, and with one of our own that gives short leases.

use std::net::Ipv4Addr;
use std::time::Duration;

use network::{Loss, NetworkEvent, NetworkSettings};

use super::server::Server;
use super::world::{self, addresses, reaches, resolv_conf, sh};

const RANGE: &str = "--dhcp-range=10.1.0.10,10.1.0.20,255.255.255.0,1h";

#[test]
fn everything_that_a_server_says() {
    world::run(|world| {
        world.card("eth0", 1);
        let _server = world.dnsmasq(&[
            RANGE,
            "--dhcp-host=02:00:00:00:00:01,gpu7,10.1.0.15",
            "--dhcp-option=option:dns-server,10.1.0.53,10.1.0.54",
            "--dhcp-option=option:domain-name,example.org",
            "--dhcp-option=option:domain-search,lab.example.org,example.org",
            "--dhcp-option=option:ntp-server,10.1.0.123",
            "--dhcp-option=option:mtu,1400",
            "--dhcp-option=option:classless-static-route,0.0.0.0/0,10.1.0.1,10.77.0.0/16,10.1.0.2,10.9.9.9/32,0.0.0.0",
        ]);
        let machine = world.start(NetworkSettings::default());
        let configuration = machine.configured("eth0");

        assert_eq!(configuration.to_string(), "10.1.0.15/24, gateway 10.1.0.1, DNS 10.1.0.53 10.1.0.54, from 10.1.0.1");
        assert_eq!(configuration.lifetime, Some(Duration::from_secs(3600)));
        assert_eq!(addresses("eth0"), ["10.1.0.15/24"]);
        assert!(sh("ip address show dev eth0").contains("valid_lft 3600sec"));
        assert!(sh("ip link show dev eth0").contains("mtu 1400"));
        let routes = sh("ip -4 route show dev eth0");
        for route in [
            "default via 10.1.0.1 proto dhcp src 10.1.0.15",
            "10.77.0.0/16 via 10.1.0.2",
            "10.9.9.9 proto dhcp scope link",
        ] {
            assert!(routes.contains(route), "{routes}");
        }
        assert_eq!(resolv_conf(), "search lab.example.org example.org\nnameserver 10.1.0.53\nnameserver 10.1.0.54");
        assert_eq!(sh("hostname").trim(), "gpu7");
        let status = machine.network.status();
        assert!(status.is_ready());
        assert_eq!(status.ntp_servers(), ["10.1.0.123"]);
        assert_eq!(status.hostname.as_deref(), Some("gpu7"));
        assert!(reaches(Ipv4Addr::new(10, 1, 0, 1)));
        assert!(reaches(Ipv4Addr::LOCALHOST), "lo is up");
    });
}

#[test]
fn a_machine_without_a_name_tells_the_server_the_one_that_it_gave_itself() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let name = machine.wait("the name", |event| match event {
            NetworkEvent::Hostname { name } => Some(name.clone()),
            _ => None,
        });
        assert_eq!(name, "rocbed-000001");
        machine.configured("eth0");
        assert!(server.wait_for("client provides name").contains("rocbed-000001"));
        assert_eq!(sh("hostname").trim(), "rocbed-000001");
    });
}

#[test]
fn several_links_at_once() {
    world::run(|world| {
        world.card("eth0", 1);
        world.card("eth1", 2);
        let _server = world.dnsmasq(&[
            RANGE,
            "--dhcp-range=10.2.0.10,10.2.0.20,255.255.255.0,1h",
            "--dhcp-option=option:dns-server,0.0.0.0",
        ]);
        let machine =
            world.start(NetworkSettings { dns: vec!["2001:db8::53".parse().unwrap()], ..NetworkSettings::default() });
        let mut left = vec!["eth0", "eth1"];
        machine.wait("both links", |event| {
            if let NetworkEvent::Configured { link, .. } = event {
                left.retain(|name| name != link);
            }
            left.is_empty().then_some(())
        });
        let routes = sh("ip -4 route show default");
        assert_eq!(routes.lines().count(), 2, "{routes}");
        assert!(routes.starts_with("default via 10.1.0.1 dev eth0"), "{routes}");
        assert_eq!(resolv_conf(), "nameserver 2001:db8::53\nnameserver 10.1.0.1\nnameserver 10.2.0.1");
        assert!(reaches(Ipv4Addr::new(10, 1, 0, 1)) && reaches(Ipv4Addr::new(10, 2, 0, 1)));
        assert_eq!(machine.network.status().to_string().lines().count(), 2);
    });
}

#[test]
fn two_links_into_one_network() {
    world::run(|world| {
        world.card("eth0", 1);
        world.card("eth1", 2);
        sh("ip -n lan link add lan0 type bridge
            ip -n lan address flush dev lan-eth0; ip -n lan address flush dev lan-eth1
            ip -n lan link set lan-eth0 master lan0; ip -n lan link set lan-eth1 master lan0
            ip -n lan address add 10.1.0.1/24 dev lan0; ip -n lan link set lan0 up");
        let _server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let mut found = std::collections::BTreeMap::new();
        machine.wait("both links", |event| {
            if let NetworkEvent::Configured { link, configuration } = event {
                found.insert(link.clone(), configuration.address);
            }
            (found.len() == 2).then_some(())
        });
        assert_ne!(found["eth0"], found["eth1"]);
        // Each has its own route to the subnet; without the first link the second one does.
        assert_eq!(sh("ip -4 route show 10.1.0.0/24").lines().count(), 2);
        assert!(reaches(Ipv4Addr::new(10, 1, 0, 1)));
        world.unplug("eth0");
        machine.wait("the loss", |event| matches!(event, NetworkEvent::Lost { .. }).then_some(()));
        assert!(sh("ip -4 route show").lines().all(|route| route.contains("eth1")));
        assert!(reaches(Ipv4Addr::new(10, 1, 0, 1)));
    });
}

#[test]
fn what_does_not_work_is_told_and_the_rest_goes_on() {
    world::run(|world| {
        world.card("eth0", 1);
        let _server = world.dnsmasq(&[RANGE, "--dhcp-option=option:dns-server,0.0.0.0"]);
        sh("mkdir -p /run/resolv.conf/in-the-way");
        let machine = world.start(NetworkSettings::default());
        machine.configured("eth0");
        let problem = machine.wait("a problem", |event| match event {
            NetworkEvent::Problem { error, .. } => Some(error.to_string()),
            _ => None,
        });
        assert!(problem.starts_with("writing /run/resolv.conf: "), "{problem}");
        assert!(reaches(Ipv4Addr::new(10, 1, 0, 1)));
    });
}

#[test]
fn a_server_that_comes_late() {
    world::run(|world| {
        world.card("eth0", 1);
        let machine =
            world.start(NetworkSettings { silence: Duration::from_millis(100), ..NetworkSettings::default() });
        let since = machine.wait("silence", |event| match event {
            NetworkEvent::NoAnswer { link, since } if link == "eth0" => Some(*since),
            _ => None,
        });
        assert!(since >= Duration::from_millis(100));
        assert!(machine.network.status().to_string().starts_with("eth0: asking for an address for "));
        let _server = world.dnsmasq(&[RANGE]);
        // Said once only.
        machine.wait("an address", |event| match event {
            NetworkEvent::NoAnswer { .. } => panic!("{event}"),
            NetworkEvent::Configured { .. } => Some(()),
            _ => None,
        });
    });
}

#[test]
fn an_address_is_given_back_at_the_end() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let address = machine.configured("eth0").address;
        machine.network.stop();
        let line = server.wait_for("DHCPRELEASE");
        assert!(line.contains(&address.to_string()), "{line}");
        assert_eq!(addresses("eth0"), [""; 0]);
        let rest: Vec<_> = machine.events.iter().collect();
        assert!(matches!(&rest[..], [NetworkEvent::Lost { why: Loss::Released, .. }]), "{rest:?}");
    });
}

#[test]
fn a_program_that_ends_leaves_the_link_to_the_next() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let address = machine.configured("eth0").address;
        drop(machine);
        assert_eq!(addresses("eth0"), [format!("{address}/24")]);
        // What an earlier one left is replaced, not added to.
        sh("ip address add 10.1.0.99/24 dev eth0");
        let machine = world.start(NetworkSettings::default());
        assert_eq!(machine.configured("eth0").address, address);
        assert_eq!(addresses("eth0"), [format!("{address}/24")]);
        assert!(!server.log().contains("DHCPRELEASE"));
    });
}

#[test]
fn a_program_that_knows_the_address_asks_for_it_in_one_exchange() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = world.dnsmasq(&[RANGE]);
        let machine = world.start(NetworkSettings::default());
        let address = machine.configured("eth0").address;
        drop(machine);
        // The log comes a moment later than the address.
        server.wait_for("DHCPACK");
        let known = [("eth0".to_owned(), address)].into();
        let machine = world.start(NetworkSettings { before: known, ..NetworkSettings::default() });
        assert_eq!(machine.configured("eth0").address, address);
        // The next thing that the server hears, with nothing before it.
        let line = server.wait_for("(lan-eth0)");
        assert!(line.contains("DHCPREQUEST"), "{line}");
    });
}

#[test]
fn servers_are_found_without_taking_an_address() {
    world::run(|world| {
        world.card("eth0", 1);
        sh("ip link set eth0 up");
        assert_eq!(network::dhcp_servers("eth0", Duration::from_millis(300)).unwrap(), [] as [Ipv4Addr; 0]);
        let server = world.dnsmasq(&[RANGE]);
        assert_eq!(network::dhcp_servers("eth0", Duration::from_secs(4)).unwrap().len(), 1, "{}", server.log());
        assert!(!server.log().contains("DHCPREQUEST"));
        let interfaces = network::interfaces().unwrap();
        assert!(interfaces.iter().any(|link| link.name == "eth0" && link.addresses.is_empty()), "{interfaces:?}");
        let error = network::dhcp_servers("eth9", Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("eth9"), "{error}");
    });
}

#[test]
fn a_server_that_did_not_hear_the_first_question_is_found() {
    world::run(|world| {
        world.card("eth0", 1);
        sh("ip link set eth0 up");
        let server = Server::start("lan-eth0", 60);
        server.be_silent(true);
        let found = std::thread::scope(|scope| {
            let looking = scope.spawn(|| network::dhcp_servers("eth0", Duration::from_secs(6)).unwrap());
            while server.heard().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.be_silent(false);
            looking.join().unwrap()
        });
        assert_eq!(found, [Ipv4Addr::new(10, 1, 0, 1)], "{:?}", server.heard());
    });
}

#[test]
fn a_short_lease_is_renewed_as_long_as_there_is_a_server() {
    world::run(|world| {
        world.card("eth0", 1);
        let server = Server::start("lan-eth0", 2);
        let machine = world.start(NetworkSettings::default());
        machine.configured("eth0");
        for _ in 0..2 {
            machine.wait("a renewal", |event| matches!(event, NetworkEvent::Renewed { .. }).then_some(()));
        }
        assert!(
            server.heard().iter().any(|heard| heard == "REQUEST from 10.1.0.10 to 10.1.0.1"),
            "{:?}",
            server.heard()
        );

        // It answers no more, then to broadcasts only: what T2 is for.
        server.answer_only_broadcasts();
        machine.wait("a renewal by broadcast", |event| matches!(event, NetworkEvent::Renewed { .. }).then_some(()));

        server.be_silent(true);
        let why = machine.wait("the end of the lease", |event| match event {
            NetworkEvent::Lost { why, .. } => Some(*why),
            _ => None,
        });
        assert_eq!(why, Loss::Expired);
        assert_eq!(addresses("eth0"), [""; 0]);
        server.be_silent(false);
        machine.configured("eth0");
    });
}
