//! [`Collector`]: combines the records of answers into services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::message::{Message, Question, Record, RecordData, RecordType};
use super::name::Name;

/// The largest number of records that are kept.
const MOST: usize = 1000;

/// A service that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name for people.
    pub instance: String,
    /// The machine's host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its attributes; keys in lower case (RFC 6763, section 6.4). The value is empty if there is none.
    pub attributes: BTreeMap<String, String>,
}

/// The known records, and the questions that are still open.
#[derive(Debug, Clone)]
pub struct Collector {
    service: Name,
    records: Vec<Record>,
    /// Whether a time to live of 0 withdraws a record.
    goodbyes: bool,
}

impl Collector {
    /// Collects services of that name: `_rocbed._tcp.local`. A record whose time to live is 0 is withdrawn (RFC 6762,
    /// section 10.1).
    pub fn new(service: Name) -> Self {
        Self { service, records: Vec::new(), goodbyes: true }
    }

    /// Collects services in a domain of ordinary DNS, where a time to live of 0 only means that a record must not be
    /// cached (RFC 1035, section 3.2.1). Small name servers set it for all records from their configuration.
    pub fn ordinary(service: Name) -> Self {
        Self { service, records: Vec::new(), goodbyes: false }
    }

    /// Takes an answer. Questions of other hosts are ignored.
    pub fn take(&mut self, message: Message) {
        if !message.response {
            return;
        }
        for record in message.records {
            let same = |other: &Record| other.name == record.name && other.data == record.data;
            self.records.retain(|other| !same(other));
            if (record.ttl > 0 || !self.goodbyes) && self.records.len() < MOST {
                self.records.push(record);
            }
        }
    }

    /// The questions to ask now: for services, and for missing records of known services.
    pub fn questions(&self) -> Vec<Question> {
        let question = |name: &Name, kind| Question { name: name.clone(), kind, unicast: false };
        let mut questions = vec![question(&self.service, RecordType::Ptr)];
        for (instance, _) in self.instances() {
            let place = self.place(instance);
            if place.is_none() {
                questions.push(question(instance, RecordType::Srv));
            }
            if !self.has_attributes(instance) {
                questions.push(question(instance, RecordType::Txt));
            }
            match place {
                Some((_, host)) if self.addresses(host).is_empty() => {
                    questions.extend([question(host, RecordType::A), question(host, RecordType::Aaaa)]);
                }
                _ => {}
            }
        }
        questions
    }

    /// The completely known services, by name. Attributes are required: every service has a record for them, if an
    /// empty one (RFC 6763, section 6.1), and without it it is not known whether to use TLS.
    pub fn found(&self) -> Vec<Found> {
        let complete = self.instances().filter_map(|(name, label)| {
            let (port, host) = self.place(name)?;
            let addresses = self.addresses(host);
            (!addresses.is_empty() && self.has_attributes(name)).then(|| Found {
                instance: String::from_utf8_lossy(label).into_owned(),
                host: host.to_string(),
                port,
                addresses,
                attributes: self.attributes(name),
            })
        });
        let mut found: Vec<_> = complete.collect();
        found.sort_by(|one, other| (&one.instance, &one.host).cmp(&(&other.instance, &other.host)));
        found.dedup();
        found
    }

    fn instances(&self) -> impl Iterator<Item = (&Name, &[u8])> {
        let pointers = self.records.iter().filter(|record| record.name == self.service);
        pointers.filter_map(|record| match &record.data {
            RecordData::Ptr(instance) => Some((instance, instance.label_below(&self.service)?)),
            _ => None,
        })
    }

    /// Port and host; of several the preferred one.
    fn place(&self, instance: &Name) -> Option<(u16, &Name)> {
        let places = self.records.iter().filter(|record| record.name == *instance);
        let places = places.filter_map(|record| match &record.data {
            RecordData::Srv { priority, port, target, .. } => Some((*priority, *port, target)),
            _ => None,
        });
        places.min_by_key(|(priority, _, _)| *priority).map(|(_, port, target)| (port, target))
    }

