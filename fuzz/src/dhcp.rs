//! A DHCP client that is told anything at any time.

use std::net::Ipv4Addr;
use std::time::Duration;

use network::dhcp::{Action, Client, DhcpOptions, Identity, Listen, Message, MessageKind, Phase, Time, Via, code};
use network::{Configuration, Mac};

use crate::bytes::Bytes;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVERS: [Ipv4Addr; 3] = [Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::UNSPECIFIED];

/// A client, and what whoever does what it says knows.
struct Link {
    client: Client,
    now: Time,
    /// The address that the link has.
    address: Option<Ipv4Addr>,
    /// Of the last question.
    xid: u32,
}

/// A client's whole conversation: the bytes choose what comes, when, and how often. Whatever it is, an address is set,
/// kept and taken away in turn, questions are a client's, and the client always waits for something.
pub fn dhcp_client(data: &[u8]) {
    let mut bytes = Bytes(data);
    let identity = Identity { mac: MAC, client_id: None, hostname: Some("gpu7".to_owned()) };
    let seed = bytes.next();
    let mut client = Client::new(identity, u64::from(seed >> 1));
    if seed & 1 == 1 {
        client = client.after(Ipv4Addr::new(10, 0, 2, 15));
    }
    let mut link = Link { client, now: Time::ZERO, address: None, xid: 0 };
    link.told(network::dhcp::Client::start);
    for _ in 0..100 {
        if bytes.is_empty() {
            break;
        }
        match bytes.next() % 8 {
            0..=2 => {
                let message = answer(&mut bytes, link.xid);
                link.told(|client, now| client.packet(&message, now));
            }
            3 => {
                let anything = bytes.string();
                link.told(|client, now| client.packet(anything, now));
            }
            4 => {
                // Far away are only the ends of the longest leases.
                let [low, high] = bytes.array();
                link.now += Duration::from_millis((u64::from(low) + 1) << (high % 32));
            }
            5 => {
                link.told(|client, _| client.pause());
                link.told(network::dhcp::Client::start);
            }
            6 => {
                link.told(Client::stop);
                assert_eq!(link.address, None);
                link.told(network::dhcp::Client::start);
            }
            _ => link.wait(),
        }
        link.told(Client::tick);
        assert!(link.client.deadline().is_none_or(|deadline| deadline > link.now), "{:?}", link.client);
    }
    link.told(Client::stop);
    assert_eq!((link.address, link.client.deadline()), (None, None));
}

/// A server's answer, sensible but for what the bytes add.
fn answer(bytes: &mut Bytes<'_>, xid: u32) -> Vec<u8> {
    let mut options = DhcpOptions::default();
    options.set_kind(bytes.choose(&[
        MessageKind::Offer,
        MessageKind::Ack,
        MessageKind::Ack,
        MessageKind::Nak,
        MessageKind::Request,
    ]));
    options.set(code::SERVER, &bytes.choose(&SERVERS).octets());
    let lease: [u8; 4] = bytes.array();
    options.set(code::LEASE_TIME, &lease);
    for _ in 0..bytes.next() % 4 {
        options.set(bytes.next(), bytes.string());
    }
    let none = Ipv4Addr::UNSPECIFIED;
    let yiaddr = Ipv4Addr::from(bytes.choose(&[[10, 0, 2, 15], [10, 0, 2, 16], [127, 0, 0, 1], [255; 4]]));
    Message { reply: true, xid, secs: 0, ciaddr: none, yiaddr, giaddr: none, chaddr: MAC, options }.to_bytes()
}

impl Link {
    fn has_address(&self) -> bool {
        matches!(self.client.phase(), Phase::Bound | Phase::Renewing | Phase::Rebinding)
    }

    /// Until the client has something to do.
    fn wait(&mut self) {
        if let Some(deadline) = self.client.deadline() {
            self.now = self.now.max(deadline);
        }
    }

    /// Tells the client something, and does what it says.
    fn told(&mut self, what: impl FnOnce(&mut Client, Time) -> Vec<Action>) {
        let actions = what(&mut self.client, self.now);
        assert!(actions.iter().filter(|action| matches!(action, Action::Send { .. })).count() <= 1, "{actions:?}");
        for action in actions {
            match action {
                Action::Send { message, via } => self.send(&message, via),
                Action::Configure(configuration) => {
                    check(&configuration);
                    self.address = Some(configuration.address);
                }
                Action::Renew(configuration) => {
                    check(&configuration);
                    assert_eq!(self.address, Some(configuration.address));
                }
                Action::Remove(_) => assert!(self.address.take().is_some()),
            }
        }
        assert_eq!(self.address.is_some(), self.has_address(), "{:?}", self.client);
        let asking = self.client.phase() == Phase::Asking;
        assert_eq!(self.client.wanting_since().is_some(), asking);
        let expected = if asking { Listen::Frames } else { Listen::Udp };
        let idle = self.client.phase() == Phase::Idle;
        assert_eq!(self.client.listen(), if idle { Listen::Nothing } else { expected });
    }

    fn send(&mut self, message: &[u8], via: Via) {
        let message = Message::parse(message).expect("our own message");
        assert!(!message.reply && message.chaddr == MAC);
        let kind = message.options.kind();
        match via {
            Via::Broadcast => assert!(message.ciaddr.is_unspecified() && self.address.is_none()),
            Via::Udp(_) => assert!(kind == Some(MessageKind::Request) && Some(message.ciaddr) == self.address),
            Via::Parting { source, .. } => assert!(kind == Some(MessageKind::Release) && Some(source) == self.address),
        }
        if kind != Some(MessageKind::Release) {
            assert!(matches!(kind, Some(MessageKind::Discover | MessageKind::Request)));
            self.xid = message.xid;
        }
    }
}

/// What can be set, and nothing that a file of settings would be broken by.
fn check(configuration: &Configuration) {
    let host = |address: &Ipv4Addr| !(address.is_unspecified() || address.is_broadcast() || address.is_multicast());
    assert!(host(&configuration.address) && !configuration.address.is_loopback(), "{configuration:?}");
    assert!((1..=32).contains(&configuration.prefix), "{configuration:?}");
    for route in &configuration.routes {
        let below = u32::MAX.checked_shr(route.prefix.into()).unwrap_or(0);
        assert!(route.prefix <= 32 && route.destination.to_bits() & below == 0, "{route:?}");
    }
    assert!(configuration.dns.iter().chain(&configuration.ntp).all(host), "{configuration:?}");
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    assert!(configuration.search.iter().chain(&configuration.hostname).all(|name| name.chars().all(plain)));
    assert!(configuration.mtu.is_none_or(|mtu| mtu >= 576));
    assert!(configuration.lifetime.is_none_or(|lifetime| !lifetime.is_zero()));
}
