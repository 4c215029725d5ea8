//! A responder's answers to questions (RFC 6762, section 6).

use std::net::Ipv4Addr;

use super::error::MessageError;
use super::message::{Message, Question, Record, RecordData, RecordType};
use super::name::Name;
use super::{LOCAL, Service};

/// Times to live of records with a host name in them, and of others, in seconds (RFC 6762, section 10).
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;

/// Time to live of answers to clients without multicast DNS, in seconds (RFC 6762, section 6.7).
const LEGACY_TTL: u32 = 10;

/// The name under which all types of services are listed (RFC 6763, section 9).
const KINDS: &str = "_services._dns-sd._udp.local";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The packet.
    pub message: Message,
    /// Whether it is sent only to the client that asked; otherwise to the whole link.
    pub unicast: bool,
}

/// The names of a service.
struct Names {
    kinds: Name,
    service: Name,
    instance: Name,
    host: Name,
}

impl Names {
    fn of(service: &Service) -> Result<Self, MessageError> {
        let kind = Name::parse(&format!("{}.{LOCAL}", service.kind))?;
        let instance = Name::below(service.instance.as_bytes(), &kind)?;
        let host = Name::below(service.host.as_bytes(), &Name::parse(LOCAL)?)?;
        Ok(Self { kinds: Name::parse(KINDS)?, service: kind, instance, host })
    }

    /// All records, those that questions for services ask for first.
    fn records(&self, service: &Service, addresses: &[Ipv4Addr]) -> Vec<Record> {
        let record = |name: &Name, ttl, flush, data| Record { name: name.clone(), ttl, flush, data };
        let place = RecordData::Srv { priority: 0, weight: 0, port: service.port, target: self.host.clone() };
        let text = RecordData::Txt(service.attributes.iter().map(|text| text.as_bytes().to_vec()).collect());
        let mut records = vec![
            record(&self.kinds, OTHER_TTL, false, RecordData::Ptr(self.service.clone())),
            record(&self.service, OTHER_TTL, false, RecordData::Ptr(self.instance.clone())),
            record(&self.instance, HOST_TTL, true, place),
            record(&self.instance, OTHER_TTL, true, text),
        ];
        records.extend(addresses.iter().map(|address| record(&self.host, HOST_TTL, true, RecordData::A(*address))));
        records
    }
}

/// The announcement of a service on a link with these addresses (RFC 6762, section 8.3). `gone` withdraws it (section
/// 10.1).
///
/// # Errors
/// If a name is too long.
pub fn announcement(service: &Service, addresses: &[Ipv4Addr], gone: bool) -> Result<Message, MessageError> {
    let mut records = Names::of(service)?.records(service, addresses);
    if gone {
        // Other hosts may offer the same type of service, and the host stays.
        records
            .retain(|record| matches!(record.data, RecordData::Ptr(_) | RecordData::Srv { .. } | RecordData::Txt(_)));
        records.remove(0);
        for record in &mut records {
            record.ttl = 0;
        }
    }
    Ok(Message { response: true, authoritative: true, records, ..Message::default() })
}

