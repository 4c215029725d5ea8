//! Methods (specification, section 1.4 to 1.8 of its reference): the few that a worker says and hears.

use std::time::Duration;

use crate::wire::{Reader, Value, Writer};

/// A method with its arguments. Those that only the client says are written and never read, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// `connection.start`: the mechanisms that the broker takes for logging in.
    Start(String),
    /// `connection.tune`: the most channels, the largest frame in bytes, and the heartbeat in seconds; 0 is no limit.
    Tune(u16, u32, u16),
    /// `connection.open-ok`
    ConnectionOpenOk,
    /// `connection.close`: reply code and text.
    ConnectionClose(u16, String),
    /// `connection.close-ok`
    ConnectionCloseOk,
    /// `connection.blocked`: the broker stores nothing for now, for this reason.
    Blocked(String),
    /// `connection.unblocked`
    Unblocked,
    /// `channel.open-ok`
    ChannelOpenOk,
    /// `channel.close`: reply code and text.
    ChannelClose(u16, String),
    /// `channel.close-ok`
    ChannelCloseOk,
    /// `queue.declare-ok`: how many messages are in the queue, without those that were taken, and how many consumers it has.
    DeclareOk(u32, u32),
    /// `basic.qos-ok`
    QosOk,
    /// `basic.get-ok`: the delivery's tag, and whether it was delivered before.
    GetOk(u64, bool),
    /// `basic.get-empty`
    GetEmpty,
    /// `basic.return`: a message that no queue takes, with a reply code and text.
    Return(u16, String),
    /// `basic.ack`: the broker has stored everything up to this message, or this message (`true` is all of them).
    Ack(u64, bool),
    /// `basic.nack`: likewise, it has not.
    Nack(u64, bool),
    /// `confirm.select-ok`
    SelectOk,
    /// One that this client has no use for: its class and number.
    Other(u16, u16),
}

impl Method {
    /// Reads a method; `None` if it ends too early.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let (class, number) = (reader.u16()?, reader.u16()?);
        Some(match (class, number) {
            (10, 10) => {
                let (_, _) = (reader.u8()?, reader.u8()?); // the version, which the broker has agreed to
                reader.skip_table()?;
                Self::Start(String::from_utf8_lossy(reader.long()?).into_owned())
            }
            (10, 30) => Self::Tune(reader.u16()?, reader.u32()?, reader.u16()?),
            (10, 41) => Self::ConnectionOpenOk,
            (10, 50) => Self::ConnectionClose(reader.u16()?, reader.short()?),
            (10, 51) => Self::ConnectionCloseOk,
            (10, 60) => Self::Blocked(reader.short()?),
            (10, 61) => Self::Unblocked,
            (20, 11) => Self::ChannelOpenOk,
            (20, 40) => Self::ChannelClose(reader.u16()?, reader.short()?),
            (20, 41) => Self::ChannelCloseOk,
            (50, 11) => {
                reader.short()?; // the queue's name
                Self::DeclareOk(reader.u32()?, reader.u32()?)
            }
            (60, 11) => Self::QosOk,
            (60, 71) => Self::GetOk(reader.u64()?, reader.u8()? & 1 == 1),
            (60, 72) => Self::GetEmpty,
            (60, 50) => Self::Return(reader.u16()?, reader.short()?),
            (60, 80) => Self::Ack(reader.u64()?, reader.u8()? & 1 == 1),
            (60, 120) => Self::Nack(reader.u64()?, reader.u8()? & 1 == 1),
            (85, 11) => Self::SelectOk,
            other => Self::Other(other.0, other.1),
        })
    }
}

fn method(class: u16, number: u16) -> Writer {
    let mut writer = Writer::default();
    writer.u16(class).u16(number);
    writer
}

