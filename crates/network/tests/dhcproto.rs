//! Cross-checks the DHCP wire format with another implementation, in both directions.

use std::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Name};
use network::dhcp::{Action, Client, Identity, Lease, Message};
use network::{Mac, Route};
use proptest::prelude::*;
use std::str::FromStr;
use std::time::Duration;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

#[test]
fn our_question_is_read() {
    let identity = Identity { mac: MAC, client_id: None, hostname: Some("gpu7".to_owned()) };
    let actions = Client::new(identity, 1).start(Duration::ZERO);
    let [Action::Send { message, .. }] = &actions[..] else { panic!("{actions:?}") };
    let read = v4::Message::decode(&mut Decoder::new(message)).unwrap();
    assert_eq!((read.opcode(), read.chaddr()), (v4::Opcode::BootRequest, &MAC.0[..]));
    let options = read.opts();
    assert_eq!(options.msg_type(), Some(v4::MessageType::Discover));
    assert_eq!(options.get(OptionCode::Hostname), Some(&DhcpOption::Hostname("gpu7".to_owned())));
    let id = [&[1], &MAC.0[..]].concat();
    assert_eq!(options.get(OptionCode::ClientIdentifier), Some(&DhcpOption::ClientIdentifier(id)));
    let Some(DhcpOption::ParameterRequestList(list)) = options.get(OptionCode::ParameterRequestList) else { panic!() };
    assert_eq!(list[0], OptionCode::ClasslessStaticRoute);
    assert_eq!(options.get(OptionCode::MaxMessageSize), Some(&DhcpOption::MaxMessageSize(1472)));
}

prop_compose! {
    fn host()(address in 0x0100_0000_u32..0x7f00_0000) -> Ipv4Addr {
        address.into()
    }
}

proptest! {
    #[test]
    fn its_answer_is_read(
        xid: u32,
        address in host(),
        server in host(),
        routers in prop::collection::vec(host(), 1..3),
        dns in prop::collection::vec(host(), 0..70),
        prefix in 1_u32..=32,
        lease in 1_u32..,
        names in prop::collection::vec("[a-z]{1,20}\\.[a-z]{1,9}", 1..20),
    ) {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = v4::Message::new_with_id(xid, none, address, none, none, &MAC.0);
        message.set_opcode(v4::Opcode::BootReply);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(v4::MessageType::Ack));
        options.insert(DhcpOption::ServerIdentifier(server));
        options.insert(DhcpOption::AddressLeaseTime(lease));
        options.insert(DhcpOption::SubnetMask((u32::MAX << (32 - prefix)).into()));
        options.insert(DhcpOption::Router(routers.clone()));
        if !dns.is_empty() {
            options.insert(DhcpOption::DomainNameServer(dns.clone()));
        }
        options.insert(DhcpOption::DomainSearch(names.iter().map(|name| Name::from_str(name).unwrap()).collect()));
        let message = Message::parse(&message.to_vec().unwrap()).unwrap();
        prop_assert_eq!((message.xid, message.reply, message.chaddr), (xid, true, MAC));
        let lease_read = Lease::new(&message).unwrap();
        let read = &lease_read.configuration;
        prop_assert_eq!((read.address, u32::from(read.prefix), lease_read.server), (address, prefix, server));
        prop_assert_eq!(&read.dns, &dns);
        let default = Route { destination: none, prefix: 0, gateway: Some(routers[0]) };
        prop_assert_eq!(&read.routes, &vec![default]);
        let mut once: Vec<String> = Vec::new();
        for name in names {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        prop_assert_eq!(&read.search, &once);
        prop_assert_eq!(read.lifetime, (lease < u32::MAX).then(|| Duration::from_secs(lease.into())));
    }
}
