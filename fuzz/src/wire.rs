//! What the network says before anything is checked: DHCP, times; and the parameters that set it up by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use network::clock::http;
use network::clock::sntp::Answer;
use network::dhcp::{Message, frame};
use network::ip::{Device, IpParameter, Method, parse};

use crate::bytes::Bytes;
use crate::text;

/// What follows `ip=`. What is read of it can be set, and reads back when it is written in full.
pub fn ip(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let parameter = match parse(text) {
        Ok(parameter) => parameter,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if let Method::Static { address, prefix, .. } = parameter.method {
        assert!((1..=32).contains(&prefix) && !address.is_unspecified() && !address.is_multicast(), "{parameter:?}");
    }
    if let Some(Device::Name(name)) = &parameter.device {
        assert!((1..16).contains(&name.len()) && !name.contains(['/', ':', ' ']), "{parameter:?}");
    }
    if let Some(name) = &parameter.hostname {
        let good = |char: char| char.is_ascii_alphanumeric() || "-.".contains(char);
        assert!((1..=64).contains(&name.len()) && name.chars().all(good), "{parameter:?}");
    }
    assert!(parameter.dns.len() <= 2);
    let written = written(&parameter);
    assert_eq!(parse(&written).as_ref(), Ok(&parameter), "{written}");
}

/// The kernel's form of a parameter.
fn written(parameter: &IpParameter) -> String {
    fn or_nothing<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let device = match &parameter.device {
        Some(Device::Mac(mac)) => mac.to_string().replace(':', "-"),
        other => or_nothing(other.as_ref()),
    };
    let (client, gateway, netmask, autoconf) = match &parameter.method {
        Method::Off => (String::new(), None, String::new(), "off".to_owned()),
        Method::Dhcp { client_id: None } => (String::new(), None, String::new(), "dhcp".to_owned()),
        Method::Dhcp { client_id: Some(id) } => {
            let (kind, value) = id.split_first().expect("its type");
            (String::new(), None, String::new(), format!("dhcp,{kind},{}", String::from_utf8_lossy(value)))
        }
        Method::Static { address, prefix, gateway } => {
            (address.to_string(), *gateway, prefix.to_string(), "off".to_owned())
        }
    };
    let mut dns = parameter.dns.iter();
    [
        client,
        or_nothing(parameter.server),
        or_nothing(gateway),
        netmask,
        or_nothing(parameter.hostname.as_ref()),
        device,
        autoconf,
        or_nothing(dns.next()),
        or_nothing(dns.next()),
        or_nothing(parameter.ntp),
    ]
    .join(":")
}

/// A frame of the link, as it is and with its header's checksum put right. What is read of it is part of it.
pub fn dhcp_frame(data: &[u8]) {
    let mut frame = data.to_vec();
    let _as_it_is = frame::read(&frame);
    let length = frame.get(14).map_or(0, |byte| usize::from(byte & 15) * 4);
    if let Some(header) = frame.get_mut(14..14 + length).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = !((sum >> 16) + sum) as u16;
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let Some(received) = frame::read(&frame) else { return };
    assert!(received.payload.len() <= frame.len() - 42);
    assert!(received.payload.is_empty() || frame.windows(received.payload.len()).any(|part| part == received.payload));
    assert_eq!(received.source_mac.0, frame[6..12]);
    // Ethernet's padding says nothing.
    let padded = [frame.as_slice(), &[0; 20]].concat();
    assert_eq!(frame::read(&padded).map(|received| received.payload.to_vec()), Some(received.payload.to_vec()));
}

/// A DHCP message. What is written of it reads back.
pub fn dhcp_message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let _offered = network::dhcp::Lease::new(&message);
    assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
}

/// The answer of a time server, and before it the time that it is about, in seconds (eight bytes). Times are near that
/// one, and no answer counts that repeats another number than its question had.
pub fn sntp(data: &[u8]) {
    let Some((about, packet)) = data.split_first_chunk() else { return };
    let seconds = u64::from_le_bytes(*about) % (1 << 40);
    let about = UNIX_EPOCH + Duration::from_secs(seconds);
    let cookie = packet.get(24..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    assert!(Answer::parse(packet, cookie ^ 1, about).is_err());
    let Ok(answer) = Answer::parse(packet, cookie, about) else { return };
    assert!((1..=15).contains(&answer.stratum));
    for time in [answer.received, answer.sent] {
        let time = time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        assert!(time.abs_diff(seconds) <= 1 << 31, "{time} is far from {seconds}");
    }
}

/// The fields `Date` and `Age` of a web server's answer, a line each; and any time, written. What is written reads
/// back.
pub fn http_date(data: &[u8]) {
    let days = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 86_400);
    let end = days(8030 * 366);
    let lines = text(data).unwrap_or_default();
    let (date, age) = lines.split_once('\n').map_or((lines, None), |(date, age)| (date, Some(age)));
    if let Some(time) = http::time(date, age) {
        assert!(time >= UNIX_EPOCH && time < end + Duration::from_secs(1 << 32), "{time:?}");
    }
    let reads_back = |time: SystemTime| {
        let written = http::format(time);
        assert_eq!(http::parse(&written), Some(time), "{written}");
    };
    if let Some(time) = http::parse(date) {
        reads_back(time);
    }
    let seconds = u64::from_le_bytes(Bytes(data).array());
    reads_back(UNIX_EPOCH + Duration::from_secs(seconds % (8029 * 31_556_952)));
    // A time that no date has room for is written as something.
    let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { return };
    assert_eq!(http::format(time).len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
}