/// `connection.start-ok`, with the name that the broker's pages show for the connection.
pub(crate) fn start_ok(name: &str, mechanism: &str, response: &[u8]) -> Vec<u8> {
    // Without these, a wrong password looks like a lost connection, and a full disk like a broker that hangs.
    const CAPABILITIES: [(&str, Value<'static>); 4] = [
        ("authentication_failure_close", Value::Yes),
        ("basic.nack", Value::Yes),
        ("connection.blocked", Value::Yes),
        ("publisher_confirms", Value::Yes),
    ];
    let mut writer = method(10, 11);
    writer
        .table(&[
            ("product", Value::Text("rocbed")),
            ("version", Value::Text(env!("CARGO_PKG_VERSION"))),
            ("connection_name", Value::Text(name)),
            ("capabilities", Value::Table(&CAPABILITIES)),
        ])
        .short(mechanism)
        .long(response)
        .short("en_US");
    writer.0
}

pub(crate) fn tune_ok(channels: u16, frame: u32, heartbeat: u16) -> Vec<u8> {
    let mut writer = method(10, 31);
    writer.u16(channels).u32(frame).u16(heartbeat);
    writer.0
}

pub(crate) fn connection_open(virtual_host: &str) -> Vec<u8> {
    let mut writer = method(10, 40);
    writer.short(virtual_host).short("").u8(0);
    writer.0
}

pub(crate) fn connection_close() -> Vec<u8> {
    let mut writer = method(10, 50);
    writer.u16(200).short("the worker ends").u16(0).u16(0);
    writer.0
}

pub(crate) fn connection_close_ok() -> Vec<u8> {
    method(10, 51).0
}

pub(crate) fn channel_open() -> Vec<u8> {
    let mut writer = method(20, 10);
    writer.short("");
    writer.0
}

pub(crate) fn channel_close_ok() -> Vec<u8> {
    method(20, 41).0
}

/// `queue.declare` of a durable queue.
pub(crate) fn declare(queue: &str, max_priority: Option<u8>) -> Vec<u8> {
    const DURABLE: u8 = 1 << 1;
    let mut writer = method(50, 10);
    writer.u16(0).short(queue).u8(DURABLE);
    let priority = max_priority.map(|most| ("x-max-priority", Value::Number(most.into())));
    writer.table(priority.as_slice());
    writer.0
}

/// `basic.qos`, which only matters to those who have messages sent to them.
pub(crate) fn qos() -> Vec<u8> {
    let mut writer = method(60, 10);
    writer.u32(0).u16(1).u8(0);
    writer.0
}

/// `basic.get`, to be acknowledged.
pub(crate) fn get(queue: &str) -> Vec<u8> {
    let mut writer = method(60, 70);
    writer.u16(0).short(queue).u8(0);
    writer.0
}

/// `basic.publish` to a queue, which has to be there.
pub(crate) fn publish(queue: &str) -> Vec<u8> {
    const MANDATORY: u8 = 1;
    let mut writer = method(60, 40);
    writer.u16(0).short("").short(queue).u8(MANDATORY);
    writer.0
}

/// How a message is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Its priority; none, which is the lowest, unless one is given.
    pub priority: Option<u8>,
    /// After this time in its queue nobody gets it any more; never, unless one is given. The broker counts in milliseconds.
    pub expires: Option<Duration>,
}

/// The header of a message that survives a restart of the broker (`delivery-mode` 2).
pub(crate) fn content_header(size: u64, delivery: Delivery) -> Vec<u8> {
    const DELIVERY_MODE: u16 = 1 << 12;
    const PRIORITY: u16 = 1 << 11;
    const EXPIRATION: u16 = 1 << 8;
    let Delivery { priority, expires } = delivery;
    let flag = |is: bool, flag: u16| if is { flag } else { 0 };
    let mut writer = method(60, 0); // class and weight
    writer.u64(size);
    writer.u16(DELIVERY_MODE | flag(priority.is_some(), PRIORITY) | flag(expires.is_some(), EXPIRATION)).u8(2);
    if let Some(priority) = priority {
        writer.u8(priority);
    }
    if let Some(expires) = expires {
        // A number in words (RabbitMQ's guide on time-to-live).
        writer.short(&expires.as_millis().to_string());
    }
    writer.0
}

/// What the header of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Properties {
    /// The length of its body, in bytes.
    pub(crate) size: u64,
    /// Its priority; 0 if it has none.
    pub(crate) priority: u8,
}

