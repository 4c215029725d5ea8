//! Frames (specification, 2.3.5): a kind, a channel, a length, that many bytes, and an octet at the end.

/// Largest frame that is read or written, in bytes; the smaller of this and what the broker wants is used.
pub const LARGEST: usize = 128 << 10;
/// Bytes of a frame besides its payload.
pub const OVERHEAD: usize = 8;

const HEADER: usize = 7;
const END: u8 = 0xce;

/// What is in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method with its arguments.
    Method,
    /// The properties and the size of a message.
    Header,
    /// A part of a message.
    Body,
    /// A sign of life.
    Heartbeat,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What is in it.
    pub kind: Kind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Its contents.
    pub payload: Vec<u8>,
}

/// Bytes that are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such kind of frame.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// Longer than [`LARGEST`].
    #[error("a frame of {0} bytes, more than it may have")]
    TooLarge(usize),
    /// The last octet is missing.
    #[error("a frame without its end")]
    End,
}

impl Frame {
    /// The first frame in these bytes, and how many of them it takes; `None` if it is not complete.
    ///
    /// # Errors
    /// If the bytes do not begin with a frame.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&[kind, c0, c1, l0, l1, l2, l3], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let kind = match kind {
            1 => Kind::Method,
            2 => Kind::Header,
            3 => Kind::Body,
            8 => Kind::Heartbeat,
            other => return Err(FrameError::Kind(other)),
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > LARGEST {
            return Err(FrameError::TooLarge(length));
        }
        let (Some(payload), Some(end)) = (rest.get(..length), rest.get(length)) else { return Ok(None) };
        if *end != END {
            return Err(FrameError::End);
        }
        let frame = Self { kind, channel: u16::from_be_bytes([c0, c1]), payload: payload.to_vec() };
        Ok(Some((frame, length + OVERHEAD)))
    }

    /// Adds the frame's bytes.
    pub fn encode_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(match self.kind {
            Kind::Method => 1,
            Kind::Header => 2,
            Kind::Body => 3,
            Kind::Heartbeat => 8,
        });
        bytes.extend(self.channel.to_be_bytes());
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes.push(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        assert_eq!(Frame::parse(b"HTTP/1.1 400 Bad Request"), Err(FrameError::Kind(b'H')));
        assert_eq!(Frame::parse(b"\x01\0\0\xff\xff\xff\xff"), Err(FrameError::TooLarge(0xffff_ffff)));
        assert_eq!(Frame::parse(b"\x08\0\0\0\0\0\0\0"), Err(FrameError::End));
        assert_eq!(Frame::parse(b"\x08\0\0\0\0\0\0"), Ok(None));
    }

    proptest! {
        #[test]
        fn frames_read_back(kind in 0..4_usize, channel: u16, payload in proptest::collection::vec(any::<u8>(), 0..300), rest in 0..9_usize) {
            let kind = [Kind::Method, Kind::Header, Kind::Body, Kind::Heartbeat][kind];
            let frame = Frame { kind, channel, payload };
            let mut bytes = Vec::new();
            frame.encode_to(&mut bytes);
            let length = bytes.len();
            prop_assert_eq!(Frame::parse(&bytes[..length - 1]), Ok(None));
            bytes.extend(vec![1; rest]);
            prop_assert_eq!(Frame::parse(&bytes), Ok(Some((frame, length))));
        }
    }
}
