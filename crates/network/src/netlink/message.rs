//! Messages and attributes (netlink(7)), in the machine's own byte order.

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A request under construction.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Begins a request of a type (RTM_*) with flags (`NLM_F`_*) and the type's own header.
    pub fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        // Sequence number and port id; the socket sets the first, the kernel knows the second.
        bytes.extend([0; 8]);
        bytes.extend(header);
        Self { bytes }
    }

    /// Adds an attribute. Values here are addresses, numbers and small groups of them: far below the 64 KiB limit.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// The finished message.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub kind: u16,
    pub sequence: u32,
    /// The type's own header and attributes.
    pub payload: &'a [u8],
}

/// The messages of a datagram. Stops at one with an invalid length.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length)?;
        let payload = message.get(HEADER..)?;
        let (kind, sequence) = (u16_at(message, 4)?, u32_at(message, 8)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, sequence, payload })
    })
}

/// The attributes after a header. Stops at one with an invalid length.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The two highest bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The error number in an acknowledgement; zero for success.
pub(super) fn error_code(payload: &[u8]) -> Option<i32> {
    u32_at(payload, 0).map(u32::cast_signed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_and_read() {
        let bytes = Request::new(16, 0, &[1, 2, 3, 4]).attribute(3, b"eth0\0").attribute(4, &[9]).finish(7);
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!((read.len(), read[0].kind, read[0].sequence), (1, 16, 7));
        let attributes: Vec<_> = attributes(&read[0].payload[4..]).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (4, &[9][..])]);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..20], 0..200)) {
            for message in messages(&bytes) {
                attributes(message.payload).for_each(drop);
            }
        }
    }
}
