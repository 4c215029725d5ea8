//! Services found over a cable.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use network::discovery::{Browse, Found, GROUP, HUB, Message, Record, RecordData, Responder, Service, browse};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::world::{self, sh};

/// Far longer than an answer takes.
const LONG: Duration = Duration::from_secs(60);

fn service(instance: &str, port: u16) -> Service {
    let attributes = vec!["version=1".to_owned()];
    Service { instance: instance.into(), kind: HUB.into(), host: "lab".into(), port, attributes }
}

/// Does something on the other end of the cable.
fn on_the_lan<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let lan = std::fs::File::open("/run/netns/lan").unwrap();
            move_into_link_name_space(lan.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        });
        thread.join().unwrap()
    })
}

fn look(places: &Browse, count: usize) -> Vec<Found> {
    browse(HUB, places, LONG, &mut |found| found.len() == count).unwrap()
}

#[test]
fn a_hub_is_found_on_every_card() {
    world::run(|world| {
        world.card("eth0", 1);
        world.card("eth1", 2);
        for (card, address) in [("eth0", "10.1.0.5/24"), ("eth1", "10.2.0.5/24")] {
            sh(&format!("ip address add {address} dev {card}; ip link set {card} up"));
        }
        let hub = on_the_lan(|| Responder::start(service("hub in room 4", 8420)).unwrap());
        let found = look(&Browse::default(), 1);
        assert_eq!(
            (found[0].instance.as_str(), found[0].host.as_str(), found[0].port),
            ("hub in room 4", "lab.local", 8420)
        );
        assert_eq!(found[0].attributes.get("version").map(String::as_str), Some("1"));
        // On each card it has the address that it has there.
        let both: [IpAddr; 2] = [Ipv4Addr::new(10, 1, 0, 1).into(), Ipv4Addr::new(10, 2, 0, 1).into()];
        let mut seen = Vec::new();
        browse(HUB, &Browse::default(), LONG, &mut |found| {
            seen = found.iter().flat_map(|found| found.addresses.clone()).collect();
            both.iter().all(|address| seen.contains(address))
        })
        .unwrap();
        assert_eq!(seen, both);
        drop(hub);
        assert!(browse(HUB, &Browse::default(), Duration::from_millis(300), &mut |_| false).unwrap().is_empty());
    });
}

#[test]
fn announcements_and_goodbyes_are_heard_by_those_who_listen() {
    world::run(|world| {
        world.card("eth0", 1);
        sh("ip address add 10.1.0.5/24 dev eth0; ip link set eth0 up");
        // The kernel drops what is sent before it has seen the carrier.
        sh("until ip -n lan link show lan-eth0 | grep -q 'state UP'; do sleep 0.05; done");
        let listener = UdpSocket::bind(("0.0.0.0", GROUP.port())).unwrap();
        listener.join_multicast_v4(GROUP.ip(), &Ipv4Addr::new(10, 1, 0, 5)).unwrap();
        listener.set_read_timeout(Some(LONG)).unwrap();
        let hear = |wanted: &dyn Fn(&Record) -> bool| loop {
            let mut packet = [0; 9000];
            let (length, from) = listener.recv_from(&mut packet).unwrap();
            assert_eq!(from.port(), GROUP.port());
            let message = Message::parse(&packet[..length]).unwrap();
            if message.records.iter().any(wanted) {
                return message;
            }
        };
        let place = |record: &Record| matches!(record.data, RecordData::Srv { port: 8420, .. });
        let hub = on_the_lan(|| Responder::start(service("hub", 8420)).unwrap());
        for _ in 0..2 {
            let told = hear(&|record| place(record) && record.ttl > 0);
            assert!(told.response && told.authoritative && told.id == 0);
        }
        drop(hub);
        hear(&|record| place(record) && record.ttl == 0);
    });
}

/// dnsmasq as the name server of a domain whose hub is written down there.
#[test]
fn a_hub_is_found_by_ordinary_dns() {
    world::run(|world| {
        world.card("eth0", 1);
        sh("ip address add 10.1.0.5/24 dev eth0; ip link set eth0 up");
        let _server = world.dnsmasq(&[
            "--dhcp-range=10.1.0.10,10.1.0.20,1h",
            "--port=53",
            "--no-resolv",
            "--no-hosts",
            "--ptr-record=_rocbed._tcp.lab.example,hub._rocbed._tcp.lab.example",
            "--srv-host=hub._rocbed._tcp.lab.example,big.lab.example,8420",
            "--txt-record=hub._rocbed._tcp.lab.example,tls=1",
            "--host-record=big.lab.example,10.1.0.77",
        ]);
        let places = Browse { servers: vec![[10, 1, 0, 1].into()], domain: Some("lab.example".into()) };
        let found = look(&places, 1);
        assert_eq!((found[0].instance.as_str(), found[0].host.as_str()), ("hub", "big.lab.example"));
        assert_eq!((found[0].port, &found[0].addresses[..]), (8420, &[IpAddr::from([10, 1, 0, 77])][..]));
        assert_eq!(found[0].attributes.get("tls").map(String::as_str), Some("1"));
    });
}