/// The answer to a question about the service, if it is one. `legacy` says that the client does not support multicast
/// DNS, which is seen by its source port (RFC 6762, section 6.7).
///
/// # Errors
/// If a name is too long.
pub fn answer(
    service: &Service,
    addresses: &[Ipv4Addr],
    query: &Message,
    legacy: bool,
) -> Result<Option<Reply>, MessageError> {
    if query.response {
        return Ok(None);
    }
    let all = Names::of(service)?.records(service, addresses);
    let asked = |question: &Question, record: &Record| {
        question.name == record.name && (question.kind == RecordType::Any || question.kind == record.data.kind())
    };
    let wanted = |record: &Record| query.questions.iter().any(|question| asked(question, record));
    // Records that the client knows already (RFC 6762, section 7.1).
    let known = |record: &Record| {
        let other = query.records.iter().find(|other| other.name == record.name && other.data == record.data);
        !legacy && other.is_some_and(|other| other.ttl >= record.ttl / 2)
    };
    let answers: Vec<_> = all.iter().filter(|record| wanted(record) && !known(record)).cloned().collect();
    if answers.is_empty() {
        return Ok(None);
    }
    // A client that asks for the service needs the other records too (RFC 6763, section 12).
    let more = |record: &&Record| !matches!(record.data, RecordData::Ptr(_)) && !answers.contains(record);
    let rest: Vec<_> = all.iter().filter(more).cloned().collect();
    let unicast = legacy || query.questions.iter().all(|question| question.unicast);
    let mut message = Message { response: true, authoritative: true, ..Message::default() };
    message.records.extend(answers);
    message.records.extend(rest);
    if legacy {
        message.id = query.id;
        message.questions.clone_from(&query.questions);
        for record in &mut message.records {
            record.ttl = record.ttl.min(LEGACY_TTL);
            record.flush = false;
        }
    }
    Ok(Some(Reply { message, unicast }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Collector, HUB};

    fn service() -> Service {
        Service {
            instance: "hub in room 4".into(),
            kind: HUB.into(),
            host: "lab".into(),
            port: 8420,
            attributes: vec!["tls=1".into()],
        }
    }

    const ADDRESS: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 0, 2, 4)];

    fn ask(name: &str, kind: RecordType, legacy: bool) -> Option<Reply> {
        let question = Question { name: Name::parse(name).unwrap(), kind, unicast: false };
        let query = Message { id: 7, questions: vec![question], ..Message::default() };
        answer(&service(), &ADDRESS, &query, legacy).unwrap()
    }

    #[test]
    fn one_answer_tells_all() {
        let reply = ask("_rocbed._TCP.local", RecordType::Ptr, false).unwrap();
        assert!(!reply.unicast && reply.message.id == 0 && reply.message.questions.is_empty());
        let mut collector = Collector::new(Name::parse("_rocbed._tcp.local").unwrap());
        collector.take(Message::parse(&reply.message.encode().unwrap()).unwrap());
        let found = collector.found();
        assert_eq!((found.len(), found[0].port), (1, 8420));
        assert_eq!((found[0].instance.as_str(), found[0].host.as_str()), ("hub in room 4", "lab.local"));
    }

    #[test]
    fn who_speaks_no_multicast_dns_is_answered_alone() {
        let reply = ask("_rocbed._tcp.local", RecordType::Ptr, true).unwrap();
        assert!(reply.unicast && reply.message.id == 7 && reply.message.questions.len() == 1);
        assert!(reply.message.records.iter().all(|record| record.ttl <= 10 && !record.flush));
    }

    #[test]
    fn others_are_not_answered() {
        assert_eq!(ask("_http._tcp.local", RecordType::Ptr, false), None);
        assert_eq!(ask("lab.local", RecordType::Aaaa, false), None);
        assert!(ask("lab.local", RecordType::A, false).is_some());
        assert!(ask("_services._dns-sd._udp.local", RecordType::Ptr, false).is_some());
        let told = announcement(&service(), &ADDRESS, false).unwrap();
        assert_eq!(answer(&service(), &ADDRESS, &told, false), Ok(None));
    }

    #[test]
    fn what_is_known_is_not_said_again() {
        let question =
            Question { name: Name::parse("_rocbed._tcp.local").unwrap(), kind: RecordType::Ptr, unicast: false };
        let records = announcement(&service(), &ADDRESS, false).unwrap().records;
        let mut query = Message { questions: vec![question], records, ..Message::default() };
        assert_eq!(answer(&service(), &ADDRESS, &query, false), Ok(None));
        // The record is about to expire there.
        query.records.iter_mut().for_each(|record| record.ttl = 100);
        assert!(answer(&service(), &ADDRESS, &query, false).unwrap().is_some());
    }

    #[test]
    fn a_goodbye_takes_back_what_was_announced() {
        let mut collector = Collector::new(Name::parse("_rocbed._tcp.local").unwrap());
        collector.take(announcement(&service(), &ADDRESS, false).unwrap());
        assert_eq!(collector.found().len(), 1);
        collector.take(announcement(&service(), &ADDRESS, true).unwrap());
        assert!(collector.found().is_empty());
    }
}