    fn addresses(&self, host: &Name) -> Vec<IpAddr> {
        let of_host = self.records.iter().filter(|record| record.name == *host);
        let mut addresses: Vec<IpAddr> = of_host
            .filter_map(|record| match record.data {
                RecordData::A(address) => Some(address.into()),
                RecordData::Aaaa(address) => Some(address.into()),
                _ => None,
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn has_attributes(&self, instance: &Name) -> bool {
        self.records.iter().any(|record| record.name == *instance && matches!(record.data, RecordData::Txt(_)))
    }

    fn attributes(&self, instance: &Name) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let texts = self.records.iter().filter(|record| record.name == *instance);
        for record in texts {
            let RecordData::Txt(strings) = &record.data else { continue };
            for string in strings {
                let text = String::from_utf8_lossy(string);
                let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                // If a key occurs twice the first counts (RFC 6763, section 6.4).
                attributes.entry(key.to_ascii_lowercase()).or_insert_with(|| value.to_owned());
            }
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::MessageError;

    fn answer(name: &str, data: RecordData) -> Result<Message, MessageError> {
        let record = Record { name: Name::parse(name)?, ttl: 120, flush: false, data };
        Ok(Message { response: true, records: vec![record], ..Message::default() })
    }

    #[test]
    fn asks_until_all_is_known() -> Result<(), MessageError> {
        let service = Name::parse("_rocbed._tcp.local")?;
        let instance = Name::below(b"hub 4", &service)?;
        let mut collector = Collector::new(service);
        let kinds = |collector: &Collector| collector.questions().iter().map(|asked| asked.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&collector), [RecordType::Ptr]);
        collector.take(answer("_ROCBED._tcp.local", RecordData::Ptr(instance.clone()))?);
        assert_eq!(kinds(&collector), [RecordType::Ptr, RecordType::Srv, RecordType::Txt]);
        let target = Name::parse("lab.local")?;
        let mut second = answer("x", RecordData::Srv { priority: 0, weight: 0, port: 8420, target })?;
        second.records[0].name = instance.clone();
        collector.take(second);
        let mut third = answer("x", RecordData::Txt(vec![b"TLS=1".to_vec(), b"tls=0".to_vec(), b"x".to_vec()]))?;
        third.records[0].name = instance;
        collector.take(third);
        assert_eq!(kinds(&collector), [RecordType::Ptr, RecordType::A, RecordType::Aaaa]);
        assert!(collector.found().is_empty());
        let address = answer("lab.local", RecordData::A([192, 0, 2, 4].into()))?;
        collector.take(address.clone());
        let found = collector.found();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].instance.as_str(), found[0].host.as_str(), found[0].port), ("hub 4", "lab.local", 8420));
        let expected = [("tls".to_owned(), "1".to_owned()), ("x".to_owned(), String::new())];
        assert_eq!(found[0].attributes, BTreeMap::from(expected));
        // The host withdraws its address.
        let mut gone = address;
        gone.records[0].ttl = 0;
        collector.take(gone);
        assert!(collector.found().is_empty());
        Ok(())
    }

    #[test]
    fn of_ordinary_dns_a_record_that_is_not_to_be_kept_is_used() -> Result<(), MessageError> {
        let service = Name::parse("_rocbed._tcp.lab.example")?;
        let mut collector = Collector::ordinary(service.clone());
        let mut message = answer("_rocbed._tcp.lab.example", RecordData::Ptr(Name::below(b"hub", &service)?))?;
        message.records[0].ttl = 0;
        collector.take(message);
        let kinds: Vec<_> = collector.questions().iter().map(|asked| asked.kind).collect();
        assert_eq!(kinds, [RecordType::Ptr, RecordType::Srv, RecordType::Txt]);
        Ok(())
    }
}
