//! [`Message`]: a DNS packet (RFC 1035, section 4), with what multicast DNS changes (RFC 6762, section 18).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::MessageError;
use super::name::Name;

/// The largest number of records in a packet.
const MOST: usize = 512;

const INTERNET: u16 = 1;

/// Record types (RFC 1035, 2782, 3596).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// A pointer to another name.
    Ptr,
    /// Text.
    Txt,
    /// An IPv6 address.
    Aaaa,
    /// A service's host and port.
    Srv,
    /// Any type; in questions only.
    Any,
    /// Another type.
    Other(u16),
}

impl RecordType {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ptr => 12,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
            Self::Any => 255,
            Self::Other(number) => number,
        }
    }

    fn of(number: u16) -> Self {
        match number {
            1 => Self::A,
            12 => Self::Ptr,
            16 => Self::Txt,
            28 => Self::Aaaa,
            33 => Self::Srv,
            255 => Self::Any,
            other => Self::Other(other),
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name that is asked about.
    pub name: Name,
    /// The type of record that is asked for.
    pub kind: RecordType,
    /// Whether the answer may be sent only to the client that asked (RFC 6762, section 5.4).
    pub unicast: bool,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name that it belongs to.
    pub name: Name,
    /// Time to live in seconds; 0 withdraws the record.
    pub ttl: u32,
    /// Whether it replaces all others of its name and type (RFC 6762, section 10.2).
    pub flush: bool,
    /// The content.
    pub data: RecordData,
}

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Ptr(Name),
    /// A service's host and port (RFC 2782).
    Srv {
        /// Lower ones are preferred.
        priority: u16,
        /// The share among targets of the same priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// Strings of at most 255 bytes each.
    Txt(Vec<Vec<u8>>),
    /// Something else: its type and bytes.
    Other(u16, Vec<u8>),
}

/// A packet. Records of all three sections are in one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Matches an answer to its question; 0 for multicast.
    pub id: u16,
    /// Whether it is an answer.
    pub response: bool,
    /// Whether the sender is authoritative for the names.
    pub authoritative: bool,
    /// Whether recursion is wanted: the server is to ask others.
    pub recursion: bool,
    /// Questions.
    pub questions: Vec<Question>,
    /// Records: answers and additional ones.
    pub records: Vec<Record>,
}

impl Message {
    /// Parses a packet. Records whose content is not valid for their type are kept as [`RecordData::Other`].
    ///
    /// # Errors
    /// If its structure is not valid.
    pub fn parse(packet: &[u8]) -> Result<Self, MessageError> {
        let flags = be16(packet, 2)?;
        let count = |at| be16(packet, at).map(usize::from);
        let (questions, records) = (count(4)?, count(6)? + count(8)? + count(10)?);
        if questions + records > MOST {
            return Err(MessageError::TooMany);
        }
        let mut message = Self {
            id: be16(packet, 0)?,
            response: flags & 0x8000 != 0,
            authoritative: flags & 0x0400 != 0,
            recursion: flags & 0x0100 != 0,
            ..Self::default()
        };
        let mut at = 12;
        for _ in 0..questions {
            let (name, end) = Name::read(packet, at)?;
            let (kind, class) = (RecordType::of(be16(packet, end)?), be16(packet, end + 2)?);
            at = end + 4;
            message.questions.push(Question { name, kind, unicast: class & 0x8000 != 0 });
        }
        for _ in 0..records {
            let (name, end) = Name::read(packet, at)?;
            let (kind, class) = (be16(packet, end)?, be16(packet, end + 2)?);
            let ttl = u32::from(be16(packet, end + 4)?) << 16 | u32::from(be16(packet, end + 6)?);
            let start = end + 10;
            at = start + usize::from(be16(packet, end + 8)?);
            let bytes = packet.get(start..at).ok_or(MessageError::Short)?;
            let known =
                Some(kind).filter(|_| class & 0x7fff == INTERNET).and_then(|kind| data(packet, start, at, kind));
            let data = known.unwrap_or_else(|| RecordData::Other(kind, bytes.to_vec()));
            message.records.push(Record { name, ttl, flush: class & 0x8000 != 0, data });
        }
        Ok(message)
    }

    /// Encodes the packet, without compression, with all records as answers.
    ///
    /// # Errors
    /// If there are too many records, or one is too long.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let count = |length: usize| u16::try_from(length).map_err(|_| MessageError::TooMany);
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = flag(self.response, 0x8000) | flag(self.authoritative, 0x0400) | flag(self.recursion, 0x0100);
        let mut out = Vec::new();
        for word in [self.id, flags, count(self.questions.len())?, count(self.records.len())?, 0, 0] {
            out.extend(word.to_be_bytes());
        }
        for question in &self.questions {
            question.name.write(&mut out);
            out.extend(question.kind.number().to_be_bytes());
            out.extend((INTERNET | flag(question.unicast, 0x8000)).to_be_bytes());
        }
        for record in &self.records {
            record.name.write(&mut out);
            let (kind, bytes) = record.data.encode()?;
            out.extend(kind.to_be_bytes());
            out.extend((INTERNET | flag(record.flush, 0x8000)).to_be_bytes());
            out.extend(record.ttl.to_be_bytes());
            out.extend(count(bytes.len())?.to_be_bytes());
            out.extend(bytes);
        }
        Ok(out)
    }
}

