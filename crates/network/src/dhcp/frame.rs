//! Ethernet, IPv4 and UDP headers around a DHCP message, for a link without an address (RFC 894, RFC 791, RFC 768).

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};
use crate::configuration::Mac;

/// Length of the headers that [`write()`] puts before a message, in bytes.
const HEADERS: usize = 14 + 20 + 8;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// Source and destination of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The sending link's address.
    pub source_mac: Mac,
    /// The receiving link's address.
    pub destination_mac: Mac,
    /// The sender's address; unspecified if it has none yet.
    pub source: Ipv4Addr,
    /// The receiver's address.
    pub destination: Ipv4Addr,
}

/// A DHCP message to a client, as received from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// The hardware address of the server, or of the last router or relay.
    pub source_mac: Mac,
    /// The unparsed message.
    pub payload: &'a [u8],
}

/// Puts a message to a server (UDP port 68 to 67) into an Ethernet frame. A message too long for an IPv4 packet is
/// cut off; a client's messages are far shorter.
pub fn write(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..usize::from(u16::MAX) - 28).unwrap_or(payload);
    let udp_length = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(8 + payload.len());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let addresses = [ends.source.octets(), ends.destination.octets()].concat();
    let pseudo = [addresses.as_slice(), &[0, UDP], &udp_length.to_be_bytes()].concat();
    // The pseudo header has an even length, so the sum over both is that of the two in a row.
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    // Version 4, five words; precedence "internetwork control", as other clients have it; don't fragment; 64 hops.
    let mut ip = [0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[2..4].copy_from_slice(&(udp_length + 20).to_be_bytes());
    ip[12..].copy_from_slice(&addresses);
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(HEADERS + payload.len());
    frame.extend(ends.destination_mac.0);
    frame.extend(ends.source_mac.0);
    frame.extend(ETHERTYPE_IPV4);
    frame.extend(ip);
    frame.extend(udp);
    frame
}

/// Extracts a UDP packet to port 68 from an Ethernet frame; `None` for any other. A pure function of any bytes.
///
/// The UDP checksum is not verified: a packet from the same host, as between a virtual machine and its host, has none
/// yet, because the sender's network card would compute it. A message that does not answer ours is dropped anyway.
pub fn read(frame: &[u8]) -> Option<Received<'_>> {
    let (ethernet, packet) = frame.split_first_chunk::<14>()?;
    let [_, _, _, _, _, _, source_mac @ .., 0x08, 0x00] = *ethernet else { return None };
    let &[version, _, high, low, _, _, fragment, offset, _, protocol, ..] = packet.first_chunk::<20>()?;
    let header_length = usize::from(version & 15) * 4;
    let (header, _) = packet.split_at_checked(header_length)?;
    // Ethernet pads short packets, so the packet's own length counts.
    let total = usize::from(u16::from_be_bytes([high, low]));
    // No flag except "don't fragment", and no offset.
    let whole = matches!([fragment, offset], [0 | 0x40, 0]);
    if version >> 4 != 4 || header_length < 20 || protocol != UDP || !whole || checksum(&[header]) != 0 {
        return None;
    }
    let udp = packet.get(header_length..total)?;
    let (&[_, _, to_high, to_low, udp_high, udp_low, _, _], _) = udp.split_first_chunk::<8>()?;
    if u16::from_be_bytes([to_high, to_low]) != CLIENT_PORT {
        return None;
    }
    let payload = udp.get(8..usize::from(u16::from_be_bytes([udp_high, udp_low])))?;
    Some(Received { source_mac: Mac(source_mac), payload })
}

/// The Internet checksum of several parts, each except the last of even length (RFC 1071). Zero for data that
/// includes its own checksum.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.fold(0_u64, |sum, word| {
        let [high, low] = [word.first(), word.get(1)].map(|byte| u64::from(byte.copied().unwrap_or(0)));
        sum + (high << 8 | low)
    });
    let folded = (0..4).fold(sum, |sum, _| (sum >> 16) + (sum & 0xffff));
    !(folded as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDS: Ends = Ends {
        source_mac: Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        destination_mac: Mac::BROADCAST,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::BROADCAST,
    };

    /// The same frame as a server would send it: with the ports exchanged, which changes no checksum.
    fn answer(payload: &[u8]) -> Vec<u8> {
        let mut frame = write(&ENDS, payload);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn the_checksum_of_a_known_header() {
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&[&header]), 0);
    }

    #[test]
    fn read_back() {
        let mut frame = answer(b"hello");
        // Ethernet's padding.
        frame.resize(60, 0);
        assert_eq!(read(&frame), Some(Received { source_mac: ENDS.source_mac, payload: b"hello" }));
    }

    #[test]
    fn not_ours() {
        let frame = answer(b"hello");
        assert_eq!(read(&write(&ENDS, b"to a server")), None);
        // Another ethertype, version, fragment, protocol, a broken checksum, a length beyond the packet.
        for (at, value) in [(12, 0x86), (14, 0x65), (20, 0x20), (23, 6), (24, 0), (39, 200)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(read(&other), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn changed_frames(at in 0_usize..47, value: u8, cut in 0_usize..48) {
            let mut frame = answer(b"hello");
            frame[at] = value;
            let _ = read(&frame[..cut.min(frame.len())]);
        }

        #[test]
        fn checksums_are_right(payload in prop::collection::vec(any::<u8>(), 0..400), source: u32, destination: u32) {
            let ends = Ends { source: source.into(), destination: destination.into(), ..ENDS };
            let frame = write(&ends, &payload);
            prop_assert_eq!(checksum(&[&frame[14..34]]), 0);
            let pseudo = [&frame[26..34], &[0, UDP], &frame[38..40]].concat();
            prop_assert_eq!(checksum(&[&pseudo, &frame[34..]]), 0);
        }
    }
}
