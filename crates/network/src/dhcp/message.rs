//! DHCP messages on the wire (RFC 2131 section 2).

use std::net::Ipv4Addr;

use super::error::Malformed;
use super::options::DhcpOptions;
use crate::configuration::Mac;

/// Length of the fields before the options.
const FIXED: usize = 236;
/// The magic cookie before the options (RFC 2131 section 3).
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The smallest length of a BOOTP message in bytes, which some relays insist on (RFC 1542 section 2.1).
const SHORTEST: usize = 300;

/// A DHCP message, with the fields that a client on Ethernet needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whether it comes from a server (`op` is BOOTREPLY).
    pub reply: bool,
    /// The transaction id, which matches answers to requests.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client's address, if it has one and can be reached at it.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The relay agent that the message came through; unspecified for none.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: Mac,
    /// The options.
    pub options: DhcpOptions,
}

impl Message {
    /// Parses a message: the content of a UDP packet. A pure function of any bytes.
    ///
    /// Options that continue in the fields for the server's name and the boot file are included (RFC 2131 section
    /// 4.1, option 52), and those in several parts are joined (RFC 3396).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fixed = bytes.first_chunk::<FIXED>().ok_or(Malformed::Short)?;
        let (&cookie, options) =
            bytes.get(FIXED..).and_then(|rest| rest.split_first_chunk::<4>()).ok_or(Malformed::Short)?;
        // htype 1 and hlen 6: Ethernet (RFC 1700).
        let [op @ (1 | 2), 1, 6, ..] = *fixed else { return Err(Malformed::Link) };
        if cookie != COOKIE {
            return Err(Malformed::Cookie);
        }
        let mut read = DhcpOptions::default();
        read.parse(options)?;
        let (names, files) = (&fixed[44..108], &fixed[108..236]);
        // The boot file's field is read before the server name's (RFC 3396 section 5).
        let overload = read.byte(super::code::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            read.parse(files)?;
        }
        if overload & 2 != 0 {
            read.parse(names)?;
        }
        let address = |at: usize| Ipv4Addr::from([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        Ok(Self {
            reply: op == 2,
            xid: address(4).to_bits(),
            secs: u16::from_be_bytes([fixed[8], fixed[9]]),
            ciaddr: address(12),
            yiaddr: address(16),
            giaddr: address(24),
            chaddr: Mac([fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33]]),
            options: read,
        })
    }

    /// Writes the message as the content of a UDP packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SHORTEST);
        bytes.extend([if self.reply { 2 } else { 1 }, 1, 6, 0]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        // No broadcast flag: while there is no address, the packet socket receives packets to the link's hardware
        // address.
        bytes.extend([0, 0]);
        for address in [self.ciaddr, self.yiaddr, Ipv4Addr::UNSPECIFIED, self.giaddr] {
            bytes.extend(address.octets());
        }
        bytes.extend(self.chaddr.0);
        bytes.resize(FIXED, 0);
        bytes.extend(COOKIE);
        self.options.write(&mut bytes);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::options::{MessageKind, code};
    use super::*;

    fn offer() -> Message {
        let mut options = DhcpOptions::default();
        options.set_kind(MessageKind::Offer);
        options.set(code::ROUTER, &[10, 0, 2, 2]);
        Message {
            reply: true,
            xid: 0xdead_beef,
            secs: 3,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(10, 0, 2, 15),
            giaddr: Ipv4Addr::new(10, 0, 9, 1),
            chaddr: Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            options,
        }
    }

    #[test]
    fn written_and_read() {
        let bytes = offer().to_bytes();
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(Message::parse(&bytes), Ok(offer()));
    }

    #[test]
    fn options_in_other_fields() {
        let mut message = offer();
        message.options.set(code::OVERLOAD, &[3]);
        let mut bytes = message.to_bytes();
        bytes[108..116].copy_from_slice(&[code::DOMAIN, 6, b'l', b'a', b'b', b'.', b'e', b'x']);
        bytes[116] = 255;
        bytes[44..52].copy_from_slice(&[code::DOMAIN, 5, b'a', b'm', b'p', b'l', b'e', 255]);
        let read = Message::parse(&bytes).unwrap();
        assert_eq!(read.options.get(code::DOMAIN), Some(&b"lab.example"[..]));
    }

    #[test]
    fn refused() {
        let bytes = offer().to_bytes();
        assert_eq!(Message::parse(&bytes[..239]), Err(Malformed::Short));
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            Message::parse(&bytes)
        };
        assert_eq!(with(1, 6), Err(Malformed::Link));
        assert_eq!(with(236, 0), Err(Malformed::Cookie));
        assert_eq!(with(241, 200), Err(Malformed::Option));
    }

    proptest! {
        #[test]
        fn any_options_are_read_or_refused(tail in prop::collection::vec(any::<u8>(), 0..300), overload in 0_u8..4) {
            let mut message = offer();
            message.options.set(code::OVERLOAD, &[overload]);
            let mut bytes = message.to_bytes();
            bytes.truncate(252);
            bytes.extend(&tail);
            for (at, byte) in tail.iter().take(192).enumerate() {
                bytes[44 + at] = *byte;
            }
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            xid: u32,
            secs: u16,
            addresses: [u32; 3],
            mac: [u8; 6],
            options in prop::collection::vec((1_u8..=254, prop::collection::vec(any::<u8>(), 0..600)), 0..8),
        ) {
            let mut message = offer();
            message.xid = xid;
            message.secs = secs;
            [message.ciaddr, message.yiaddr, message.giaddr] = addresses.map(Ipv4Addr::from);
            message.chaddr = Mac(mac);
            for (code, value) in options {
                if code != code::OVERLOAD {
                    message.options.set(code, &value);
                }
            }
            prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }
    }
}
