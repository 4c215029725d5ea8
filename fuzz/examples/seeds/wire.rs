//! Packets of the network, and a configuration space.

use std::net::Ipv4Addr;

use network::Mac;
use network::dhcp::{DhcpOptions, Message, MessageKind, code, frame};
use network::discovery::{self, Question, Service};

use crate::{Result, put};

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

pub fn seeds() -> Result {
    dhcp()?;
    dns()?;
    let mut ntp = 1_795_000_000_u64.to_le_bytes().to_vec();
    let mut packet = [0; 48];
    (packet[0], packet[1]) = (4 << 3 | 4, 2);
    packet[24..32].fill(7);
    let timestamp = (1_795_000_001_u64 + 2_208_988_800) << 32 | 0x8000_0000;
    packet[32..40].copy_from_slice(&timestamp.to_be_bytes());
    packet[40..48].copy_from_slice(&timestamp.to_be_bytes());
    ntp.extend(packet);
    put("sntp/good", &ntp)?;
    (ntp[9], ntp[20], ntp[21]) = (0, b'R', b'A');
    put("sntp/kiss", &ntp)?;

    let mut config = vec![0; 256];
    config[..4].copy_from_slice(&[0x02, 0x10, 0xbf, 0x73]);
    (config[6], config[0x34]) = (0x10, 0x48);
    config[0x48..0x4a].copy_from_slice(&[0x01, 0x64]);
    config[0x64] = 0x10;
    config[0x8c] = 0x40;
    put("config_space/gpu", &config)
}

fn dhcp() -> Result {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut options = DhcpOptions::default();
    options.set_kind(MessageKind::Ack);
    options.set(code::SERVER, &SERVER.octets());
    options.set(code::LEASE_TIME, &3600_u32.to_be_bytes());
    options.set(code::SUBNET_MASK, &[255, 255, 255, 0]);
    options.set(code::ROUTER, &SERVER.octets());
    options.set(code::SEARCH, b"\x03lab\x07example\x03org\x00\x01a\xc0\x04");
    options.set(code::ROUTES, &[8, 10, 10, 0, 2, 3, 0, 10, 0, 2, 5]);
    options.set(code::HOST_NAME, b"gpu7");
    let yiaddr = Ipv4Addr::new(10, 0, 2, 15);
    let mut ack = Message { reply: true, xid: 7, secs: 0, ciaddr: none, yiaddr, giaddr: none, chaddr: MAC, options };
    put("dhcp_message/ack", &ack.to_bytes())?;
    let ends = frame::Ends { source_mac: MAC, destination_mac: MAC, source: SERVER, destination: yiaddr };
    let mut bytes = frame::write(&ends, &ack.to_bytes());
    // A server's ports.
    bytes[34..38].copy_from_slice(&[0, 67, 0, 68]);
    put("dhcp_frame/ack", &bytes)?;
    ack.options.set(code::OVERLOAD, &[3]);
    let mut bytes = ack.to_bytes();
    bytes[108..113].copy_from_slice(&[code::DOMAIN, 2, b'a', b'b', 255]);
    bytes[44..49].copy_from_slice(&[code::DOMAIN, 2, b'c', b'd', 255]);
    put("dhcp_message/overload", &bytes)?;

    // Each a kind, a server, a lease of an hour, no more options, an address.
    let (offer, ack, nak) =
        ([0, 0, 0, 0, 0, 14, 16, 0, 0], [0, 1, 0, 0, 0, 14, 16, 0, 0], [0, 3, 0, 0, 0, 14, 16, 0, 0]);
    let (wait, short, carrier) = ([7], [4, 100, 5], [5]);
    put("dhcp_client/lease-and-renewal", &[&[2][..], &offer, &ack, &wait, &ack, &wait, &wait, &ack, &short].concat())?;
    put("dhcp_client/refused", &[&[3][..], &nak, &offer, &nak, &wait, &offer, &ack, &wait, &nak, &offer].concat())?;
    put("dhcp_client/expires", &[&[2][..], &offer, &ack, &[4, 255, 20], &offer, &ack, &carrier, &ack, &[6]].concat())
}

fn dns() -> Result {
    let service = Service {
        instance: "hub".into(),
        kind: discovery::HUB.into(),
        host: "lab".into(),
        port: 8420,
        attributes: vec!["tls=1".into()],
    };
    let told = discovery::announcement(&service, &[Ipv4Addr::new(192, 0, 2, 4)], false)?;
    let told = told.encode()?;
    let gone = discovery::announcement(&service, &[], true)?.encode()?;
    put("dns_message/announcement", &told)?;
    let name = discovery::Name::parse("_rocbed._tcp.local")?;
    let question = Question { name, kind: discovery::RecordType::Ptr, unicast: false };
    let query = discovery::Message { questions: vec![question], ..discovery::Message::default() };
    put("dns_message/question", &query.encode()?)?;
    // A PTR record whose names are a pointer and a label before one.
    let mut compressed = query.encode()?;
    (compressed[2], compressed[7]) = (0x84, 1);
    compressed.extend(b"\xc0\x0c\0\x0c\0\x01\0\0\0\x78\0\x06\x03hub\xc0\x0c");
    put("dns_message/compressed", &compressed)?;
    let mut packets = Vec::new();
    for packet in [&compressed, &told, &gone] {
        packets.extend((packet.len() as u16).to_be_bytes());
        packets.extend(packet);
    }
    put("dns_collector/comes-and-goes", &packets)?;
    packets.truncate(packets.len() - gone.len() - 2);
    put("dns_collector/comes", &packets)
}
