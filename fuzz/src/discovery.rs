//! DNS packets, which anybody on the network can send.

use std::net::Ipv4Addr;

use network::discovery::{Collector, HUB, LOCAL, Message, Name, RecordData, RecordType, Service, answer};

/// A packet. What is written of it reads back, and whatever it asks, the answer is a packet.
pub fn dns_message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let written = message.encode().expect("what was read");
    let again = Message::parse(&written).expect("our own packet");
    // What made no sense for its type at its place, or is of another class, may make sense where it is now.
    let odd = |data: &RecordData| {
        matches!(data, RecordData::Other(..)) && !matches!(data.kind(), RecordType::Other(_) | RecordType::Any)
    };
    if message.records.iter().any(|record| odd(&record.data)) {
        assert_eq!((again.questions, again.records.len()), (message.questions.clone(), message.records.len()));
    } else {
        assert_eq!(again, message);
    }
    let service = Service {
        instance: "hub in room 4".into(),
        kind: HUB.into(),
        host: "lab".into(),
        port: 8420,
        attributes: vec!["tls=1".into()],
    };
    for legacy in [false, true] {
        let reply = answer(&service, &[Ipv4Addr::new(192, 0, 2, 4)], &message, legacy).expect("a name that fits");
        let Some(reply) = reply else { continue };
        assert!(!message.response && !message.questions.is_empty());
        assert!(reply.message.response && reply.message.records.len() <= 5 && (reply.unicast || !legacy));
        assert_eq!(Message::parse(&reply.message.encode().expect("our own packet")), Ok(reply.message));
    }
}

/// Packets, before each its length (two bytes). What is found does not depend on which packet a record came in; of what
/// is taken back nothing is left.
pub fn dns_collector(data: &[u8]) {
    let service = Name::parse(&format!("{HUB}.{LOCAL}")).expect("a name");
    let mut collector = Collector::new(service.clone());
    let mut one_by_one = Collector::new(service.clone());
    let mut ordinary = Collector::ordinary(service.clone());
    let (mut rest, mut all) = (data, Vec::new());
    while let Some((length, more)) = rest.split_first_chunk() {
        let (packet, more) = more.split_at(more.len().min(usize::from(u16::from_be_bytes(*length))));
        rest = more;
        let Ok(message) = Message::parse(packet) else { continue };
        for record in &message.records {
            one_by_one.take(Message {
                response: message.response,
                records: vec![record.clone()],
                ..Message::default()
            });
        }
        all.extend(message.records.iter().cloned());
        ordinary.take(message.clone());
        collector.take(message);
        if all.len() > 300 {
            break;
        }
    }
    assert_eq!(collector.found(), one_by_one.found());
    assert_eq!(collector.questions(), one_by_one.questions());
    let asked = collector.questions();
    assert!(asked[0].name == service && asked[0].kind == RecordType::Ptr);
    for found in collector.found().iter().chain(&ordinary.found()) {
        assert!(!found.addresses.is_empty() && found.addresses.is_sorted(), "{found:?}");
        assert!(found.attributes.keys().all(|key| *key == key.to_ascii_lowercase()), "{found:?}");
    }
    for record in &mut all {
        record.ttl = 0;
    }
    collector.take(Message { response: true, records: all, ..Message::default() });
    assert!(collector.found().is_empty());
    assert_eq!(collector.questions().len(), 1);
}