impl RecordData {
    /// Its type.
    pub fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Ptr(_) => RecordType::Ptr,
            Self::Srv { .. } => RecordType::Srv,
            Self::Txt(_) => RecordType::Txt,
            Self::Other(number, _) => RecordType::of(*number),
        }
    }

    fn encode(&self) -> Result<(u16, Vec<u8>), MessageError> {
        let mut out = Vec::new();
        match self {
            Self::A(address) => out.extend(address.octets()),
            Self::Aaaa(address) => out.extend(address.octets()),
            Self::Ptr(name) => name.write(&mut out),
            Self::Srv { priority, weight, port, target } => {
                out.extend([priority, weight, port].into_iter().flat_map(|word| word.to_be_bytes()));
                target.write(&mut out);
            }
            Self::Txt(strings) => {
                for string in strings {
                    out.push(u8::try_from(string.len()).map_err(|_| MessageError::TooMany)?);
                    out.extend(string);
                }
                if strings.is_empty() {
                    out.push(0); // none at all is not allowed (RFC 6763, section 6.1)
                }
            }
            Self::Other(_, bytes) => out.extend(bytes),
        }
        Ok((self.kind().number(), out))
    }
}

/// The content in the bytes from `start` to `end`, if it is valid. Names may point to anywhere before them.
fn data(packet: &[u8], start: usize, end: usize, kind: u16) -> Option<RecordData> {
    let bytes = packet.get(start..end)?;
    let name = |at| Name::read(packet, at).ok().filter(|(_, behind)| *behind == end).map(|(name, _)| name);
    match RecordType::of(kind) {
        RecordType::A => Some(RecordData::A(<[u8; 4]>::try_from(bytes).ok()?.into())),
        RecordType::Aaaa => Some(RecordData::Aaaa(<[u8; 16]>::try_from(bytes).ok()?.into())),
        RecordType::Ptr => Some(RecordData::Ptr(name(start)?)),
        RecordType::Srv => {
            let word = |at| be16(bytes, at).ok();
            Some(RecordData::Srv { priority: word(0)?, weight: word(2)?, port: word(4)?, target: name(start + 6)? })
        }
        RecordType::Txt => strings(bytes).map(RecordData::Txt),
        RecordType::Any | RecordType::Other(_) => None,
    }
}

/// The strings of a TXT record; empty ones are dropped.
fn strings(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut strings, mut rest) = (Vec::new(), bytes);
    while let Some((length, behind)) = rest.split_first() {
        let string = behind.get(..usize::from(*length))?;
        rest = behind.get(usize::from(*length)..)?;
        if !string.is_empty() {
            strings.push(string.to_vec());
        }
    }
    Some(strings)
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, MessageError> {
    let pair = at.checked_add(2).and_then(|end| bytes.get(at..end)).and_then(|pair| pair.try_into().ok());
    pair.map(u16::from_be_bytes).ok_or(MessageError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6)
            .prop_map(|labels| Name::new(labels).unwrap_or_default())
    }

    fn record() -> impl Strategy<Value = Record> {
        let data = prop_oneof![
            any::<[u8; 4]>().prop_map(|bytes| RecordData::A(bytes.into())),
            any::<[u8; 16]>().prop_map(|bytes| RecordData::Aaaa(bytes.into())),
            name().prop_map(RecordData::Ptr),
            (any::<u16>(), any::<u16>(), any::<u16>(), name())
                .prop_map(|(priority, weight, port, target)| RecordData::Srv { priority, weight, port, target }),
            prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4).prop_map(RecordData::Txt),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| RecordData::Other(47, bytes)),
        ];
        (name(), any::<u32>(), any::<bool>(), data).prop_map(|(name, ttl, flush, data)| Record {
            name,
            ttl,
            flush,
            data,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            id: u16,
            response: bool,
            authoritative: bool,
            recursion: bool,
            asked in prop::collection::vec((name(), any::<u16>(), any::<bool>()), 0..4),
            records in prop::collection::vec(record(), 0..6),
        ) {
            let question = |(name, kind, unicast)| Question { name, kind: RecordType::of(kind), unicast };
            let questions = asked.into_iter().map(question).collect();
            let message = Message { id, response, authoritative, recursion, questions, records };
            prop_assert_eq!(Message::parse(&message.encode().unwrap()), Ok(message));
        }

        #[test]
        fn damaged_messages_too(records in prop::collection::vec(record(), 1..4), at: usize, byte: u8) {
            let message = Message { response: true, records, ..Message::default() };
            let mut bytes = message.encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(read) = Message::parse(&bytes) {
                prop_assert!(read.encode().is_ok());
            }
        }
    }
}