/// Reads the header of a message (specification, 4.2.6.1, and the properties of the class `basic`).
pub(crate) fn content_properties(payload: &[u8]) -> Option<Properties> {
    /// The flags of the properties before the priority, which are in this order.
    const CONTENT_TYPE: u16 = 1 << 15;
    const CONTENT_ENCODING: u16 = 1 << 14;
    const HEADERS: u16 = 1 << 13;
    const DELIVERY_MODE: u16 = 1 << 12;
    const PRIORITY: u16 = 1 << 11;
    let mut reader = Reader(payload);
    let (_class, _weight) = (reader.u16()?, reader.u16()?);
    let size = reader.u64()?;
    let priority = |mut reader: Reader| {
        let flags = reader.u16()?;
        for property in [CONTENT_TYPE, CONTENT_ENCODING] {
            if flags & property != 0 {
                reader.short()?;
            }
        }
        if flags & HEADERS != 0 {
            reader.skip_table()?;
        }
        if flags & DELIVERY_MODE != 0 {
            reader.u8()?;
        }
        if flags & PRIORITY != 0 { reader.u8() } else { None }
    };
    // Of a message whose other properties make no sense, only the priority is not known.
    Some(Properties { size, priority: priority(reader).unwrap_or(0) })
}

pub(crate) fn ack(tag: u64) -> Vec<u8> {
    let mut writer = method(60, 80);
    writer.u64(tag).u8(0);
    writer.0
}

/// `basic.nack`: the message goes back into its queue.
pub(crate) fn requeue(tag: u64) -> Vec<u8> {
    const REQUEUE: u8 = 1 << 1;
    let mut writer = method(60, 120);
    writer.u64(tag).u8(REQUEUE);
    writer.0
}

/// `basic.reject`: the message does not come back.
pub(crate) fn reject(tag: u64) -> Vec<u8> {
    let mut writer = method(60, 90);
    writer.u64(tag).u8(0);
    writer.0
}

pub(crate) fn confirm_select() -> Vec<u8> {
    let mut writer = method(85, 10);
    writer.u8(0);
    writer.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_broker_says() {
        let mut start = method(10, 10);
        start.u8(0).u8(9).table(&[("product", Value::Text("RabbitMQ"))]).long(b"PLAIN AMQPLAIN").long(b"en_US");
        assert_eq!(Method::parse(&start.0), Some(Method::Start("PLAIN AMQPLAIN".into())));
        let mut close = method(20, 40);
        close.u16(406).short("PRECONDITION_FAILED").u16(60).u16(40);
        assert_eq!(Method::parse(&close.0), Some(Method::ChannelClose(406, "PRECONDITION_FAILED".into())));
        assert_eq!(Method::parse(&ack(7)), Some(Method::Ack(7, false)));
        assert_eq!(Method::parse(&method(60, 60).0), Some(Method::Other(60, 60)));
        let plain = content_header(77, Delivery::default());
        assert_eq!(content_properties(&plain), Some(Properties { size: 77, priority: 0 }));
        let urgent = Delivery { priority: Some(7), expires: Some(Duration::from_secs(60)) };
        let header = content_header(77, urgent);
        assert_eq!(content_properties(&header), Some(Properties { size: 77, priority: 7 }));
        // Delivery mode, priority and expiration, in this order.
        assert!(header.ends_with(b"\x19\x00\x02\x07\x0560000"), "{header:?}");
    }

    #[test]
    fn a_message_has_a_priority() {
        let header = |flags: u16, rest: &[u8]| {
            let mut header = method(60, 0);
            header.u64(5).u16(flags);
            content_properties(&[header.0, rest.to_vec()].concat()).map(|properties| properties.priority)
        };
        // As debci's client writes it: content type, headers, delivery mode, priority.
        assert_eq!(header(0b1011_1000_0000_0000, b"\x0atext/plain\0\0\0\0\x02\x07"), Some(7));
        assert_eq!(header(1 << 11, &[3]), Some(3));
        assert_eq!(header(1 << 12, &[2]), Some(0));
        assert_eq!(header(1 << 11, &[]), Some(0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_method_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60), known in 0..16_usize) {
            let known = [(10, 10), (10, 30), (10, 50), (20, 40), (60, 71), (60, 50), (60, 80), (60, 120)].get(known);
            let bytes = match known {
                Some((class, number)) => [method(*class, *number).0, bytes].concat(),
                None => bytes,
            };
            Method::parse(&bytes);
            content_properties(&bytes);
        }
    }
}
